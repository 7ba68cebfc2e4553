"""SLEAP's ``.slp``: predicted instances on tracks, through sleap-io.

SLEAP's coordinates are those of DeepLabCut's labels: the middle of the first pixel is (0, 0) in files since format 1.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rigpose import __version__
from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.formats.new_file import new_file
from rigpose.formats.tracks_table import TracksTable


def check_slp(tracks: TracksTable) -> None:
    """Raise ``ConfigError`` where the names do not fit one skeleton."""
    if both := sorted(set(tracks.keypoints) & set(tracks.unique_keypoints)):
        raise ConfigError(
            f"{tracks.source}: {both[0]} is a keypoint of the animals and one that exists once per frame, and SLEAP's "
            "skeleton has each name once; choose another format."
        )


def write_slp(path: Path, tracks: TracksTable) -> None:
    """Write a track per individual, and one named ``single`` for the keypoints that exist once per frame.

    SLEAP opens files of one skeleton, so it has the keypoints of both kinds; an animal has none of the unique ones. An
    instance's score is the mean of its found keypoints'. A frame without any is not listed, as in SLEAP.

    Raises:
        ConfigError: As ``check_slp``.
        ResultError: The file cannot be written.
    """
    import sleap_io

    sio: Any = sleap_io  # it finds its names when they are asked for, where no type checker follows
    check_slp(tracks)
    nodes = [*tracks.keypoints, *tracks.unique_keypoints]
    skeleton = sio.Skeleton(nodes=list(nodes), edges=[tuple(pair) for pair in tracks.skeleton], name="rigpose")
    video = _video(tracks)
    owners = [
        (sio.Track(owner), [nodes.index(name) for name in names], xy, score)
        for owner, names, xy, score in tracks.owners()
    ]
    frames = []
    for frame in range(len(tracks)):
        instances = []
        for track, places, xy, score in owners:
            if not np.isfinite(xy[frame]).any():
                continue
            found = _spread(xy[frame], score[frame], places, len(nodes))
            instances.append(
                sio.PredictedInstance.from_numpy(
                    found[:, :2],
                    skeleton,
                    point_scores=found[:, 2],
                    score=float(found[np.isfinite(found[:, 0]), 2].mean()),
                    track=track,
                )
            )
        if instances:
            frames.append(sio.LabeledFrame(video=video, frame_idx=frame, instances=instances))
    labels = sio.Labels(
        labeled_frames=frames,
        videos=[video],
        skeletons=[skeleton],
        tracks=[track for track, *_ in owners],
        provenance=_provenance(tracks),
    )
    with new_file(path, room=(1 << 16) + 32 * len(frames) * len(owners) * len(nodes)) as temporary:
        sio.save_slp(labels, str(temporary), embed=False, verbose=False)


def _spread(xy: Floats, score: Floats, places: list[int], nodes: int) -> Floats:
    """(nodes, 3) x, y, score of one instance; NaN and 0 at the nodes that its owner has not."""
    found = np.full((nodes, 3), (np.nan, np.nan, 0.0))
    found[places, :2] = xy
    found[places, 2] = np.nan_to_num(score)
    return found


def _video(tracks: TracksTable) -> Any:
    import sleap_io

    sio: Any = sleap_io  # it finds its names when they are asked for, where no type checker follows
    name = str(tracks.video.absolute()) if tracks.video else tracks.video_name
    facts: dict[str, Any] = {"type": "MediaVideo", "filename": name, "fps": tracks.frames_per_second}
    if tracks.frame_size is not None:
        facts |= {"shape": [len(tracks), *tracks.frame_size, 3], "grayscale": False}
    return sio.Video(filename=name, backend_metadata=facts, open_backend=False)


def _provenance(tracks: TracksTable) -> dict[str, Any]:
    """What SLEAP has no other place for; plain values only."""
    return {
        "rigpose": __version__,
        "scorer": tracks.scorer,
        "results": str(tracks.source.absolute()),
        "frames_per_second": tracks.frames_per_second,
        "began": tracks.began.isoformat() if tracks.began else "",
    }
