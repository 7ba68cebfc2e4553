"""Neurodata Without Borders: an ``.nwb`` with ndx-pose's containers in the module ``behavior``."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from rigpose import __version__
from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.formats.deeplabcut import NAMELESS
from rigpose.formats.new_file import new_file
from rigpose.formats.tracks_table import ORIGIN, TracksTable

SKELETONS = "Skeletons"
"""ndx-pose's name for the container beside the poses."""
POSES = "PoseEstimation"
"""Its name for the poses of an animal that is the only one and has no name: where other tools look for them."""


def check_nwb(tracks: TracksTable) -> datetime:
    """When the session began.

    Raises:
        ConfigError: Nobody says, or a name cannot be one of NWB's.
    """
    names = [*tracks.individuals, *tracks.keypoints, *tracks.unique_keypoints]
    if bad := [name for name in names if "/" in name or ":" in name or name == SKELETONS]:
        raise ConfigError(f"{tracks.source}: NWB cannot hold anything named {bad[0]!r}; choose another format.")
    if tracks.began is None:
        raise ConfigError(
            f"{tracks.source}: NWB asks when the recording began, which no file here says; give --session-start, such "
            "as 2026-11-20T14:03:00+01:00."
        )
    return tracks.began


def write_nwb(path: Path, tracks: TracksTable) -> None:
    """Write a ``PoseEstimation`` per individual, and one named ``single`` for the keypoints that exist once per frame.

    Each is named as its individual; the only animal of a model that names none is ``PoseEstimation``. Each keypoint is
    a series with a value for every frame, NaN where nothing was found, so that row i is frame i. The video is linked,
    not copied: by its name where it lies beside the ``.nwb``.

    Raises:
        ConfigError: As ``check_nwb``.
        ResultError: The file cannot be written.
    """
    import ndx_pose
    import pynwb

    library: Any = pynwb  # its classes' arguments are known when it runs, where no type checker follows
    nwb = library.NWBFile(
        session_description=f"Poses of {tracks.video_name}",
        identifier=str(uuid.uuid4()),
        session_start_time=check_nwb(tracks),
    )
    video = None
    if tracks.video is not None:
        video = _linked_video(tracks, tracks.video, path)
        nwb.add_acquisition(video)
    skeletons = _skeletons(tracks)
    module = nwb.create_processing_module("behavior", "Poses found in the video, and their skeletons.")
    module.add(ndx_pose.Skeletons(name=SKELETONS, skeletons=list(dict.fromkeys(skeletons.values()))))
    first: Any = None
    for owner, keypoints, xy, score in tracks.owners():
        poses, first = _poses((owner, keypoints, xy, score), tracks, skeletons[owner], video, first)
        module.add(poses)
    room = (1 << 20) + 16 * sum(score.size for *_, score in tracks.owners())
    with new_file(path, room=room) as temporary, library.NWBHDF5IO(str(temporary), "w") as file:
        file.write(nwb)


def _skeletons(tracks: TracksTable) -> dict[str, Any]:
    """Owner -> its skeleton; the animals share one."""
    from ndx_pose import Skeleton

    found: dict[tuple[str, ...], Any] = {}
    by_owner = {}
    for owner, keypoints, _, _ in tracks.owners():
        if keypoints not in found:
            edges = [(keypoints.index(a), keypoints.index(b)) for a, b in tracks.skeleton if {a, b} <= set(keypoints)]
            found[keypoints] = Skeleton(
                name="unique" if found else "animal",
                nodes=list(keypoints),
                edges=np.array(edges, np.uint8).reshape(-1, 2),
            )
        by_owner[owner] = found[keypoints]
    return by_owner


def _poses(
    owner: tuple[str, tuple[str, ...], Floats, Floats], tracks: TracksTable, skeleton: Any, video: Any, first: Any
) -> tuple[Any, Any]:
    """One owner's container, and the series whose times all others share."""
    from ndx_pose import PoseEstimation, PoseEstimationSeries

    name, keypoints, xy, score = owner
    nameless = len(tracks.owners()) == 1 and name == NAMELESS
    series = []
    for i, keypoint in enumerate(keypoints):
        when: dict[str, Any] = {"timestamps": tracks.times if first is None else first}
        if tracks.regular:
            when = {"rate": tracks.frames_per_second, "starting_time": 0.0}
        one = PoseEstimationSeries(
            name=keypoint,
            description=f"{keypoint} of {name}",
            data=np.ascontiguousarray(xy[:, i]),
            unit="pixels",
            reference_frame=ORIGIN,
            confidence=np.ascontiguousarray(score[:, i]),
            confidence_definition="The network's score of this keypoint; NaN where nothing was found.",
            **when,
        )
        first = first or one
        series.append(one)
    poses = PoseEstimation(
        name=POSES if nameless else name,
        pose_estimation_series=series,
        description=f"Poses of {name} in {tracks.video_name}",
        scorer=tracks.scorer,
        source_software="rigpose",
        source_software_version=__version__,
        skeleton=skeleton,
        source_video=video,
    )
    return poses, first


def _linked_video(tracks: TracksTable, video: Path, nwb: Path) -> Any:
    from pynwb.image import ImageSeries

    beside = video.absolute().parent == nwb.absolute().parent
    when: dict[str, Any] = {"timestamps": tracks.times}
    if tracks.regular:
        when = {"rate": tracks.frames_per_second, "starting_time": 0.0, "num_samples": len(tracks)}
    height, width = tracks.frame_size or (0, 0)
    return ImageSeries(
        name="video",
        description="The video in which the poses were found.",
        unit="n.a.",
        format="external",
        external_file=[video.name if beside else str(video.absolute())],
        starting_frame=[0],
        dimension=[width, height],
        **when,
    )
