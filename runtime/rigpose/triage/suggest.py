"""The poses of a video -> the frames that are worth labelling."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rigpose.errors import ConfigError
from rigpose.files.results import Results
from rigpose.triage.animals import switches, wrong_counts
from rigpose.triage.choosing import Suggestion, choose, pose_space
from rigpose.triage.judgement import Judgement
from rigpose.triage.jumps import jumps
from rigpose.triage.rare_poses import rare_poses
from rigpose.triage.scores import low_scores

_WAYS: dict[str, Callable[[Results, float], Judgement]] = {
    "score": low_scores,
    "jumps": jumps,
    "rare": rare_poses,
    "count": lambda results, _: wrong_counts(results),
    "switches": switches,
}
WAYS = tuple(_WAYS)
"""The ways of looking at a video."""
SECONDS_APART = 0.5


def suggest_frames(  # noqa: PLR0913  # each is a word that a user says
    results: Results,
    *,
    pcutoff: float,
    count: int = 20,
    gap: int = 12,
    by: Sequence[str] = WAYS,
    labelled: Collection[int] = (),
    lost: Collection[int] = (),
) -> list[Suggestion]:
    """The frames of a video that are worth labelling, worst first; fewer than asked for if fewer are suspicious.

    Args:
        results: Its poses.
        pcutoff: Scores from here on are sure.
        count: Most frames.
        gap: Frames between any two of them; less in a video that is too short for that.
        by: Some of ``WAYS``.
        labelled: Frames that are labelled already, or wait for it.
        lost: Rows whose frame could not be decoded.

    Raises:
        ConfigError: A way that is not known.
    """
    if unknown := [way for way in by if way not in _WAYS]:
        raise ConfigError(f"frames cannot be chosen by {unknown[0]}; choose among {', '.join(WAYS)}.")
    judgements = {way: _WAYS[way](results, pcutoff) for way in dict.fromkeys(by)}
    frames = len(results.xy)
    return choose(
        judgements,
        pose_space(results, pcutoff),
        count=count,
        gap=min(gap, frames // (2 * max(count, 1))),
        labelled=labelled,
        without_picture=lost,
    )
