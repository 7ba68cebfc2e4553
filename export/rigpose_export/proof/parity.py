"""Proof before the export calls itself done: torch against ONNX Runtime on the same frames, as poses and boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from rigpose.analyzers.analyzer import Analyzer, prepared
from rigpose.analyzers.combined import CombinedAnalyzer, by_the_pose_graph
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.arrays import Array, Floats, Frames
from rigpose.bundles.bundle import Role
from rigpose.bundles.certificate import Case, Compared
from rigpose.bundles.golden import Golden, Told
from rigpose.measures.differences import Difference, Tolerance, compare, compare_boxes
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.parity.answers import boxes_compared, boxes_in, boxes_of, poses_of
from rigpose.poses import Poses
from rigpose.sessions import Session
from rigpose_export.evidence import Evidence
from rigpose_export.reference import Reference, ReferenceSession
from rigpose_export.witness import Witness

BATCHES = (1, 3, 8)
PROBES = 16
"""Most disturbances that the reference is repeated under, to find all of its answers where rounding decides."""
FUTILE = 4
"""If so many explain nothing, no further ones will."""
GOLDEN_FRAMES = 4
GOLDEN_PROBES = 3
"""Repetitions that are recorded for rigs, whose rounding is not this machine's."""

Question = Callable[[Session], list[Poses]]


class Judge(Protocol):
    """``compare``, or ``compare_boxes``."""

    def __call__(
        self,
        reference: Sequence[Poses],
        found: Sequence[Poses],
        tolerance: Tolerance,
        *,
        also: Sequence[Sequence[Poses]] = ...,
    ) -> Difference:
        """Differences of what was found from an answer, or where that does not fit from ``also`` some other ones."""
        ...


@dataclass(frozen=True)
class Proof:
    """One fp32 graph against torch.

    Attributes:
        cases: The comparisons.
        tensors: Of each output, the largest difference relative to the output's largest number.
        batch_invariance_px: Largest distance between a frame alone and the same frame in a batch [px].
    """

    cases: tuple[Case, ...]
    tensors: dict[str, float]
    batch_invariance_px: float

    @property
    def passed(self) -> bool:
        """Whether all lies within the tolerance, and something was found; candidates are there whatever frames show."""
        found = any(case.what != "candidates" and case.difference.compared for case in self.cases)
        return found and not any(case.difference.beyond for case in self.cases)


def certify(reference: Reference, role: Role, exported: Session, evidence: Evidence) -> Proof:
    """Compare a graph with torch at several batches and, where it takes any, several sizes.

    Args:
        reference: In torch.
        role: Which of its graphs.
        exported: What is held against it.
        evidence: Frames, and what is told about them.
    """
    tolerance, spec = Tolerance(), reference.spec
    cases: list[Case] = []
    tensors: dict[str, float] = {}
    alone_or_not = 0.0
    if role == "pair":
        return _certify_pair(reference, exported, evidence)
    if role == "detector":
        assert reference.detector is not None
        assert reference.detector_spec is not None
        for batch, frames, _ in _batches(evidence, whole=False):
            ask, judge = ask_boxes(reference.detector_spec, frames, tolerance)
            answers = prove(ask, reference.detector, exported, tolerance, judge=judge)
            cases.append(_case("boxes", batch, frames, answers.difference))
            tensors = _larger(tensors, answers.tensors)
            ask, judge = ask_boxes(reference.detector_spec, frames[-1:], tolerance)
            alone = _alone(ask, reference.detector, ask(exported), answers.found[-1:], tolerance, judge=judge)
            cases += [_case("boxes", 1, frames[-1:], alone)] if alone.beyond else []
            alone_or_not = max(alone_or_not, alone.worst_px)
        return Proof(tuple(cases), tensors, alone_or_not)
    for batch, frames, told in _batches(evidence, whole=spec.crop is not None):
        answers = prove(ask_poses(spec, frames, told), reference.pose, exported, tolerance)
        cases.append(_case("keypoints", batch, frames, answers.difference))
        tensors = _larger(tensors, answers.tensors)
        if spec.grouping is not None:
            candidates = prove(ask_candidates(spec, frames), reference.pose, exported, tolerance)
            cases.append(_case("candidates", batch, frames, candidates.difference))
        ask = ask_poses(spec, frames[-1:], told.take([batch - 1]))
        alone = _alone(ask, reference.pose, ask(exported), answers.found[-1:], tolerance)
        cases += [_case("keypoints", 1, frames[-1:], alone)] if alone.beyond else []
        alone_or_not = max(alone_or_not, alone.worst_px)
    return Proof(tuple(cases), tensors, alone_or_not)


def _certify_pair(reference: Reference, exported: Session, evidence: Evidence) -> Proof:
    """The combined graph: its boxes against the detector's, its poses against the pose network's in the same boxes."""
    boxes = reference.detector_spec
    assert reference.detector is not None
    assert boxes is not None
    pair, tolerance = CombinedAnalyzer(reference.spec, boxes, exported, animals=boxes.max_animals), Tolerance()
    cases: list[Case] = []
    alone_or_not = 0.0
    for batch, frames, _ in _batches(evidence, whole=False):
        found = pair.predict(frames)
        corners = boxes_in(found)
        ask, judge = ask_boxes(boxes, frames, tolerance, most=boxes.max_animals)
        _, difference = settle(ask, reference.detector, corners, tolerance, judge=judge)
        cases.append(_case("boxes", batch, frames, difference))
        ask = partial(_in_the_same_boxes, reference.spec, found, frames)
        _, difference = settle(ask, reference.pose, found, tolerance)
        cases.append(_case("keypoints", batch, frames, difference))
        single = pair.predict(frames[-1:])
        ask = partial(_in_the_same_boxes, reference.spec, single, frames[-1:])
        alone = _alone(ask, reference.pose, single, found[-1:], tolerance)
        cases += [_case("keypoints", 1, frames[-1:], alone)] if alone.beyond else []
        alone_or_not = max(alone_or_not, alone.worst_px)
    return Proof(tuple(cases), {}, alone_or_not)


def _in_the_same_boxes(
    spec: ModelSpec, found: Sequence[Poses], frames: Sequence[Frames], session: Session
) -> list[Poses]:
    return by_the_pose_graph(found, CropAnalyzer(spec, session), frames)


def _alone(
    ask: Question,
    reference: ReferenceSession,
    alone: list[Poses],
    together: list[Poses],
    tolerance: Tolerance,
    *,
    judge: Judge = compare,
) -> Difference:
    """A frame by itself against the same frame in a batch; where they differ, against all that the reference gives."""
    difference = judge(alone, together, tolerance)
    return settle(ask, reference, alone, tolerance, judge=judge)[1] if difference.beyond else difference


def choose_golden(reference: Reference, exported: Mapping[str, Session], evidence: Evidence) -> Golden:
    """The frames to replay on rigs: those on which rounding decides least, with animals if there are any.

    Both graphs of a pair have a say in it.

    Args:
        reference: In torch.
        exported: The fp32 graphs for ONNX Runtime, by role.
        evidence: Frames, and what is told about them.
    """
    tolerance = Tolerance()
    ask = ask_poses(reference.spec, evidence.frames, evidence.told)
    every = prove(ask, reference.pose, exported["pose"], tolerance, at_least=GOLDEN_PROBES).answers
    unclear = _unclear(every, tolerance, compare)
    seen: tuple[tuple[Poses, ...], ...] = ()
    if reference.detector is not None and reference.detector_spec is not None:
        ask, judge = ask_boxes(reference.detector_spec, evidence.frames, tolerance)
        session, detector = exported["detector"], reference.detector
        seen = prove(ask, detector, session, tolerance, judge=judge, at_least=GOLDEN_PROBES).answers
        unclear = unclear + _unclear(seen, tolerance, judge)
    empty = np.array([not len(poses) and poses.unique is None for poses in every[0]])
    rows = np.lexsort((unclear, empty))[:GOLDEN_FRAMES].tolist()
    return Golden(
        frames=tuple(evidence.frames[i] for i in rows),
        told=evidence.told.take(rows),
        answers=tuple(tuple(answer[i] for i in rows) for answer in every),
        found=tuple(tuple(answer[i] for i in rows) for answer in seen),
    )


def _unclear(answers: Sequence[Sequence[Poses]], tolerance: Tolerance, judge: Judge) -> Array:
    """(F,) how much of each frame the reference itself answers otherwise under disturbances."""
    first, others = answers[0], answers[1:]
    return np.array([sum(judge([poses], [o[i]], tolerance).beyond for o in others) for i, poses in enumerate(first)])


@dataclass(frozen=True)
class Answers:
    """What the reference gave, first undisturbed, what was found, and how far that is from the nearest.

    Attributes:
        answers: Of the reference.
        found: By what is held against it.
        difference: Between them.
        tensors: Of each output, the largest difference relative to the output's largest number.
    """

    answers: tuple[tuple[Poses, ...], ...]
    found: list[Poses]
    difference: Difference
    tensors: dict[str, float]


def prove(
    ask: Question,
    reference: ReferenceSession,
    exported: Session,
    tolerance: Tolerance,
    *,
    judge: Judge = compare,
    at_least: int = 0,
) -> Answers:
    """Ask both; where they differ, ask the reference under disturbances until one of its answers fits, or none will.

    Args:
        ask: What of a session's outputs is compared.
        reference: In torch.
        exported: What is held against it.
        tolerance: What counts as the same.
        judge: How answers are compared.
        at_least: So many disturbances even where nothing differs.
    """
    right, other = Witness(reference), Witness(exported)
    answers = [tuple(ask(right))]
    found = ask(other)
    tensors: dict[str, float] = {}
    for outputs in zip(right.given, other.given, strict=True):
        tensors = _larger(tensors, apart(*outputs))
    every, difference = settle(ask, reference, found, tolerance, judge=judge, at_least=at_least, first=answers[0])
    return Answers(every, found, difference, tensors)


def settle(  # noqa: PLR0913  # as ``prove``
    ask: Question,
    reference: ReferenceSession,
    found: list[Poses],
    tolerance: Tolerance,
    *,
    judge: Judge = compare,
    at_least: int = 0,
    first: tuple[Poses, ...] | None = None,
) -> tuple[tuple[tuple[Poses, ...], ...], Difference]:
    """The reference's answers, and how far what was ``found`` is from the nearest; ``first`` is the undisturbed one."""
    answers = [tuple(ask(reference)) if first is None else first]
    difference = judge(answers[0], found, tolerance)
    unexplained = difference.beyond
    for seed in range(PROBES):
        if seed >= at_least and (not difference.beyond or (seed == FUTILE and difference.beyond == unexplained)):
            break
        answers.append(tuple(ask(reference.disturbed(seed))))
        difference = judge(answers[0], found, tolerance, also=answers[1:])
    return tuple(answers), difference


def apart(right: Mapping[str, Array], other: Mapping[str, Array]) -> dict[str, float]:
    """Of each output, the largest difference relative to the output's largest number."""
    found = {}
    for name, numbers in right.items():
        one, two = (np.asarray(array, np.float64) for array in (numbers, other[name]))
        both = np.isfinite(one) & np.isfinite(two)
        size = np.abs(one[both]).max(initial=0.0)
        found[name] = float(np.abs(one - two)[both].max(initial=0.0) / size) if size else 0.0
    return found


def _larger(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: max(one.get(name, 0.0), value) for name, value in other.items()}


def ask_poses(spec: ModelSpec, frames: Sequence[Frames], told: Told) -> Question:
    """The poses in frames."""
    return lambda session: poses_of(spec, session, frames, told)


def ask_boxes(
    spec: DetectorSpec, frames: Sequence[Frames], tolerance: Tolerance, *, most: int | None = None
) -> tuple[Question, Judge]:
    """The best boxes in frames, by the detector of a pair, and how ``most`` of them are compared."""
    judge = partial(compare_boxes, most=boxes_compared(spec) if most is None else most)
    return lambda session: boxes_of(spec, session, frames, tolerance), judge


def ask_candidates(spec: ModelSpec, frames: Sequence[Frames]) -> Question:
    """All that a bottom-up graph gives, also what is no animal's: a rig may group with other parameters.

    Peaks are sorted by score, whole poses by the score of their centres.
    """

    def ask(session: Session) -> list[Poses]:
        analyzer = Analyzer(spec, session)
        given = analyzer.infer(prepared(frames, analyzer.preparation(*frames[0].shape[:2])))
        if spec.task == "dekr":
            return [_by_score(poses, center) for poses, center in zip(given["poses"], given["center"], strict=True)]
        return [_by_rank(peaks) for peaks in given["peaks"]]

    return ask


def _by_score(poses: Floats, center: Floats) -> Poses:
    order = np.argsort(-center, kind="stable")
    order = order[center[order] > 0]
    return Poses(poses[order, :, :2], poses[order, :, 2], animal_score=center[order])


def _by_rank(peaks: Floats) -> Poses:
    """(K, P, 3) -> the best peak of every part, the second best, and so on."""
    order = np.argsort(np.where(np.isnan(peaks[..., 2]), np.inf, -peaks[..., 2]), axis=1, kind="stable")
    return Poses.from_array(np.take_along_axis(peaks, order[..., None], axis=1).swapaxes(0, 1))


def _case(what: Compared, batch: int, frames: Sequence[Frames], difference: Difference) -> Case:
    return Case(what, batch, frames[0].shape[0], frames[0].shape[1], difference)


def _batches(evidence: Evidence, *, whole: bool) -> list[tuple[int, list[Frames], Told]]:
    """Frames of each of the cases; ``whole`` ones where the graph sees crops, whose size is fixed."""
    first = evidence.frames[0]
    sizes = [first.shape[:2]] * len(BATCHES) if whole else _sizes(first)
    cases = []
    for batch, (height, width) in zip(BATCHES, sizes, strict=True):
        rows = [i % len(evidence.frames) for i in range(batch)]
        frames = [_cut(evidence.frames[row], height, width, i) for i, row in enumerate(rows)]
        cases.append((batch, frames, evidence.told.take(rows)))
    return cases


def _sizes(frame: Frames) -> list[tuple[int, int]]:
    """The frame's own size, an odd one, and about half of it, at least 32 px."""
    height, width = frame.shape[:2]
    odd = (max(height - 7, 32) | 1, max(width - 12, 32) | 1)
    half = (max(height // 2 + 5, 32), max(width // 2 + 2, 32))
    return [
        (height, width),
        (min(odd[0], height), min(odd[1], width)),
        (min(half[0], height), min(half[1], width)),
    ]


def _cut(frame: Frames, height: int, width: int, index: int) -> Frames:
    """A window of the frame, at another place for every index; real pixels, never resized."""
    top = (index * 5) % (frame.shape[0] - height + 1)
    left = (index * 11) % (frame.shape[1] - width + 1)
    return np.ascontiguousarray(frame[top : top + height, left : left + width])
