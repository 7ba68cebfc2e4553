"""What the measures of a video mean, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from rigpose.report.analysed import Analysed
from rigpose.report.charts import Clock
from rigpose.report.measures import Gap, Leap, Measures
from rigpose.report.numbers import count, counted, share
from rigpose.report.sentences import Sentence, Weight

GOOD_COVERAGE, POOR_COVERAGE = 0.95, 0.8
"""Of the keypoints that are found and sure. Below the second one in five is missing, which few measures bear."""
MANY_JUMPS = 0.01
"""Part of the frames: so many can no longer be looked at and mended one by one."""
WEAK_KEYPOINT = 0.8
"""Sure in a smaller part of the frames, a keypoint is named."""


def findings(analysed: Analysed, measures: Measures) -> list[Sentence]:
    """The findings of one video, those that matter most first."""
    told = [
        *_coverage(analysed, measures),
        *_identities(analysed, measures),
        *_jumps(analysed, measures),
        *_gaps(analysed, measures),
        *_footage(analysed),
    ]
    order = [Weight.BAD, Weight.NOTE, Weight.GOOD]
    told.sort(key=lambda sentence: order.index(sentence.weight))
    unsaid = (
        "All of this comes from the poses alone: a keypoint that is sure, steady and in the wrong place shows only in "
        "the pictures."
    )
    return [*told, Sentence(Weight.NOTE, unsaid)]


def needs_a_look(sentences: Sequence[Sentence]) -> bool:
    """Whether anything is bad."""
    return any(sentence.weight is Weight.BAD for sentence in sentences)


def percent(part: float) -> str:
    """Of 0 to 1."""
    return share(round(part * 1_000_000), 1_000_000)


def frame_words(analysed: Analysed, measures: Measures, frame: int) -> str:
    """What is wrong in a frame."""
    results = analysed.results
    said = [_leap(analysed, leap) for leap in measures.leaps if leap.frame == frame]
    for jump in measures.jumps:
        if jump.frame == frame:
            whose = f" of {results.individuals[jump.animal]}" if len(results.individuals) > 1 else ""
            said.append(f"{results.keypoints[jump.keypoint]}{whose} jumped {jump.px:.0f} px")
    ever = measures.present.any(axis=0)
    gone = [results.individuals[i] for i in np.flatnonzero(ever & ~measures.present[frame])]
    if gone:
        said.append(f"{', '.join(gone)} not found" if len(results.individuals) > 1 else "no animal found")
    here = measures.score[frame][measures.present[frame]]
    if len(here) and (weak := int((here < measures.pcutoff).sum())):
        said.append(f"{weak} of {here.size} keypoints missing or unsure")
    return "; ".join(said)


def _coverage(analysed: Analysed, measures: Measures) -> Iterator[Sentence]:
    covered = measures.coverage
    weight = Weight.GOOD if covered >= GOOD_COVERAGE else Weight.NOTE if covered >= POOR_COVERAGE else Weight.BAD
    if not measures.present.any():
        yield Sentence(Weight.BAD, "No animal was found in any frame.")
        return
    cutoff = f"{measures.pcutoff:g}"
    yield Sentence(weight, f"{percent(covered)} of the keypoints are there with a score of {cutoff} or more.")
    weak = [i for i in np.argsort(measures.sure) if measures.sure[i] < WEAK_KEYPOINT][:3]
    if weak:
        names = ", ".join(f"{analysed.results.keypoints[i]} ({percent(float(measures.sure[i]))})" for i in weak)
        yield Sentence(Weight.NOTE, f"Least often sure where their animal is there: {names}.")


def _identities(analysed: Analysed, measures: Measures) -> Iterator[Sentence]:
    several = len(analysed.results.individuals) > 1
    if measures.switches:
        first = measures.switches[0]
        yield Sentence(
            Weight.BAD,
            f"{counted(len(measures.switches), 'suspected switch', 'suspected switches')}, the first at "
            f"{_clock(analysed).words(first.frame)}: {_leap(analysed, first)}.",
        )
    elif several and measures.size > 0:
        yield Sentence(Weight.GOOD, "No two animals seem to have changed places.")
    if leaps := [leap for leap in measures.leaps if leap.other is None]:
        yield Sentence(
            Weight.BAD,
            f"{counted(len(leaps), 'leap')} of a whole animal by more than its length, the first at "
            f"{_clock(analysed).words(leaps[0].frame)}: {_leap(analysed, leaps[0])}.",
        )


def _jumps(analysed: Analysed, measures: Measures) -> Iterator[Sentence]:
    if not measures.jumps:
        if measures.frames > 1 and measures.present.any():
            yield Sentence(Weight.GOOD, "No keypoint jumps away from its animal.")
        return
    frames = len({jump.frame for jump in measures.jumps})
    names = Counter(analysed.results.keypoints[jump.keypoint] for jump in measures.jumps)
    (name, most), *_ = names.most_common()
    whose = f"all of {name}" if len(names) == 1 else f"{count(most)} of {name}"
    yield Sentence(
        Weight.BAD if frames > MANY_JUMPS * measures.frames else Weight.NOTE,
        f"{counted(len(measures.jumps), 'jump')} of a sure keypoint in {counted(frames, 'frame')} "
        f"({share(frames, measures.frames)}), {whose}: steps that are long for the keypoint, while its animal stays.",
    )


def _gaps(analysed: Analysed, measures: Measures) -> Iterator[Sentence]:
    names = analysed.results.individuals
    never = [gap for gap in measures.gaps if gap.frames == measures.frames]
    if never and measures.present.any():
        yield Sentence(Weight.NOTE, f"Never found: {', '.join(names[gap.animal] for gap in never)}.")
    gaps = [gap for gap in measures.gaps if gap.frames < measures.frames]
    if not gaps:
        return
    longest: Gap = max(gaps, key=lambda gap: gap.frames)
    who = names[longest.animal] if len(names) > 1 else "the animal"
    lost = sum(gap.frames for gap in gaps)
    whole = int(measures.present.any(axis=0).sum()) * measures.frames
    yield Sentence(
        Weight.BAD if lost > (1 - POOR_COVERAGE) * whole else Weight.NOTE,
        f"{counted(len(gaps), 'gap')} in the tracks, {share(lost, whole)} of them in all; the longest is "
        f"{counted(longest.frames, 'frame')} of {who} at {_clock(analysed).words(longest.begin)}.",
    )


def _footage(analysed: Analysed) -> Iterator[Sentence]:
    if analysed.lost:
        yield Sentence(Weight.NOTE, f"{counted(len(analysed.lost), 'frame')} could not be decoded and have no poses.")


def _leap(analysed: Analysed, leap: Leap) -> str:
    names = analysed.results.individuals
    if leap.other is not None:
        return f"{names[leap.animal]} and {names[leap.other]} may have changed places"
    who = names[leap.animal] if len(names) > 1 else "the animal"
    return f"{who} is {leap.px:.0f} px from where it was"


def _clock(analysed: Analysed) -> Clock:
    return Clock(len(analysed.results.xy), analysed.frames_per_second)
