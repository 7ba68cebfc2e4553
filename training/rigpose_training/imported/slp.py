"""SLEAP's ``.slp`` and ``.pkg.slp``, through sleap-io, which also knows their older coordinates.

What people labelled counts; predictions stay behind.
"""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose.errors import MediaError, ProjectError
from rigpose.files.results import UNIQUE
from rigpose.videos.video import Video
from rigpose_training.imported.labels import (
    ImportedFrame,
    ImportedLabels,
    Picture,
    VideoFrame,
    find_file,
    frame_name,
    not_there,
    place_animals,
)

_EMBEDDING = {".slp", ".h5", ".hdf5"}


def read_slp(path: Path, *, images: Path | None = None, tracks: bool = True) -> ImportedLabels:
    """Read what was labelled in SLEAP.

    Args:
        path: The file.
        images: Where its videos or pictures are; none for where it says, or beside it.
        tracks: Whether tracks are individuals. They are if each labelled instance is on one. A track named ``single``
            holds the keypoints that exist once per picture, as rigpose writes them.

    Raises:
        MediaError: A video cannot be read.
        ProjectError: It is no such file, or nothing in it was labelled by a person, or its pictures are not there.
    """
    import sleap_io

    sio: Any = sleap_io  # it finds its names when they are asked for, where no type checker follows
    if not path.is_file():
        raise ProjectError(f"{path} does not exist; check the name.")
    try:
        labels = sio.load_slp(str(path), open_videos=False)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ProjectError(f"{path} is no SLEAP file that sleap-io can read ({error}); save it again.") from error
    frames = [frame for frame in labels.labeled_frames if frame.user_instances]
    if not frames:
        raise ProjectError(f"{path} has no instance that a person labelled; predictions are not imported.")
    skeleton = _only_skeleton(path, frames)
    nodes = tuple(skeleton.node_names)
    unique = _unique_nodes(frames, nodes) if tracks else ()
    keypoints = tuple(name for name in nodes if name not in unique)
    kept, alone = ([nodes.index(name) for name in names] for names in (keypoints, unique))
    animals = [
        [(_track(one), one.numpy()[kept]) for one in frame.user_instances if not unique or _track(one) != UNIQUE]
        for frame in frames
    ]
    individuals, named, placed = place_animals(animals, len(keypoints), order=_track_names(labels) if tracks else None)
    last = {frame.video: frame.frame_idx for frame in sorted(frames, key=lambda frame: frame.frame_idx)}
    videos = _videos(path, last, images)
    return ImportedLabels(
        source=path,
        keypoints=keypoints,
        individuals=individuals,
        named=named,
        frames=tuple(
            ImportedFrame(*videos[frame.video].frame(frame.frame_idx), xy, _unique_xy(frame, alone))
            for frame, xy in zip(frames, placed, strict=True)
        ),
        unique_keypoints=unique,
        skeleton=tuple((edge.source.name, edge.destination.name) for edge in skeleton.edges),
        videos={one.name: one.file for one in videos.values() if one.file is not None},
        notes=_notes(named, tracks=tracks, left=sum(len(frame.predicted_instances) for frame in labels.labeled_frames)),
    )


def _only_skeleton(path: Path, frames: list[Any]) -> Any:
    skeletons = {id(one.skeleton): one.skeleton for frame in frames for one in frame.user_instances}
    if len(skeletons) > 1:
        raise ProjectError(f"{path} has labels of {len(skeletons)} skeletons, a project has one; split it in SLEAP.")
    return next(iter(skeletons.values()))


def _track(instance: Any) -> str | None:
    return None if instance.track is None else str(instance.track.name)


def _track_names(labels: Any) -> list[str]:
    return [str(track.name) for track in labels.tracks]


def _unique_nodes(frames: list[Any], nodes: tuple[str, ...]) -> tuple[str, ...]:
    """The nodes that only instances on the track ``single`` have."""
    seen: dict[bool, Any] = {True: np.zeros(len(nodes), bool), False: np.zeros(len(nodes), bool)}
    for frame in frames:
        for one in frame.user_instances:
            seen[_track(one) == UNIQUE] |= np.isfinite(one.numpy()[:, 0])
    return tuple(name for name, alone, shared in zip(nodes, seen[True], seen[False], strict=True) if alone > shared)


def _unique_xy(frame: Any, nodes: list[int]) -> Floats:
    xy = np.full((len(nodes), 2), np.nan)
    for one in frame.user_instances:
        if nodes and _track(one) == UNIQUE:
            xy = one.numpy()[nodes]
    return xy


def _notes(named: bool, *, tracks: bool, left: int) -> tuple[str, ...]:  # noqa: FBT001  # what place_animals says
    notes = []
    if tracks and not named:
        notes.append("not every instance is on a track of its own: the individuals are numbered in each picture")
    if left:
        notes.append(f"{left} predicted instances are left behind")
    return tuple(notes)


class _Recording:
    """Where the pictures of one of SLEAP's videos come from.

    Attributes:
        name: Of their folder in ``labeled-data``.
        file: The video, where it is at hand.
    """

    def __init__(self, name: str, source: Path, video: Any, *, last: int, images: Path | None) -> None:
        self.name, self.file = name, None
        self._video, self._files, self._frames = video, [], last + 1
        if isinstance(video.filename, list):
            found = {named: find_file(named, source, images) for named in video.filename}
            if missing := [named for named, file in found.items() if file is None]:
                raise not_there(source, missing)
            self._files = [file for file in found.values() if file is not None]
        elif Path(video.filename).suffix.lower() in _EMBEDDING:
            video.open()
        else:
            self.file = find_file(video.filename, source, images)
            if self.file is None:
                raise not_there(source, [video.filename])
            with Video(self.file) as opened:
                self._frames = max(opened.frames_reported or 0, self._frames)

    def frame(self, index: int) -> tuple[str, str, Picture]:
        """Folder, file name and origin of a frame."""
        if self._files:
            file = self._files[index]
            return self.name, file.name, file
        if self.file is not None:
            return self.name, frame_name(index, self._frames), VideoFrame(self.file, index)
        return self.name, frame_name(index, self._frames), lambda: self._embedded(index)

    def _embedded(self, index: int) -> Frames:
        """(H, W, 3) BGR of a frame in the labels' file."""
        try:
            image = np.asarray(self._video[index])
        except (IndexError, KeyError, OSError, ValueError) as error:
            raise MediaError(
                f"{self._video.filename}: frame {index} of {self.name} is labelled, but the file has no picture of it; "
                "export the package again from SLEAP."
            ) from error
        return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3))[..., ::-1])


def _videos(path: Path, videos: dict[Any, int], images: Path | None) -> dict[Any, _Recording]:
    """Each video's recording, by the last labelled frame; those of one name in different folders get these, too."""
    if cropped := [video for video in videos if video.is_cropped]:
        raise ProjectError(f"{path} has labels of a crop of {cropped[0].filename}; save it with whole frames first.")
    named = [_parts(video, path) for video in videos]
    found = {}
    for video, parts in zip(videos, named, strict=True):
        length = 1
        while length < len(parts) and sum(parts[-length:] == other[-length:] for other in named) > 1:
            length += 1
        name = "_".join(parts[-length:])
        if name in {one.name for one in found.values()}:
            raise ProjectError(f"{path} has two videos named {name}; rename one in SLEAP.")
        found[video] = _Recording(name, path, video, last=videos[video], images=images)
    return found


def _parts(video: Any, path: Path) -> tuple[str, ...]:
    """Folders and name, without an ending, of the video that a person recorded."""
    source = video.source_video
    file = source.filename if source is not None else video.filename
    if isinstance(file, list):
        return tuple(part for part in PureWindowsPath(file[0]).parent.parts if not part.endswith("\\")) or (path.stem,)
    pure = PureWindowsPath(file)
    return (*(part for part in pure.parent.parts if not part.endswith("\\")), pure.name.removesuffix(pure.suffix))
