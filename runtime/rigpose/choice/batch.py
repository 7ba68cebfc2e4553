"""``--batch auto``: how many frames go through the graphs at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigpose.analyzers.analyzer import VideoAnalyzer
from rigpose.bundles.bundle import Bundle
from rigpose.bundles.golden import read_golden
from rigpose.choice.remembered import recall, remember, this_machine
from rigpose.choice.timing import filled_batch, median_seconds
from rigpose.errors import BackendError, ConfigError
from rigpose.schema import parse, to_mapping

SIZES = (1, 2, 4, 8, 16)
WORTH = 0.97
"""A larger batch must take less than this part of a smaller one's time per frame.

What is nearer is noise, and a smaller batch takes less memory and loses fewer frames when an analysis is interrupted.
"""
_MEMORY_SHARE = 0.5
"""Of the memory that is free: the next batch may take so much more, twice what the last one took more."""


@dataclass(frozen=True)
class BatchChoice:
    """What was measured.

    Attributes:
        batch: Chosen.
        milliseconds: Per frame, by batch as text, as files have it.
        stopped: Why larger ones were not tried, if so.
        remembered: Whether it was measured in an earlier run.
    """

    batch: int
    milliseconds: dict[str, float]
    stopped: str = ""
    remembered: bool = False

    @property
    def sentence(self) -> str:
        """What was chosen and why, in one line."""
        times = ", ".join(f"{batch}: {time:.1f}" for batch, time in self.milliseconds.items())
        said = [f"auto: batches of {self.batch}; ms per frame by batch {times}"]
        said += [self.stopped] if self.stopped else []
        said += ["measured in an earlier run, --choose-again measures anew"] if self.remembered else []
        return "; ".join(said) + "."


def choose_batch(
    bundle: Bundle,
    analyzer: VideoAnalyzer,
    frame_size: tuple[int, int] | None,
    *,
    threads: int | None = None,
    again: bool = False,
) -> BatchChoice:
    """Measure for some seconds, or recall what was measured before.

    Args:
        bundle: The model.
        analyzer: What runs it.
        frame_size: (H, W); none for the golden frames'.
        threads: With how many its sessions were opened.
        again: Measure even where a choice is remembered.
    """
    golden = read_golden(bundle)
    size = frame_size or (golden.frames[0].shape[0], golden.frames[0].shape[1])
    run = analyzer.run_of(*size)
    question: Mapping[str, Any] = {
        "batch_of": bundle.checksum,
        "machine": this_machine(),
        "settings": to_mapping(analyzer.settings),
        "device": analyzer.device,
        "threads": threads,
        "frame_size": size,
    }
    if not again:
        try:
            kept = parse(BatchChoice, recall(question), where="remembered batch")
            return BatchChoice(kept.batch, kept.milliseconds, kept.stopped, remembered=True)
        except ConfigError:
            pass
    tasks, stopped = {}, ""
    free, before = _free_memory(), _free_memory()
    for batch in dict.fromkeys(-(-batch // run.period) * run.period for batch in SIZES):
        slots = filled_batch(run, golden.frames, size, batch)
        try:
            run.infer(slots)
        except (BackendError, MemoryError):
            if not tasks:
                raise
            stopped = f"{batch} frames are too many for its memory"
            break
        tasks[batch] = lambda slots=slots: run.infer(slots)
        now = _free_memory()
        if free is not None and before is not None and now is not None and 2 * (before - now) > _MEMORY_SHARE * now:
            stopped = f"more than {batch} frames would take more than half of the free memory"
            break
        before = now
    times = {batch: 1000 * seconds / batch for batch, seconds in median_seconds(tasks).items()}
    chosen = smallest_that_pays(times)
    choice = BatchChoice(chosen, {str(batch): time for batch, time in times.items()}, stopped)
    unkept = remember(question, to_mapping(choice))
    return BatchChoice(chosen, choice.milliseconds, "; ".join(filter(None, (stopped, unkept))))


def smallest_that_pays(times: Mapping[int, float]) -> int:
    """The batch from which on no larger one is worth its memory.

    Args:
        times: Per frame, by batch in rising order.
    """
    chosen = min(times)
    for batch, time in times.items():
        if time < WORTH * times[chosen]:
            chosen = batch
    return chosen


def _free_memory() -> int | None:
    """Bytes that processes may still take; none where the operating system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
