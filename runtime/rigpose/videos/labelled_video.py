"""A video and its results -> a video with the poses drawn in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from rigpose.arrays import Frames
from rigpose.bundles.bundle import Display
from rigpose.errors import ConfigError, MediaError, ResultError
from rigpose.files.results import TRACK_SUFFIXES, ResultFiles, Results, read_results, whole_file
from rigpose.poses import Poses
from rigpose.progress import Progress, silent
from rigpose.schema import convert, parse
from rigpose.videos.drawing import ColorBy, DrawStyle, draw_poses
from rigpose.videos.metadata import read_meta
from rigpose.videos.video import Crop, Video


def label_video(  # noqa: PLR0913  # each is a word that a user says
    video: str | Path,
    *,
    results: str | Path | None = None,
    pcutoff: float | None = None,
    skeleton: bool = False,
    trail: int = 0,
    color_by: ColorBy | None = None,
    boxes: bool = False,
    overwrite: bool = False,
    show: Progress = silent,
) -> Path:
    """Draw the poses into a copy of an analysed video, in the colours of its project; return where the copy is.

    Args:
        video: The video.
        results: Its ``.h5`` or ``.csv`` table; none for that of the only analysis in the video's folder, of several
            animals the tracks made last.
        pcutoff: Keypoints that score less are not drawn; none for the project's cutoff.
        skeleton: Whether to join keypoints as the project's skeleton does.
        trail: Frames whose keypoints stay visible as a fading line.
        color_by: Whether a colour tells which keypoint or which animal it is; none for animals where there are several.
        boxes: Whether to frame each animal's keypoints.
        overwrite: Whether to draw again what is there already; a copy older than the results is drawn again anyway.
        show: How progress is shown.

    Raises:
        ResultError: No results, several of them, or the output cannot be written.
        MediaError: The video cannot be read, or the results are not its own.
        ConfigError: The project has no skeleton, or a colour that is not known.
    """
    video = Path(video)
    table = find_table(video, results)
    found, facts = read_results(table), _facts(table)
    style = replace(
        facts.style,
        pcutoff=facts.style.pcutoff if pcutoff is None else pcutoff,
        trail=trail,
        color_by=_color_by(found, color_by),
        boxes=boxes,
    )
    if skeleton:
        style = replace(style, skeleton=_numbered(facts.skeleton, found.keypoints, video))
    output = _output(table, found, style)
    if overwrite or not is_current(output, table):
        write_labelled_video(Footage(video, found, facts.lost, facts.crop), output, style=style, show=show)
    return output


def labelled_path(
    video: str | Path,
    *,
    results: str | Path | None = None,
    pcutoff: float | None = None,
    color_by: ColorBy | None = None,
) -> Path:
    """Where ``label_video`` puts the copy, which has the cutoff and, of several animals, the colours in its name."""
    table = find_table(Path(video), results)
    found, style = read_results(table), _facts(table).style
    cutoff = style.pcutoff if pcutoff is None else pcutoff
    return _output(table, found, replace(style, pcutoff=cutoff, color_by=_color_by(found, color_by)))


def is_current(output: Path, table: Path) -> bool:
    """Whether a labelled copy is there and was drawn after its table of results was made."""
    return output.exists() and output.stat().st_mtime_ns >= table.stat().st_mtime_ns


def _color_by(found: Results, wanted: ColorBy | None) -> ColorBy:
    return wanted or ("individual" if found.several else "bodypart")


def _output(table: Path, found: Results, style: DrawStyle) -> Path:
    colours = {"individual": "_id", "bodypart": "_bp"}[style.color_by] if found.several else ""
    return ResultFiles(table.parent, table.stem).labelled(style.pcutoff, colours)


def find_results(video: Path) -> Path:
    """The table of the only analysis beside a video; of several animals that of the tracks made last.

    Raises:
        ResultError: There is none, or more than one.
    """
    found = [path for path in sorted(video.parent.glob("*.h5")) if path.name.startswith(f"{video.stem}DLC_")]
    if not found:
        raise ResultError(f"{video}: has no results beside it; run rigpose analyze, or name --results.")
    tracks = [path for path in found if path.stem.endswith(TRACK_SUFFIXES)]
    tracked = {ResultFiles.including(path).h5 for path in tracks}
    if len(tracked) == 1 and tracked.issuperset(set(found) - set(tracks)):
        return max(tracks, key=lambda path: path.stat().st_mtime_ns)
    # The table beside the tracks is a copy of them.
    found = [path for path in found if path not in tracked]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ResultError(f"{video}: has several results, name one with --results: {names}.")
    return found[0]


@dataclass(frozen=True)
class _Facts:
    """What the metadata of an analysis says about drawing its video."""

    style: DrawStyle = field(default_factory=DrawStyle)
    skeleton: tuple[tuple[str, str], ...] = ()
    lost: tuple[int, ...] = ()
    crop: Crop | None = None


def _facts(table: Path) -> _Facts:
    """The facts in the ``_meta.pickle`` beside a table, of rigpose or of DeepLabCut; defaults where there is none."""
    path = ResultFiles.including(table).meta
    meta = read_meta(path)
    if meta is None:
        return _Facts()
    ours = convert(dict[str, Any], meta.get("rigpose", {}), where=f"{path}: rigpose")
    display = parse(Display, ours.get("display", {}), where=f"{path}: display")
    pairs = convert(tuple[tuple[str, str], ...], ours.get("skeleton", []), where=f"{path}: skeleton")
    lost = convert(tuple[int, ...], ours.get("missing_frames", []), where=f"{path}: missing_frames")
    # The project's dot size is a diameter.
    style = DrawStyle(display.pcutoff, display.colormap, max(1, display.dot_size // 2), (), display.skeleton_color)
    if not meta.get("cropping"):
        return _Facts(style, pairs, lost)
    corners = convert(tuple[int, int, int, int], meta.get("cropping_parameters"), where=f"{path}: cropping_parameters")
    return _Facts(style, pairs, lost, Crop(*corners))


def find_table(video: Path, results: str | Path | None) -> Path:
    """The table that was named, else as ``find_results``."""
    return Path(results) if results is not None else find_results(video)


def _numbered(pairs: Sequence[tuple[str, str]], keypoints: Sequence[str], video: Path) -> tuple[tuple[int, int], ...]:
    """The skeleton in numbers of keypoints."""
    if not pairs:
        raise ConfigError(
            f"{video}: the metadata of its results has no skeleton; add one to the project's config.yaml, then export "
            "and analyse again."
        )
    number = {name: index for index, name in enumerate(keypoints)}
    if unknown := [name for pair in pairs for name in pair if name not in number]:
        raise ConfigError(f"{video}: its skeleton has {unknown[0]}, which its results lack; analyse it again.")
    return tuple((number[a], number[b]) for a, b in pairs)


@dataclass(frozen=True)
class Footage:
    """A video and what an analysis made of it.

    Attributes:
        video: The file.
        results: A row per camera frame.
        lost: Rows whose frame could not be decoded, and so has no picture.
        crop: What the analysis was cropped to.
    """

    video: Path
    results: Results
    lost: tuple[int, ...] = ()
    crop: Crop | None = None


def write_labelled_video(footage: Footage, output: Path, *, style: DrawStyle, show: Progress = silent) -> int:
    """Write ``output`` (.mp4), the footage with its poses drawn in; return its number of frames.

    Raises:
        MediaError: The video cannot be read, or the results are not its own.
        ResultError: The output cannot be written.
    """
    lost = frozenset(footage.lost)
    rows = [row for row in range(len(footage.results.xy)) if row not in lost]
    with Video(footage.video, crop=footage.crop) as source, whole_file(output) as temporary:
        rate = source.frames_per_second or 25.0
        size = (source.width, source.height)
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
        try:
            with show(output.name, len(rows), "frames") as advance:
                count = 0
                for picture in _draw_all(source, footage.results, rows, style):
                    writer.write(picture)
                    count += 1
                    advance(1)
        finally:
            writer.release()
        _check_written(temporary, output, count)
    return count


def _draw_all(source: Video, results: Results, rows: list[int], style: DrawStyle) -> Iterator[Frames]:
    earlier: deque[Poses] = deque(maxlen=style.trail)
    names = results.individuals if results.several else ()
    for frame in source.frames():
        if frame.index >= len(rows):
            raise MediaError(
                f"{source.path}: has more frames than its results ({len(rows)}); analyse it again with --overwrite."
            )
        poses = results.poses(rows[frame.index])
        yield draw_poses(frame.image, poses, style=style, earlier=tuple(earlier), names=names)
        earlier.append(poses)


def _check_written(temporary: Path, output: Path, count: int) -> None:
    """OpenCV's writer reports no error, not even a full disk: read back what it wrote."""
    sentence = (
        f"{output}: OpenCV could not write all of the video; check that the folder can be written "
        "and has room, then run the same command again."
    )
    if not temporary.is_file():
        raise ResultError(sentence)
    try:
        with Video(temporary) as written:
            whole = written.frames_reported == count
    except MediaError as error:
        raise ResultError(sentence) from error
    if not whole:
        raise ResultError(sentence)
