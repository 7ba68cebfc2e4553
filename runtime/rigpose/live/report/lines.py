"""How a run stands, as lines of text for a terminal."""

from __future__ import annotations

from rigpose.live.faults import Fault
from rigpose.live.report.verdict import verdict
from rigpose.live.status import FrameCounts, Percentiles, RunStatus
from rigpose.report.numbers import counted
from rigpose.report.sentences import Weight

_MARKS = {Weight.GOOD: "+", Weight.BAD: "!", Weight.NOTE: "-"}


def one_line(status: RunStatus) -> str:
    """While it goes on."""
    frames = _all(status)
    age = status.stages.get("age")
    rate = frames.inferred / status.seconds if status.seconds else 0.0
    old = f", poses {age.p50:.1f} ms old (p99 {age.p99:.1f})" if age is not None and age.count else ""
    gave_way = f", {frames.superseded} gave way" if frames.superseded else ""
    faults = f", {counted(len(status.faults), 'fault')}" if status.faults else ""
    return f"{status.seconds:.0f} s: {rate:.1f} frames/s{old}{gave_way}{faults}"


def closing_lines(status: RunStatus) -> list[str]:
    """When it is over: the verdict, every frame's fate, and the stages."""
    said = [f"{_MARKS[sentence.weight]} {sentence.text}" for sentence in verdict(status)]
    said += [_ledger(name, frames) for name, frames in status.cameras.items()]
    said += [_stage(name, took) for name, took in status.stages.items() if took.count]
    said += [
        f"{name}: {counts.sent} of {counts.offered} results sent, {counts.dropped} gave way, {counts.failed} failed"
        for name, counts in status.outputs.items()
    ]
    said += [_fault(fault, status.begun) for fault in status.faults]
    return said


def _ledger(name: str, frames: FrameCounts) -> str:
    parts = [f"{frames.inferred} inferred"]
    parts += [f"{frames.superseded} superseded", f"{frames.stale} stale", f"{frames.failed} failed"]
    if frames.waiting:
        parts.append(f"{frames.waiting} waiting")
    lost = f"; {frames.dropped_by_device} never came" if frames.dropped_by_device else ""
    return f"{name}: {frames.captured} captured = {' + '.join(parts)}{lost}"


def _fault(fault: Fault, begun: float | None) -> str:
    when = "" if begun is None else f" at {fault.time - begun:.1f} s"
    return f"fault{when}: {fault.sentence}"


def _stage(name: str, took: Percentiles) -> str:
    return (
        f"{name}: p50 {took.p50:.2f}, p90 {took.p90:.2f}, p99 {took.p99:.2f}, p99.9 {took.p99_9:.2f}, "
        f"max {took.max:.2f} ms"
    )


def _all(status: RunStatus) -> FrameCounts:
    each = status.cameras.values()
    return FrameCounts(
        captured=sum(frames.captured for frames in each),
        inferred=sum(frames.inferred for frames in each),
        superseded=sum(frames.superseded for frames in each),
    )
