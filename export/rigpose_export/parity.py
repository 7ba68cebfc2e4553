"""Proof before the export calls itself done: torch against ONNX Runtime on the same frames, as decoded poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch

from rigpose.analyzer import Analyzer
from rigpose.arrays import Array, Frames
from rigpose.certificate import Case, Certificate, Tolerance, compare
from rigpose_training.torch_session import TorchSession

BATCHES = (1, 3, 8)


def certify(reference: Analyzer, exported: Analyzer, frames: Sequence[Frames], *, described: str) -> Certificate:
    """Compare two analyzers of one model at several sizes and batches.

    Args:
        reference: Over a ``TorchSession``.
        exported: Over the exported graph.
        frames: Real frames of one or several sizes, uint8 BGR.
        described: Where the frames came from.

    Returns:
        The certificate; ``passed`` says whether every case lies within the tolerance.
    """
    tolerance = Tolerance()
    cases, alone_or_not = [], 0.0
    for batch, (height, width) in zip(BATCHES, _sizes(frames[0]), strict=True):
        chosen = [_cut(frames[i % len(frames)], height, width, i) for i in range(batch)]
        expected, found = reference.predict(chosen), exported.predict(chosen)
        unclear = ambiguous_cells(reference, chosen, tolerance)
        cases.append(Case(batch, height, width, compare(expected, found, tolerance, ambiguous=unclear)))
        single = compare(exported.predict(chosen[-1]), found[-1:], tolerance)
        alone_or_not = max(alone_or_not, single.worst_px)
    return Certificate(
        reference=f"torch {torch.__version__} float32 on {reference.session.device}",
        compared=f"onnxruntime {onnxruntime.__version__} on {exported.session.device}",
        frames=described,
        tolerance=tolerance,
        cases=tuple(cases),
        batch_invariance_px=alone_or_not,
        passed=all(case.difference.within for case in cases),
    )


def ambiguous_cells(reference: Analyzer, frames: Sequence[Frames], tolerance: Tolerance) -> Array:
    """(F, K) true where the two best cells of torch's heatmap differ by less than the scores may.

    There, rounding decides which cell wins, and neither answer is wrong.
    """
    assert isinstance(reference.session, TorchSession)
    graph = reference.session.graph
    preparation = reference.preparation(*frames[0].shape[:2])
    batch = np.empty((len(frames), *preparation.input_size, 3), np.uint8)
    for frame, slot in zip(frames, batch, strict=True):
        preparation.write(frame, out=slot)
    with torch.inference_mode():
        images = graph.normalise(torch.from_numpy(batch).to(reference.session.device))
        heatmap = graph.model(images)["bodypart"]["heatmap"].flatten(2)
        best = heatmap.topk(2, dim=2).values
    return ((best[..., 0] - best[..., 1]) <= tolerance.score).cpu().numpy()


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
