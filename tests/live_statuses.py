"""Made-up statuses of live runs, for pages and reports."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rigpose.arrays import Floats
from rigpose.live.faults import Fault, FaultKind
from rigpose.live.status import FrameCounts, Moment, OutputCounts, Percentiles, RunState, RunStatus

NASTY = "<script>document.title='taken'</script>\"'&"
"""A name that a page which forgets to escape would run."""


def percentiles(durations: Floats) -> Percentiles:
    """Of durations [ms]."""
    p50, p90, p99, p99_9 = np.percentile(durations, (50, 90, 99, 99.9)).tolist()
    return Percentiles(len(durations), p50, p90, p99, p99_9, float(durations.max()))


def histogram(durations: Floats) -> dict[float, int]:
    """Bins whose borders rise by a twentieth each, the last without an end."""
    borders = 0.05 * 1.05 ** np.arange(200)
    counts, _ = np.histogram(durations, [0.0, *borders, math.inf])
    return dict(zip([*borders.tolist(), math.inf], counts.tolist(), strict=True))


def steady(seconds: float = 120.0, *, slower: float = 1.0, camera: str = "simulated:0") -> RunStatus:
    """A camera of 100 frames per second and a model of 25 ms, which becomes ``slower`` times as slow until the end."""
    rng = np.random.default_rng(0)
    frames = int(seconds * 40)
    begun = np.linspace(0, 1, frames)
    sessions = rng.gamma(400, 25 / 400, frames) * (1 + (slower - 1) * begun)
    parts = {
        "transfer": rng.gamma(8, 0.15, frames),
        "wait": rng.uniform(0, 10, frames) * 0.6,
        "sessions": sessions,
        "overhead": rng.gamma(12, 0.03, frames),
    }
    age = np.sum(list(parts.values()), axis=0)
    age[:: frames // 4] += 90  # a few very late ones
    parts |= {"judging": rng.gamma(6, 0.02, frames), "age": age, "sent to tcp://127.0.0.1:5555": age + 0.4}
    captured = int(seconds * 100)
    moments = tuple(
        Moment(begun=seconds * i / 40, seconds=seconds / 40, frames=len(part), age=percentiles(part))
        for i, part in enumerate(np.array_split(age, 40))
    )
    return RunStatus(
        state=RunState.RUNNING,
        seconds=seconds,
        cameras={camera: FrameCounts(captured, frames, captured - frames - 1, 0, 0, 1)},
        stages={name: percentiles(values) for name, values in parts.items()},
        histogram=histogram(age),
        moments=moments,
        outputs={"tcp://127.0.0.1:5555": OutputCounts(frames, frames - 1, 0, 0, 1)},
        triggers={"paw lifted": True, "in arena": False},
        facts={"bundle": "mouse.bundle (resnet_50, 12 keypoints)", "device": "ONNX Runtime, CPU, 2 threads"},
        begun=1000.0,
    )


def troubled() -> RunStatus:
    """Two cameras, one of which died, an output that stalls, missed deadlines, and names that want to be markup."""
    calm = steady(camera="top")
    faults = (
        Fault(FaultKind.OUTPUT_STALLED, NASTY, f"{NASTY}: took no result for 2 s; look at its receiver.", 1031.5),
        Fault(
            FaultKind.DEADLINE_MISSED, "age", "12 frames in a row were older than 40 ms; use a smaller model.", 1062.0
        ),
        Fault(
            FaultKind.SOURCE_LOST,
            f"side {NASTY}",
            "side: was unplugged; plug it in and start again.",
            1119.9,
            ends_run=True,
        ),
    )
    return replace(
        calm,
        state=RunState.FAULTED,
        cameras={**calm.cameras, f"side {NASTY}": FrameCounts(6003, 2995, 2990, 15, 3, 0, dropped_by_device=41)},
        deadline=40.0,
        deadline_misses=17,
        outputs={**calm.outputs, NASTY: OutputCounts(4800, 3100, 1650, 49, 1, in_safe_state=True)},
        triggers={**calm.triggers, NASTY: False},
        faults=faults,
        facts={**calm.facts, NASTY: NASTY},
    )


def before_anything() -> RunStatus:
    """A run whose model is being loaded."""
    return RunStatus(RunState.LOADING, 0.0, {}, {}, {})
