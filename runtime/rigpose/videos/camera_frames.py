"""The frames of a video that were analysed, and those that are lost: row i is camera frame i."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from rigpose.poses import Poses
from rigpose.videos.journal import Journal
from rigpose.videos.video import Video, lost_frames


class CameraFrames(Collection["Poses | None"]):
    """Per camera frame its animals, none for a lost one; read from the journal anew by every iteration.

    Args:
        journal: It must stay open, or at least in its place.
        lost: Numbers of the camera frames that it lacks, in order.
        given_up: Asked before every frame; an iteration then ends as if Ctrl-C had been pressed, which only the main
            thread ever sees.
    """

    def __init__(
        self, journal: Journal, lost: tuple[int, ...] = (), *, given_up: Callable[[], bool] = lambda: False
    ) -> None:
        self._journal = journal
        self._lost = lost
        self._given_up = given_up

    def __len__(self) -> int:
        return self._journal.frames + len(self._lost)

    def __iter__(self) -> Iterator[Poses | None]:
        row, waiting = 0, iter((*self._lost, -1))
        next_lost = next(waiting)
        for record in self._journal.records():
            if self._given_up():
                raise KeyboardInterrupt
            while row == next_lost:
                yield None
                row, next_lost = row + 1, next(waiting)
            yield record.poses
            row += 1

    def __contains__(self, poses: object) -> bool:
        """Whether any frame is lost (none); no poses are in it, as every iteration makes its own."""
        return poses is None and len(self._lost) > 0


def account_for_frames(source: Video, journal: Journal) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Camera frames that are lost for certain, and a sentence if decoder and container disagree."""
    decoded, reported, name = journal.frames, source.frames_reported, source.path.name
    if reported is None or reported == decoded:
        return (), ()
    if reported < decoded:
        return (), (
            (
                f"{name}: the container promises {reported} frames and {decoded} could be decoded; "
                "all of them are in the result."
            ),
        )
    times = (record.time for record in journal.records())
    lost = lost_frames(times, frames_per_second=source.frames_per_second)
    if lost and decoded + len(lost) == reported:
        return lost, (
            (
                f"{name}: {len(lost)} of {reported} frames are damaged and have empty rows, so that "
                f"row i stays camera frame i: {_some(lost)}."
            ),
        )
    where = (
        "the time stamps have no gap, so the missing ones are at the end"
        if lost == ()
        else "the time stamps do not say which are missing, so rows may be early"
    )
    return (), (
        (f"{name}: only {decoded} of the {reported} frames that the container promises could be decoded; {where}."),
    )


def _some(numbers: tuple[int, ...], most: int = 20) -> str:
    listed = ", ".join(map(str, numbers[:most]))
    return listed if len(numbers) <= most else f"{listed} and {len(numbers) - most} more"
