"""``video_sets`` of a project's ``config.yaml``: what it says of a video, and adding some.

The file is edited as text and not written anew, so that comments, order and other people's keys stay as they are.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from rigpose.errors import ConfigError, ProjectError
from rigpose.videos.video import Crop
from rigpose_training.pose_config.files import read_mapping

_ORIGINAL = "video_sets_original"
"""Where the videos are once DeepLabCut has cut the images of ``video_sets`` up."""

_LONGEST_KEY = 120
"""From here on DeepLabCut writes keys with a question mark, since YAML wants plain ones on one short line."""


@dataclass(frozen=True)
class ListedVideo:
    """A video of ``video_sets``.

    Attributes:
        path: As listed, perhaps of another machine.
        crop: Its part of the frames; none where the file does not say.
    """

    path: str
    crop: Crop | None


def find_listed(config: Path, video: Path) -> ListedVideo | None:
    """What ``video_sets`` says of a video; none if it is not there.

    A video is known by its stem, which names its folder in ``labeled-data``.

    Raises:
        ProjectError: Another video of that name is listed: their images would mix.
    """
    mapping = read_mapping(config, error=ProjectError)
    for section in (_ORIGINAL, "video_sets"):
        videos = mapping.get(section)
        for path, facts in videos.items() if isinstance(videos, Mapping) else ():
            if PureWindowsPath(str(path)).stem == video.stem:
                _check_same(config, Path(str(path)), video)
                crop = facts.get("crop") if isinstance(facts, Mapping) else None
                return ListedVideo(str(path), _crop(crop))
    return None


def added(config: Path, new: Mapping[Path, Crop]) -> bytes:
    """The content of ``config.yaml`` with more videos.

    Args:
        config: The file, which is left alone.
        new: Videos that are not listed yet -> the part of their frames that their images show.

    Raises:
        ProjectError: ``video_sets`` is missing, or written in a way that cannot be added to.
    """
    before = read_mapping(config, error=ProjectError)
    section = _ORIGINAL if isinstance(before.get(_ORIGINAL), Mapping) else "video_sets"
    entries = {str(video.absolute()): f"{crop.x1}, {crop.x2}, {crop.y1}, {crop.y2}" for video, crop in new.items()}
    # Every byte is a letter of latin-1, so that whatever the file is encoded in comes out as it went in.
    text: str | None = config.read_bytes().decode("latin-1")
    for path, corners in entries.items():
        text = None if text is None else _inserted(text, section, path.encode().decode("latin-1"), corners)
    content = b"" if text is None else text.encode("latin-1")
    videos = before.get(section)
    listed = {path: {"crop": corners} for path, corners in entries.items()}
    expected = {**before, section: {**(videos if isinstance(videos, Mapping) else {}), **listed}}
    if _read_back(content) != expected:
        path, corners = next(iter(entries.items()))
        raise ProjectError(
            f"{config}: {section} is written in a way that cannot be added to; add the video {path} with "
            f"crop: {corners} there by hand, then run the same command again."
        )
    return content


def _read_back(content: bytes) -> dict[str, Any] | None:
    """What a file of this content says; none if that is nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_bytes(content)
        try:
            return read_mapping(file)
        except ConfigError:
            return None


def _inserted(text: str, section: str, path: str, corners: str) -> str | None:
    """``text`` with an entry at the end of the section; none without such a section in block style."""
    lines = text.splitlines(keepends=True)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    head = re.compile(rf"{section}\s*:\s*(\{{\s*\}}|null|~)?\s*(#.*)?$")
    start = next((number for number, line in enumerate(lines) if head.match(line.rstrip("\r\n"))), None)
    if start is None:
        return None
    lines[start] = re.sub(r"(:\s*)(\{\s*\}|null|~)(\s*(?:#.*)?)$", r":\3", lines[start].rstrip("\r\n")) + ending
    last, indent = start, None
    for number, line in enumerate(lines[start + 1 :], start + 1):
        content = line.strip()
        if content and not line[0].isspace() and not content.startswith("#"):
            break
        if content and line[0].isspace() and not content.startswith("#"):
            last = number
            indent = indent or line[: len(line) - len(line.lstrip())]
    indent = indent or "  "
    if not lines[last].endswith("\n"):
        lines[last] += ending
    # Single quotes keep backslashes and colons as they are.
    quoted = "'" + path.replace("'", "''") + "'"
    key = path if re.fullmatch(r"[\w/][\w/.+-]*", path) else quoted
    entry = f"{indent}{key}:{ending}{indent}  crop: {corners}{ending}"
    if len(key) > _LONGEST_KEY:
        entry = f"{indent}? {key}{ending}{indent}: crop: {corners}{ending}"
    return "".join([*lines[: last + 1], entry, *lines[last + 1 :]])


def _check_same(config: Path, listed: Path, video: Path) -> None:
    """A copy is as good as the video itself; whether it is one shows in the size, if the listed one is here."""
    try:
        same = listed.samefile(video) or listed.stat().st_size == video.stat().st_size
    except OSError:
        return
    if not same:
        raise ProjectError(
            f"{video}: {config} lists another video of this name ({listed}), and their images would mix in one folder; "
            f"rename this one and its results."
        )


def _crop(value: object) -> Crop | None:
    """``x1, x2, y1, y2`` as text, or a list of them as newer versions of DeepLabCut write."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        return Crop.parse(text)
    except ConfigError:
        return None
