"""The proof of a combined graph passes for the right one, and for none that is a little wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from combined_pairs import CombinedPair, combined_pair, drawn_batch
from torch import nn

from rigpose.bundles.golden import Told
from rigpose_export.evidence import Evidence
from rigpose_export.proof.parity import Proof, certify
from rigpose_export.reference import Reference, ReferenceSession
from rigpose_training.torch_session import TorchSession

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def single_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sizes are enough here; larger batches take a minute each where answers differ."""
    monkeypatch.setattr("rigpose_export.proof.parity.BATCHES", (1, 1, 1))


def proof_of(pair: CombinedPair, graph: Any) -> Proof:
    """The combined graph against the pair, on drawn frames."""
    pose, detector = ReferenceSession(pair.graph.pose), ReferenceSession(pair.graph.detector)
    evidence = Evidence(tuple(drawn_batch(3, 97, 131)), Told(), "drawn frames")
    return certify(Reference(pair.spec, pose, pair.boxes, detector), "pair", TorchSession(graph), evidence)


class Changed(nn.Module):
    """Another sampler, whose crops or windows are not quite right."""

    def __init__(self, sampler: nn.Module, change: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self.sampler, self.change, self.spec = sampler, change, sampler.spec

    def forward(self, frames: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.change(*self.sampler(frames, boxes))


CHANGES: dict[str, Callable[..., tuple[torch.Tensor, torch.Tensor]]] = {
    "a window half a pixel off": lambda crops, window: (crops, window + 0.5),
    "a crop of one pixel more": lambda crops, window: (crops, window + torch.tensor([0, 0, 1, 1])),
    "crops of one pixel beside": lambda crops, window: (crops.roll(1, dims=3), window),
    "channels the other way round": lambda crops, window: (crops.flip(-1), window),
    "crops of the next animal": lambda crops, window: (crops.roll(1, dims=1), window),
}


@pytest.mark.parametrize("change", [None, *CHANGES])
def test_only_the_right_graph_passes(change: str | None) -> None:
    pair = combined_pair("top_down_resnet_50")
    if change is None:
        assert proof_of(pair, pair.graph).passed
    else:
        pair.graph.sampler = cast(Any, Changed(pair.graph.sampler, CHANGES[change]))
        proof = proof_of(pair, pair.graph)
        assert not proof.passed
        assert {case.what for case in proof.cases if case.difference.beyond} == {"keypoints"}


def test_other_boxes_do_not_pass() -> None:
    pair = combined_pair("top_down_resnet_50")
    right = pair.graph.detector

    class Shifted(nn.Module):
        def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            boxes, scores = right(frames)
            return boxes + 0.2, scores

    reference = Reference(pair.spec, ReferenceSession(pair.graph.pose), pair.boxes, ReferenceSession(right))
    del pair.graph.detector
    pair.graph.detector = Shifted()  # type: ignore[assignment]
    evidence = Evidence(tuple(drawn_batch(3, 97, 131)), Told(), "drawn frames")
    wrong = certify(reference, "pair", TorchSession(pair.graph), evidence)
    assert {case.what for case in wrong.cases if case.difference.beyond} == {"boxes"}
