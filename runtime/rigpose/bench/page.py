"""A measurement as one page for people, and as one JSON object for programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rigpose import __version__
from rigpose.bench.measure import Measurement
from rigpose.bench.memory import peak_bytes
from rigpose.bench.source import Source
from rigpose.bench.spread import Spread
from rigpose.bench.verdict import bottleneck, busy_share, keeps
from rigpose.bench.watched import Stage
from rigpose.load import BundleAnalyzer
from rigpose.sessions.devices import usable_cores
from rigpose.sessions.processor import Processor

STAGES: tuple[Stage, ...] = ("decode", "prepare", "inference", "group", "write")
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Setting:
    """What was measured, and where.

    Attributes:
        analyzer: The loaded bundle.
        source: Its frames.
        load_seconds: From its folder to graphs that can run.
        threads: CPU threads of each session; none for all cores.
        target: The rate that is wanted; none if no rate was named [frames/s].
        load_average: Programs that wanted a core in the minute before; none where the system does not say.
    """

    analyzer: BundleAnalyzer
    source: Source
    load_seconds: float
    threads: int | None
    target: float | None
    load_average: float | None

    @property
    def placement(self) -> str:
        """Where the graphs run, and how that is known."""
        session = self.analyzer.session
        proved = getattr(session, "placement", None)
        if proved is not None:
            return f"{session.device}, proved by its own profile: {proved}"
        return f"{session.device}" + (", the only device that this session has" if session.device == "cpu" else "")


def page(setting: Setting, measured: Measurement, sentences: Sequence[str]) -> str:
    """The whole page."""
    bundle, runs = setting.analyzer.bundle, setting.analyzer.backend
    height, width = measured.size
    mean = 1000 * measured.seconds / measured.frames
    lines = [
        f"{bundle.path.name}: {bundle.manifest.model.architecture}, {bundle.manifest.model.task.replace('_', ' ')}",
        f"  machine    {Processor.here()}, {usable_cores()} cores{_busy(setting.load_average)}",
        f"  runs by    {runs.name} in {runs.precision} on {setting.placement}",
        f"  frames     {width}x{height}, {measured.batch} at a time, from {setting.source.name}",
        f"  loading    {setting.load_seconds:.2f} s",
        f"  memory     {_memory(measured)}",
        "",
        f"{'milliseconds':<46}{'count':>7}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}",
        _row(f"graphs alone, a batch of {measured.batch}", measured.graphs),
        _row("one frame at a time, from memory to poses", measured.one_frame),
        _row(f"end to end, from batch to batch of {measured.batch}", measured.intervals),
        "",
        f"graphs alone   {measured.graphs_per_second:8.1f} frames/s (network and its maps' decoding; no video)",
        (
            f"end to end     {measured.frames_per_second:8.1f} frames/s over {measured.seconds:.0f} s, "
            f"{_from(setting.source)} to the journal on the disk; tables and tracks come after it"
        ),
        f"ratio          {measured.frames_per_second / measured.graphs_per_second:8.2f} of the graphs' own rate",
        (
            f"jitter         {measured.one_frame.jitter:8.1f} ms, p99 less p50 of one frame; "
            f"{measured.intervals.jitter:.1f} ms from batch to batch"
        ),
        (
            f"drift          {measured.drift:8.2f} of the first third's rate in the last third "
            f"({', '.join(f'{rate:.1f}' for rate in measured.thirds)})"
        ),
        (
            f"processor time {1000 * measured.cpu_seconds / measured.frames:8.1f} ms per frame, of {mean:.1f} ms by "
            f"the clock; outside decoding and inference {_host_cpu(measured):.2f} ms"
        ),
        "",
        f"{'end to end, ms per frame':<46}{'busy':>7}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}",
        *_stage_rows(setting, measured),
        "",
        *sentences,
    ]
    return "\n".join(lines)


def facts(setting: Setting, measured: Measurement, sentences: Sequence[str]) -> dict[str, Any]:
    """The same in builtin types; times in milliseconds, rates in frames per second, memory in bytes."""
    bundle, runs, limit = setting.analyzer.bundle, setting.analyzer.backend, bottleneck(measured)
    return {
        "rigpose": __version__,
        "bundle": bundle.path.name,
        "checksum": bundle.checksum,
        "architecture": bundle.manifest.model.architecture,
        "task": bundle.manifest.model.task,
        "machine": str(Processor.here()),
        "cores": usable_cores(),
        "load_average": setting.load_average,
        "backend": runs.name,
        "precision": runs.precision,
        "threads": setting.threads,
        "placement": setting.placement,
        "source": setting.source.name,
        "height_width": list(measured.size),
        "batch": measured.batch,
        "load_seconds": setting.load_seconds,
        "peak_bytes": peak_bytes(),
        "resident_bytes": measured.resident,
        "graphs_ms_per_batch": asdict(measured.graphs),
        "graphs_per_second": measured.graphs_per_second,
        "one_frame_ms": asdict(measured.one_frame),
        "end_to_end": {
            "decodes": setting.source.decodes,
            "frames": measured.frames,
            "seconds": measured.seconds,
            "frames_per_second": measured.frames_per_second,
            "thirds": list(measured.thirds),
            "drift": measured.drift,
            "batch_interval_ms": asdict(measured.intervals),
            "cpu_ms_per_frame": 1000 * measured.cpu_seconds / measured.frames,
            "host_cpu_ms_per_frame": _host_cpu(measured),
            "stages": {
                stage: {"busy": busy_share(measured, stage), **asdict(Spread.of(measured.stages[stage].per_frame))}
                for stage in STAGES
            },
            "graphs_busy": busy_share(measured, "graphs"),
        },
        "limits": {"stage": limit.stage, "busy": limit.busy, "sure": limit.sure},
        "target_frames_per_second": setting.target,
        "keeps_up": None if setting.target is None else keeps(measured, setting.target),
        "said": list(sentences),
    }


def load_average() -> float | None:
    """Programs that wanted a core in the last minute; none where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _stage_rows(setting: Setting, measured: Measurement) -> list[str]:
    rows = []
    for stage in STAGES:
        if stage == "decode" and not setting.source.decodes:
            rows.append(f"  {'decode':<44}{'-':>7}   (no video was given: frames come from memory)")
            continue
        spread = Spread.of(measured.stages[stage].per_frame)
        rows.append(_row(f"  {stage}", spread, first=f"{100 * busy_share(measured, stage):.0f} %"))
        if stage == "inference" and measured.stages["graphs"].seconds < 0.98 * measured.stages[stage].seconds:
            between = busy_share(measured, stage) - busy_share(measured, "graphs")
            rows.append(f"  {'  of it boxes and crops, not graphs':<44}{f'{100 * between:.0f} %':>7}")
    return rows


def _row(name: str, spread: Spread, *, first: str | None = None) -> str:
    values = "".join(f"{value:>9.2f}" for value in (spread.p50, spread.p90, spread.p99, spread.max))
    return f"{name:<46}{first or spread.count:>7}{values}"


def _from(source: Source) -> str:
    return "from the video file" if source.decodes else "from frames in memory (nothing was decoded)"


def _host_cpu(measured: Measurement) -> float:
    """Of one frame, on the host's own threads: preparing, grouping and writing [ms]."""
    return 1000 * sum(measured.stages[stage].cpu for stage in ("prepare", "group", "write")) / measured.frames


def _memory(measured: Measurement) -> str:
    peak, resident = peak_bytes(), measured.resident
    if peak is None:
        return "this system does not say"
    grown = ""
    if resident is not None:
        grown = (
            f"; {resident[0] / MEGABYTE:.0f} MB after a third of the run, {resident[1] / MEGABYTE:.0f} MB at its end"
        )
    return f"{peak / MEGABYTE:.0f} MB at most{grown}"


def _busy(load: float | None) -> str:
    if load is None or load < 0.5 * usable_cores():
        return ""
    return f"; OTHER PROGRAMS RAN ({load:.1f} wanted a core before this began), so take rates here for too low"
