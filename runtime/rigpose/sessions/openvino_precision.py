"""Whether a graph that OpenVINO compiled computes layers in int8, and in bf16 still computes coordinates in float32.

bf16 has 8 significant bits: between 256 and 512 px its numbers are 2 px apart. OpenVINO keeps the end of a graph,
behind the last convolution or matrix product, in float32, and converts what lies before. So a decode at the end is
safe, and coordinates that enter the network again, or come from outside, are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NETWORK = {"Convolution", "Deconvolution", "DeformableConvolution", "FullyConnected", "Interpolate"}
_MOVES_NUMBERS_ONLY = {"Reorder", "ShapeOf", "Const"}
"""Steps that only carry what others computed, or hold what was known before."""


@dataclass(frozen=True)
class RunningStep:
    """One step of a compiled graph.

    Attributes:
        name: Unique in the graph.
        kind: OpenVINO's layer type, such as ``Convolution``.
        precision: In which it computes, such as ``f32``.
        reads: Names of the steps that give its inputs.
    """

    name: str
    kind: str
    precision: str
    reads: tuple[str, ...]

    @property
    def rounds(self) -> bool:
        """Whether it computes in bf16."""
        return self.precision.lower() in ("bf16", "bfloat16") and self.kind not in _MOVES_NUMBERS_ONLY


def computes_in_int8(steps: Sequence[RunningStep]) -> bool:
    """Whether at least one layer of the network computes in integers."""
    return any(step.kind in _NETWORK and step.precision.lower() in ("u8", "i8") for step in steps)


def coordinates_in_bf16(steps: Sequence[RunningStep]) -> str:
    """Name a step that computes coordinates in bf16; empty if there is none.

    Args:
        steps: In the order in which they run.
    """
    before = _feeds_the_network(steps)
    exact = _told_or_counted(steps)
    for step in steps:
        if step.rounds and step.name not in before and step.kind not in _NETWORK:
            return f"decode step {step.name}"
        if step.rounds and step.name in exact:
            return f"step {step.name} over coordinates that come from outside"
        if step.kind == "TopK" and step.name in before:
            return f"the network looks again where step {step.name} found something"
    return ""


def _feeds_the_network(steps: Sequence[RunningStep]) -> set[str]:
    """Steps whose results reach a part of the network that runs later."""
    feeding: set[str] = set()
    for step in reversed(steps):
        if step.kind in _NETWORK or step.name in feeding:
            feeding.update(step.reads)
    return feeding


def _told_or_counted(steps: Sequence[RunningStep]) -> set[str]:
    """Steps that depend on other inputs than frames, or on sizes, alone."""
    constant = {step.name for step in steps if step.kind == "Const"}
    exact: set[str] = set()
    for step in steps:
        if step.kind in ("Input", "Parameter"):
            told = step.name != "frames"
        else:
            sources = set(step.reads) - constant
            told = step.kind == "ShapeOf" or (bool(sources) and step.kind not in _NETWORK and sources <= exact)
        if told:
            exact.add(step.name)
    return exact
