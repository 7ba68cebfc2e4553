"""Greedy suppression of overlapping boxes in fixed shapes, without an operator for it and without a loop."""

from __future__ import annotations

import torch

from rigpose_training.dense_boxes.geometry import take

ROUNDS = 24
"""See ``suppress`` for what this number promises: the best 13 boxes, and all of them up to chains of 24, while a
thousand boxes around a few animals have chains of about 10."""


def suppress(boxes: torch.Tensor, valid: torch.Tensor, threshold: float, *, rounds: int = ROUNDS) -> torch.Tensor:
    """Which boxes greedy suppression keeps.

    The greedy result is the one fixed point of ``keep = valid and not hit by an earlier box of keep``. Started with
    all boxes, r rounds of it give every box its final answer to which no chain of more than r boxes leads, each
    hitting the next. Whatever the boxes, the first ``r // 2 + 1`` kept ones of a row are the greedy ones: a kept box
    is decided one round after those that are hit by the kept ones before it, and these one round after them. After an
    even number of rounds none of the greedy ones is missing; there may be some too many, far down in the row.

    Args:
        boxes: (..., n, 4) x, y, x, y, the best first.
        valid: (..., n) 1, or 0 for rows that are no box.
        threshold: Boxes hit one another if their intersection over union is larger.
        rounds: How often.

    Returns:
        (..., n) 1 for the kept boxes, else 0.
    """
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    both = _common(boxes[..., 0], boxes[..., 2]) * _common(boxes[..., 1], boxes[..., 3])  # (..., n, n)
    either = area.unsqueeze(-1) + area.unsqueeze(-2) - both
    place = torch.arange(boxes.shape[-2], device=boxes.device)
    earlier = place.unsqueeze(0) < place.unsqueeze(1)  # column before row
    hits = ((both > threshold * either) & earlier).to(boxes.dtype)
    valid = valid.to(boxes.dtype).unsqueeze(-1)
    keep = valid
    for _ in range(rounds):
        # Counts of hits are whole numbers, so this is 1 where a valid box has none, else 0.
        keep = torch.relu(valid - hits @ keep)
    return keep.squeeze(-1)


def _common(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The length that each two of n intervals (..., n) share, (..., n, n)."""
    first = torch.maximum(low.unsqueeze(-1), low.unsqueeze(-2))
    last = torch.minimum(high.unsqueeze(-1), high.unsqueeze(-2))
    return (last - first).clamp(min=0)


def best_boxes(
    boxes: torch.Tensor, scores: torch.Tensor, threshold: float, *, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best boxes that no better one suppresses.

    Args:
        boxes: (B, n, 4) x, y, x, y, the best first.
        scores: (B, n), 0 for rows that are no box.
        threshold: See ``suppress``.
        count: How many of them.

    Returns:
        (B, count, 4), (B, count): the best first, and scores 0 where there are fewer.
    """
    kept = scores * suppress(boxes, scores > 0, threshold)
    scores, index = torch.topk(kept, count, dim=1)
    return take(boxes, index), scores
