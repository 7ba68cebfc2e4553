"""What a run did with its frames, its time and its outputs, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rigpose.live.faults import Fault
from rigpose.live.status import FrameCounts, OutputCounts, Percentiles, RunStatus
from rigpose.report.markup import Html, join, tag
from rigpose.report.numbers import NOTHING, count, counted, duration, limit, ms, rate
from rigpose.report.tables import large_numbers, nothing, table

STAGE_WORDS = {
    "transfer": "from exposure to this computer",
    "wait": "for the model to be free",
    "sessions": "in the model's graphs",
    "overhead": "of the software around the graphs",
    "judging": "for triggers and prediction",
    "age": "from exposure to poses",
}
STATE_WORDS = {
    "stopped": "the run has ended",
    "loading": "the model is being loaded",
    "warm": "ready for the first frame",
    "running": "all is well",
    "degraded": "goes on, with a fault",
    "faulted": "cannot go on",
}


def state(status: RunStatus) -> Html:
    """The state, in a word and a few more."""
    value = status.state.value
    return join([tag("strong", value), " ", tag("span", STATE_WORDS[value])])


def numbers(status: RunStatus) -> Html:
    """The few numbers that matter most, large."""
    age = status.stages.get("age")
    inferred = sum(camera.inferred for camera in status.cameras.values())
    told: list[tuple[str, str, str]] = []
    for name, field in (("age p50", "p50"), ("age p99", "p99"), ("age p99.9", "p99_9"), ("oldest", "max")):
        told.append((name, ms(getattr(age, field)) if age is not None and age.count else NOTHING, "ms"))
    told.append(("poses per s", rate(inferred, status.seconds), ""))
    if status.deadline is not None:
        told.append((f"over {limit(status.deadline)}", count(status.deadline_misses), "late"))
    return large_numbers(told)


def ledger(cameras: Mapping[str, FrameCounts]) -> Html:
    """Per camera a sum that anyone can check."""
    if not cameras:
        return nothing("No cameras.")
    return join([_account(name, frames) for name, frames in cameras.items()])


def _account(name: str, frames: FrameCounts) -> Html:
    parts = [
        (frames.inferred, "inferred", "became poses"),
        (frames.superseded, "superseded", "gave way to a newer frame"),
        (frames.stale, "stale", "too old when taken"),
        (frames.failed, "failed", "inference raised an error"),
    ]
    if frames.waiting:
        parts.append((frames.waiting, "waiting", "in work at this moment"))
    sum_of = [_term(number, word, meaning, sign="+" if i else "=") for i, (number, word, meaning) in enumerate(parts)]
    missing = frames.captured - sum(number for number, *_ in parts)
    verdict = "adds up" if frames.closed else f"does not add up: {counted(abs(missing), 'frame')} unaccounted for"
    widths = [
        tag("i", class_=word, style=f"flex-grow:{number}", title=f"{word}: {count(number)}")
        for number, word, _ in parts
        if number
    ]
    return tag(
        "div",
        tag("h3", name),
        tag(
            "p",
            _term(frames.captured, "captured", "handed over by its source"),
            *sum_of,
            " ",
            tag("span", verdict, class_="good" if frames.closed else "bad"),
            class_="ledger",
        ),
        tag("div", *widths, class_="parts", aria_hidden="true"),
        tag("p", _gaps(frames.dropped_by_device), class_="aside"),
        class_="account",
    )


def _gaps(dropped: int) -> str:
    if not dropped:
        return "Its own count of frames has no gaps."
    return f"Gaps in its own count of frames: {counted(dropped, 'frame')} never came, and so are no part of the sum."


def _term(number: int, word: str, meaning: str, sign: str = "") -> Html:
    before = [tag("span", sign, class_="sign"), Html(" ")] if sign else []
    return tag("span", *before, tag("b", count(number)), " ", tag("span", word, class_=f"word {word}", title=meaning))


def stages(told: Mapping[str, Percentiles]) -> Html:
    """How long each step took."""
    if not any(stage.count for stage in told.values()):
        return nothing("No poses so far.")
    rows = [
        (
            join([name, tag("small", f" {STAGE_WORDS[name]}")]) if name in STAGE_WORDS else name,
            *map(ms, (times.p50, times.p90, times.p99, times.p99_9, times.max, times.jitter)),
        )
        for name, times in told.items()
        if times.count
    ]
    kinds = ["total" if name == "age" else None for name, times in told.items() if times.count]
    return table(
        "Duration of each stage in milliseconds", ("ms", "p50", "p90", "p99", "p99.9", "max", "jitter"), rows, kinds
    )


def outputs(told: Mapping[str, OutputCounts]) -> Html:
    """What each output was offered and what it did with it."""
    if not told:
        return nothing("No outputs.")
    rows = [
        (
            join([name, tag("small", " in its safe state")]) if one.in_safe_state else name,
            *map(count, (one.offered, one.sent, one.dropped, one.failed, one.waiting)),
        )
        for name, one in told.items()
    ]
    return table("Results of each output", ("output", "offered", "sent", "dropped", "failed", "waiting"), rows)


def triggers(told: Mapping[str, bool]) -> Html:
    """Which rules hold now."""
    if not told:
        return nothing("No triggers.")
    return tag(
        "ul",
        *(
            tag("li", name, " ", tag("b", "on" if holds else "off"), class_="on" if holds else "off")
            for name, holds in told.items()
        ),
        class_="triggers",
    )


def faults(told: Sequence[Fault], begun: float | None, most: int | None = None) -> Html:
    """What went wrong, the newest first.

    Args:
        told: All of them, the oldest first.
        begun: When the run began, by their clock; none where nobody knows.
        most: How many to show; the rest is counted.
    """
    if not told:
        return nothing("No faults.")
    shown = list(reversed(told))[:most]
    items = [
        tag(
            "li",
            tag("span", _after(fault, begun), class_="when"),
            tag("b", fault.kind.value),
            " ",
            tag("span", fault.where, class_="where"),
            tag("p", fault.sentence, " The run could not go on." if fault.ends_run else ""),
            class_="ends" if fault.ends_run else None,
        )
        for fault in shown
    ]
    rest = len(told) - len(shown)
    return join(
        [tag("ul", *items, class_="faults"), *([nothing(f"{counted(rest, 'earlier fault')}.")] if rest else [])]
    )


def _after(fault: Fault, begun: float | None) -> str:
    return "" if begun is None else f"after {duration(max(0.0, fault.time - begun))}"
