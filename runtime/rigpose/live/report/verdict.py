"""What the numbers of a run mean, in sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from statistics import median

from rigpose.live.report.tables import STAGE_WORDS
from rigpose.live.sources.source_kind import SourceKind
from rigpose.live.status import FrameCounts, Moment, Percentiles, RunState, RunStatus
from rigpose.report.numbers import count, counted, duration, limit, ms, share
from rigpose.report.sentences import Sentence, Weight

DRIFT = 1.5
"""A stretch whose frames are so many times as old as at the beginning shows that the machine became slower."""
FEW = 1000
"""Frames below which p99.9 is the oldest one, more or less."""


def verdict(status: RunStatus) -> list[Sentence]:
    """The findings, the ones that matter most first."""
    return [
        *_ending(status),
        *(sentence for name, frames in status.cameras.items() for sentence in _pace(name, frames, status)),
        *_age(status),
        *_deadline(status),
        *_slowest(status),
        *_drift(status.moments),
        *_faults(status),
        *_books(status),
        *_unsaid(status),
    ]


def _ending(status: RunStatus) -> Iterator[Sentence]:
    if status.state is RunState.FAULTED:
        ending = next((fault for fault in reversed(status.faults) if fault.ends_run), None)
        cause = f": {ending.sentence}" if ending is not None else "."
        yield Sentence(Weight.BAD, f"The run could not go on after {duration(status.seconds)}{cause}")


def _pace(name: str, frames: FrameCounts, status: RunStatus) -> Iterator[Sentence]:
    """Whether the model kept up with one camera."""
    if not frames.captured:
        yield Sentence(Weight.BAD, f"{name} gave no frame.")
        return
    if frames.inferred == frames.captured:
        yield Sentence(Weight.GOOD, f"{name}: kept up; all {counted(frames.captured, 'frame')} became poses.")
    else:
        yield _seen(name, frames, status)
    if frames.dropped_by_device:
        advice = status.sources.get(name, SourceKind.CAMERA).advice
        text = f"{name}: {counted(frames.dropped_by_device, 'frame')} never came: {advice.gaps}."
        yield Sentence(Weight.NOTE, text)


def _seen(name: str, frames: FrameCounts, status: RunStatus) -> Sentence:
    """What became of the frames where not all became poses."""
    fates = [
        f"{count(number)} {words}"
        for number, words in (
            (frames.superseded, "gave way to a newer one, so that poses are of the newest frame"),
            (frames.stale, "became too old while waiting"),
            (frames.failed, "failed in inference"),
        )
        if number
    ]
    text = f"{name}: {share(frames.inferred, frames.captured)} of {counted(frames.captured, 'frame')} became poses"
    text += f"; {_listed(fates)}." if fates else "."
    if frames.failed:
        return Sentence(Weight.BAD, text)
    if frames.inferred > 0.99 * frames.captured:
        return Sentence(Weight.GOOD, text)
    return Sentence(Weight.NOTE, text + _needed(frames, status))


def _needed(frames: FrameCounts, status: RunStatus) -> str:
    """How fast the model would have to be to see each frame; only one camera alone says so."""
    sessions, overhead = status.stages.get("sessions"), status.stages.get("overhead")
    if len(status.cameras) > 1 or sessions is None or overhead is None or not status.seconds:
        return ""
    # Frames that never came had their time, too.
    period = 1000 * status.seconds / (frames.captured + frames.dropped_by_device)
    took = sessions.p50 + overhead.p50
    if took <= period:
        return ""
    return f" To see each, a frame may take {ms(period)} ms, and it took {ms(took)} ms."


def _age(status: RunStatus) -> Iterator[Sentence]:
    age = status.stages.get("age")
    if age is None or not age.count:
        yield Sentence(Weight.BAD, "There was no pose at all.")
        return
    text = (
        f"Half of the poses were there within {ms(age.p50)} ms, 99 of 100 within {ms(age.p99)} ms, and all within "
        f"{ms(age.max)} ms."
    )
    if age.count < FEW:
        text += f" These are only {counted(age.count, 'frame')}: run longer before you trust p99.9."
    yield Sentence(Weight.NOTE, text)


def _deadline(status: RunStatus) -> Iterator[Sentence]:
    age = status.stages.get("age")
    if status.deadline is None or age is None or not age.count:
        return
    if not status.deadline_misses:
        yield Sentence(Weight.GOOD, f"Every pose met the deadline of {limit(status.deadline)}.")
        return
    missed = share(status.deadline_misses, age.count)
    text = f"{counted(status.deadline_misses, 'pose')} ({missed}) missed the deadline of {limit(status.deadline)}."
    yield Sentence(Weight.BAD, text)


def _slowest(status: RunStatus) -> Iterator[Sentence]:
    """Which stage most of the age is from, and which its spread."""
    parts = {
        name: status.stages[name] for name in ("transfer", "wait", "sessions", "overhead") if name in status.stages
    }
    parts = {name: times for name, times in parts.items() if times.count}
    if not parts:
        return
    slow = max(parts, key=lambda name: parts[name].p50)
    text = f"Most of the time is spent {_where(slow)}: {ms(parts[slow].p50)} ms (p50)."
    late = max(parts, key=lambda name: parts[name].jitter)
    text += f" Late poses are late mostly {_where(late)}: p99 is {ms(parts[late].jitter)} ms above p50 there."
    yield Sentence(Weight.NOTE, text)


def _where(stage: str) -> str:
    return {
        "transfer": "before a frame is in this computer",
        "wait": "waiting for the model to be free",
        "sessions": "in the model's graphs",
        "overhead": "in the software around the graphs",
    }[stage]


def _drift(moments: Sequence[Moment]) -> Iterator[Sentence]:
    told = [moment for moment in moments if moment.frames]
    if len(told) < 4:
        return
    # The first stretch alone may hold a cold start.
    before = median(moment.age.p50 for moment in told[: max(2, len(told) // 4)])
    after = median(moment.age.p50 for moment in told[-max(2, len(told) // 4) :])
    worst = max(told, key=lambda moment: moment.age.p50)
    if after > DRIFT * before:
        text = (
            f"It became slower: p50 of the age went from {ms(before)} to {ms(after)} ms. Heat, a power-saving mode or "
        )
        yield Sentence(Weight.BAD, f"{text}another program are the usual causes.")
    elif worst.age.p50 > DRIFT * before:
        text = f"It was slow for a while: {duration(worst.begun)} after the beginning p50 of the age was "
        yield Sentence(Weight.NOTE, f"{text}{ms(worst.age.p50)} ms instead of {ms(before)} ms.")
    else:
        text = f"No drift: p50 of the age was {ms(before)} ms at the beginning and {ms(after)} ms at the end."
        yield Sentence(Weight.GOOD, text)


def _faults(status: RunStatus) -> Iterator[Sentence]:
    if not status.faults:
        yield Sentence(Weight.GOOD, "No faults.")
        return
    kinds = dict.fromkeys(fault.kind for fault in status.faults)
    listed = _listed([f"{kind.value} ({sum(f.kind is kind for f in status.faults)})" for kind in kinds])
    yield Sentence(Weight.BAD, f"{counted(len(status.faults), 'fault')}: {listed}.")
    for name, output in status.outputs.items():
        if output.dropped or output.failed:
            text = f"{name} did not get {counted(output.dropped + output.failed, 'result')} of {count(output.offered)}"
            yield Sentence(Weight.NOTE, f"{text}; inference did not wait for it.")


def _books(status: RunStatus) -> Iterator[Sentence]:
    open_ones = [name for name, frames in status.cameras.items() if not frames.closed]
    if open_ones:
        text = f"The ledger of {_listed(open_ones)} does not add up: frames are unaccounted for. Please report this."
        yield Sentence(Weight.BAD, text)
    elif status.cameras:
        yield Sentence(Weight.GOOD, "The ledger adds up: every captured frame is accounted for.")


def _unsaid(status: RunStatus) -> Iterator[Sentence]:
    """What nobody may read into the numbers."""
    transfer = status.stages.get("transfer")
    if transfer is not None and transfer.count:
        kinds = {status.sources.get(name, SourceKind.CAMERA) for name in status.cameras}
        yield Sentence(Weight.NOTE, _about_ages(transfer, kinds))
    text = (
        "What an output drives is not in the numbers: “sent to” ends when the message has left, not when a light is on."
    )
    if status.outputs:
        yield Sentence(Weight.NOTE, text)


def _about_ages(transfer: Percentiles, kinds: Collection[SourceKind]) -> str:
    """What they count from; of sources of several kinds, what is true of cameras."""
    if kinds == {SourceKind.VIDEO_FILE}:
        if transfer.max <= 0:
            return "Ages count from when a frame of the video was read: it was played without its own speed."
        return (
            "Ages count from when a frame of the video was due by its time stamps; until it was read it took "
            f"{ms(transfer.p50)} ms (p50)."
        )
    if kinds != {SourceKind.SIMULATED}:
        unstamped = _about_unstamped(transfer)
        if unstamped is not None:
            return unstamped
    return (
        f"Ages count from exposure by the camera's own clock; {STAGE_WORDS['transfer']} it took {ms(transfer.p50)} ms."
    )


def _about_unstamped(transfer: Percentiles) -> str | None:
    """Of frames whose camera did not tell when it exposed them, if there are any."""
    if transfer.max <= 0:
        return (
            "No camera told when it exposed a frame, so ages count from a frame's arrival in this computer: exposure, "
            "readout and transfer come on top, often several milliseconds and a frame's period with webcams."
        )
    if transfer.p50 <= 0:
        return (
            "Some frames came without a time of exposure; their ages count from their arrival in this computer, and "
            "exposure, readout and transfer come on top."
        )
    return None


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
