"""What every receiver of live poses can do."""

from __future__ import annotations

from typing import Protocol

from rigpose.live.live_pose import LivePose


class Output(Protocol):
    """A receiver. All calls come from one thread of its own, so that ``send`` may take its time."""

    @property
    def name(self) -> str:
        """For people; unique in a run."""
        ...

    def open(self) -> None:
        """Get ready.

        Raises:
            LiveError: The receiver is not there or cannot be used.
        """
        ...

    def send(self, pose: LivePose) -> None:
        """Hand one result over; an exception is a fault of this output and of nothing else."""
        ...

    def safe(self) -> None:
        """Bring whatever is driven into its safe state: poses are stale, or the run has stopped.

        It may come repeatedly.
        """
        ...

    def close(self) -> None:
        """Let go, in the safe state; a second call does nothing."""
        ...
