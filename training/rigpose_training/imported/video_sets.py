"""``video_sets`` of a project's ``config.yaml``, which names the folders in ``labeled-data`` that count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from rigpose.errors import ProjectError

_LINE = re.compile(r"^video_sets:[ \t]*(\{\}|null|~)?[ \t]*(#.*)?$", re.MULTILINE)


def with_videos(config: Path, new: Mapping[str, tuple[int, int]]) -> str:
    """The text of a ``config.yaml`` with more videos in it; every other line stays as it is, comments too.

    Args:
        config: The file.
        new: Path of each new video -> its pictures' (height, width) [px].

    Raises:
        ProjectError: The file does not have its videos where DeepLabCut writes them.
    """
    try:
        text = config.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProjectError(
            f"{config} is not UTF-8 text, which a new video has to go into; save it as UTF-8."
        ) from error
    line = _LINE.search(text)
    before = yaml.safe_load(text)
    old = before.get("video_sets") or {}
    indent = re.match(r"[ \t]*", text[line.end() + 1 :]) if line and old else None
    shift = indent[0] if indent else "  "
    entries = {video: {"crop": f"0, {width}, 0, {height}"} for video, (height, width) in new.items()}
    block = yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=10**6)
    lines = "".join(f"\n{shift}{row}" for row in block.splitlines())
    if line is not None:
        changed = f"{text[: line.start()]}video_sets:{lines}{text[line.end() :]}"
        if _only_adds(before, changed, {**entries, **old}):
            return changed
    raise ProjectError(
        f"{config} does not have its videos under a line video_sets: as DeepLabCut writes it; add "
        f"{next(iter(new))} there by hand, then import again."
    )


def _only_adds(before: dict[str, object], changed: str, wanted: dict[str, object]) -> bool:
    try:
        after = yaml.safe_load(changed)
    except yaml.YAMLError:
        return False
    return after == {**before, "video_sets": wanted}
