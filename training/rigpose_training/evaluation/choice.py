"""Which snapshots an evaluation is of: DeepLabCut's indices, and ours for a detector."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rigpose.errors import SnapshotError
from rigpose.schema import suggest
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.project.shuffle import Snapshot
from rigpose_training.task import Task

LOG = logging.getLogger(__name__)
LABELS = "labels"
"""In place of a detector's index: the boxes around the labels."""


def choose_snapshots(
    snapshots: Sequence[Snapshot], index: int | str, folder: Path, *, name: str = "snapshotindex"
) -> list[Snapshot]:
    """The snapshots that an index, ``"best"`` or ``"all"`` means in DeepLabCut's order.

    Args:
        snapshots: By epoch, the best one last.
        index: Counts in them.
        folder: Where they are, for messages.
        name: Of the index, likewise.

    Raises:
        SnapshotError: There is none, or none of that number.
    """
    if not snapshots:
        raise SnapshotError(f"{folder}: there is no snapshot to evaluate; train the shuffle first.")
    if index == "all":
        return list(snapshots)
    if index == "best" and snapshots[-1].best:
        index = -1
    if not isinstance(index, int) or not -len(snapshots) <= index < len(snapshots):
        names = ", ".join(s.path.name for s in snapshots)
        raise SnapshotError(
            f"{folder}: {name} {index!r} is none of its {len(snapshots)} snapshots ({names}); use 0 for the first, "
            "-1 for the best, or 'all'."
        )
    return [snapshots[index]]


def named_snapshots(snapshots: Sequence[Snapshot], names: Sequence[str], folder: Path) -> list[Snapshot]:
    """The snapshots of these names, e.g. ``snapshot-050``, in DeepLabCut's order.

    Raises:
        SnapshotError: One that is not there.
    """
    there = {snapshot.path.stem: snapshot for snapshot in snapshots}
    for name in names:
        if name.removesuffix(".pt") not in there:
            known = ", ".join(there) or "none"
            raise SnapshotError(f"{folder}: has no snapshot {name}{suggest(name, there)}; there are: {known}.")
    wanted = {name.removesuffix(".pt") for name in names}
    return [snapshot for name, snapshot in there.items() if name in wanted]


def choose_detectors(loader: DLCLoader, index: int | str) -> list[Snapshot | None]:
    """The detectors of a top-down shuffle that an index means; a single none for boxes around the labels.

    As in DeepLabCut, a shuffle whose detector was not trained is evaluated with those, too.

    Raises:
        SnapshotError: There are detectors, but none of that number.
    """
    if Task(loader.model_cfg.get("method") or "bu") is not Task.TOP_DOWN:
        return [None]
    if index == LABELS:
        LOG.info("%s: poses are looked for in boxes around the labels.", loader.model_folder)
        return [None]
    snapshots = loader.snapshots(detector=True)
    if not snapshots:
        LOG.warning(
            "%s: there is no snapshot of the detector, so poses are looked for in boxes around the labels; new images "
            "have none, so train the detector before you analyse any.",
            loader.model_folder,
        )
        return [None]
    return list(choose_snapshots(snapshots, index, loader.model_folder, name="detector_snapshot_index"))
