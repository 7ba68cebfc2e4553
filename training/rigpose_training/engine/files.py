"""What the files of one training are called, beside each other in a shuffle's ``train`` folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rigpose_training.project.shuffle import Snapshot, list_snapshots


@dataclass(frozen=True)
class RunFiles:
    """The files of a pose network's training, or of its detector's, which have names of their own.

    Attributes:
        folder: Where they are.
        prefix: How the names of snapshots begin.
        suffix: What other names end in: nothing, or ``_detector``.
    """

    folder: Path
    prefix: str = "snapshot"
    suffix: str = ""

    @property
    def resume(self) -> Path:
        """Everything that an interrupted training needs to go on."""
        return self.folder / f"resume{self.suffix}.pt"

    @property
    def stats(self) -> Path:
        """DeepLabCut's table of losses and metrics."""
        return self.folder / f"learning_stats{self.suffix}.csv"

    @property
    def curve(self) -> Path:
        """That table as a picture."""
        return self.folder / f"learning_curve{self.suffix}.png"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files; the detector is a run beside the pose network."""
        return self.folder / "tensorboard" / (self.suffix.removeprefix("_") or "pose")

    def snapshots(self) -> list[Snapshot]:
        """By epoch, the best one last."""
        return list_snapshots(self.folder, prefix=self.prefix)

    def set_aside(self) -> None:
        """Move them to a folder ``previous-N``, so that a new training does not mix with this one."""
        files = [snapshot.path for snapshot in self.snapshots()]
        files += [path for path in (self.resume, self.stats, self.curve, self.tensorboard) if path.exists()]
        if not files:
            return
        number = 1
        while (self.folder / f"previous-{number}").exists():
            number += 1
        for path in files:
            moved = self.folder / f"previous-{number}" / path.relative_to(self.folder)
            moved.parent.mkdir(parents=True, exist_ok=True)
            path.replace(moved)
