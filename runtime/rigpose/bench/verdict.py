"""What a measurement means: which stage limits, whether a rate is kept, and what may be done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, TypeAlias

from rigpose.bench.measure import Measurement
from rigpose.bench.watched import Stage
from rigpose.bundles.bundle import Bundle
from rigpose.bundles.certificate import Certificate, read_certificate
from rigpose.errors import BundleError
from rigpose.sessions.backends import Backend
from rigpose.sessions.processor import Processor

Limit: TypeAlias = Literal["decode", "prepare", "inference", "group", "write"]
THREADS: tuple[tuple[Limit, ...], ...] = (("decode", "prepare"), ("inference",), ("group", "write"))
"""The engine's three threads and the stages that take turns in each: the busiest thread sets the speed."""
SURELY_LIMITS = 0.9
"""The thread that the others wait for never waits; a busy machine takes some of its time away."""
STEADY = 0.95
"""A last third that is slower than this part of the first is worth a sentence: a hot processor, or a full disk."""


@dataclass(frozen=True)
class Bottleneck:
    """Which stage limits.

    Attributes:
        stage: The longest stage of the busiest thread.
        busy: The part of the time that this thread was in its stages.
    """

    stage: Limit
    busy: float

    @property
    def sure(self) -> bool:
        """Whether the others waited for it; else the stages take the cores from each other."""
        return self.busy >= SURELY_LIMITS


def bottleneck(measured: Measurement) -> Bottleneck:
    """Which stage limited the end-to-end run."""

    def seconds(stage: Stage) -> float:
        return measured.stages[stage].seconds

    busiest = max(THREADS, key=lambda stages: sum(map(seconds, stages)))
    busy = sum(map(seconds, busiest)) / measured.seconds
    return Bottleneck(max(busiest, key=seconds), min(busy, 1.0))


def keeps(measured: Measurement, target: float) -> bool:
    """Whether every third of the end-to-end run had the rate [frames/s]."""
    return min(measured.thirds) >= target


def judgement(measured: Measurement, target: float) -> list[str]:
    """Sentences about a rate that is wanted [frames/s]."""
    rate = min(measured.thirds)
    if keeps(measured, target):
        said = [f"KEEPS UP with {target:g} frames/s with {math.floor(100 * (rate / target - 1))} % to spare."]
    else:
        said = [
            (
                f"DOES NOT KEEP UP with {target:g} frames/s: its slowest third gave {rate:.1f}, "
                f"{math.floor(100 * rate / target)} % of that."
            )
        ]
    period, usual, late = 1000 / target, measured.one_frame.p50, measured.one_frame.p99
    if usual > period:
        said.append(
            f"A live loop that takes one frame at a time does not: half of the frames take {usual:.1f} ms or more, and "
            f"the next one comes after {period:.1f} ms."
        )
    elif late > period:
        said.append(
            f"A live loop that takes one frame at a time needs a queue of at least {math.ceil(late / period)} frames: "
            f"one in a hundred takes {late:.1f} ms, and the next one comes after {period:.1f} ms."
        )
    return said


def steadiness(measured: Measurement) -> list[str]:
    """A sentence where the run became slower."""
    if measured.drift >= STEADY:
        return []
    return [
        (
            f"It became slower: the last third ran at {measured.drift:.2f} times the first one's rate; let it run "
            "longer (--minutes 30), and look for heat, other programs and a battery."
        )
    ]


def advice(measured: Measurement, bundle: Bundle, backend: Backend, device: str) -> list[str]:
    """What limits, and what may be done about it."""
    limit = bottleneck(measured)
    found = f"{limit.stage} limits: its thread was busy {100 * limit.busy:.0f} % of the time."
    if not limit.sure:
        found = (
            f"no stage was always busy ({limit.stage} most, {100 * limit.busy:.0f} %): the stages, or other programs, "
            "take the cores from each other; try fewer --threads, or close what else runs."
        )
    return [found, *_remedies(limit.stage, bundle, backend, device)]


def _remedies(stage: Limit, bundle: Bundle, backend: Backend, device: str) -> list[str]:
    if stage == "decode":
        return ["A faster network would not help: record at a smaller size, or in a codec that is easier to decode."]
    if stage == "prepare":
        return ["Frames are scaled or padded for the network: record at the size that it takes (rigpose inspect)."]
    if stage == "group":
        return ["Fewer candidates group faster: --max-animals, or a higher --set min_affinity, in rigpose analyze."]
    if stage == "write":
        return ["The disk is slow: choose another --destination in rigpose analyze, on a local disk."]
    ways = _faster_graphs(bundle, backend, device)
    tried = [f"Try {'; or '.join(ways)}."] if ways else []
    return [*tried, _less_work(bundle, device)]


def _faster_graphs(bundle: Bundle, backend: Backend, device: str) -> list[str]:
    """Other ways to run this bundle that are mostly faster here, each with what it costs in accuracy."""
    certificate, ways = read_certificate(bundle), []
    for name, precision in _FASTEST_FIRST["cpu" if device == "cpu" else "cuda"]:
        if (name, precision) == (backend.name, backend.precision):
            break
        if name == "openvino" and find_spec("openvino") is None:
            continue
        if precision == "bf16" and not {"avx512_bf16", "amx_bf16"} & Processor.here().flags:
            continue
        cost = _UNKNOWN if precision == "bf16" else _certified(bundle, certificate, Backend(name, precision))
        if cost:
            ways.append(f"--backend {name} --precision {precision} ({cost})")
    return ways


_FASTEST_FIRST = {
    "cpu": (("openvino", "int8"), ("openvino", "bf16"), ("onnxruntime", "int8")),
    "cuda": (("tensorrt", "int8"), ("tensorrt", "fp16"), ("onnxruntime", "fp16")),
}
_UNKNOWN = "rigpose check says what it costs"
_TOO_FAR_PX = 1.0
"""What moves sure keypoints by more is no advice: people who label one frame twice differ by about so much."""


def _certified(bundle: Bundle, certificate: Certificate, other: Backend) -> str | None:
    """What a bundle's certificate says about another precision; none where a graph is missing, or loses too much."""
    worst = 0.0
    accepted = False
    for role in (role for role in bundle.manifest.roles if role != "pair"):
        graphs = [g for g in bundle.manifest.graphs if g.role == role and g.precision == other.precision]
        graph = next((g for g in graphs if other.graphs in g.backends), None)
        if graph is None:
            return None
        try:
            proved = certificate.of(graph.file, other.graphs)
        except BundleError:  # an older export, which did not measure this backend
            return _UNKNOWN
        worst = max(worst, proved.loss.drift.p99_px if proved.loss else 0.0)
        accepted |= proved.verdict == "accepted"
    if worst > _TOO_FAR_PX:
        return None
    return f"certificate: p99 {worst:.2g} px{', a loss that was accepted at export' if accepted else ''}"


def _less_work(bundle: Bundle, device: str) -> str:
    """What makes the graphs' work less, whatever runs them."""
    steps = ["take a smaller network"]
    wanted = "int8" if device == "cpu" else "fp16"
    if all(graph.precision != wanted for graph in bundle.manifest.graphs):
        steps.insert(0, f"export again with --precision {wanted}")
    if bundle.manifest.detector is not None:
        steps.insert(0, "look for boxes less often (--detect-every 5)")
    if device == "cpu":
        steps.append("use a GPU")
    return f"Else {', or '.join(steps)}."


def busy_share(measured: Measurement, stage: Stage) -> float:
    """The part of the end-to-end run that went by inside a stage."""
    return measured.stages[stage].seconds / measured.seconds
