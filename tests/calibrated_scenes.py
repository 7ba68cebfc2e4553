"""Drawn scenes of alike bodies, and labelled animals of the same kind, to group with a calibration.

Crowded on purpose: animals lie upon each other, parts are missing or there twice, and fields mislead. No two scores and
no two affinities of a scene are equal, because DeepLabCut's assembler then goes by the order of a Python set.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

SCENES = 400
SCALES = (1.0, 4.0, 30.0)
"""Of bodies [px]: the smaller they are, the more a link's length matters."""

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class Drawn:
    """One frame.

    Attributes:
        labels: (N, K, 2) labelled animals, NaN for keypoints that nobody labelled.
        edges: Pairs of parts.
        peaks: Per part (P, 3) float32 x, y [px], score.
        affinity: Per edge (P, P') float32.
        options: ``max_animals``, ``add_discarded`` and ``force_fusion``.
    """

    labels: Numbers
    edges: tuple[tuple[int, int], ...]
    peaks: tuple[Numbers, ...]
    affinity: tuple[Numbers, ...]
    options: dict[str, Any]


def bodies(rng: np.random.Generator, template: Numbers, count: int) -> Numbers:
    """(N, K, 2) animals around 0, turned, stretched and bent."""
    angle = rng.uniform(0, 2 * np.pi, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    bent = template + rng.normal(0, 0.12 * template.std(), (count, *template.shape))
    return rng.uniform(0.85, 1.15, (count, 1, 1)) * bent @ turn


def draw(number: int) -> Drawn:
    """The scene of a number."""
    rng = np.random.default_rng([7, number])
    parts = (3, 4, 5, 6, 7, 11)[number % 6]
    animals, scale = int(rng.integers(2, 6)), SCALES[number // 6 % 3]
    template = rng.normal(0, scale, (parts, 2))
    labels = bodies(rng, template, parts * (parts - 1) // 2 * 2 + 20)
    labels[rng.random(labels.shape[:2]) < 0.04] = np.nan
    spread = scale * float(rng.choice([0.3, 1.5, 4.0]))
    places = bodies(rng, template, animals) + rng.normal(0, spread, (animals, 1, 2))
    pairs = list(combinations(range(parts), 2))
    chain = [(i, i + 1) for i in range(parts - 1)]
    edges = pairs if number % 2 else chain + [pair for pair in pairs if pair not in chain][: parts // 2]
    found, owner = [], []
    for part in range(parts):
        here = [(*places[a, part], a) for a in range(animals) if rng.random() > 0.15]
        here += [(*rng.normal(0, 2 * scale, 2), -1 - n) for n in range(rng.integers(0, 3))]
        order = rng.permutation(len(here))
        found.append(np.reshape([here[i][:2] for i in order], (-1, 2)))
        owner.append(np.array([here[i][2] for i in order], int))
    scores = (rng.permutation(975) + 25) / 1000
    low, high = iter(rng.permutation(9000) / 20000), iter((rng.permutation(11000) + 9000) / 20000)
    misled = float(rng.choice([0.1, 0.3]))
    peaks, start = [], 0
    for xy in found:
        peaks.append(np.column_stack([xy, scores[start : start + len(xy)]]).astype(np.float32))
        start += len(xy)
    affinity = []
    for i, j in edges:
        same = (owner[i][:, None] == owner[j]) != (rng.random((len(owner[i]), len(owner[j]))) < misled)
        affinity.append(np.array([[next(high if s else low) for s in row] for row in same], np.float32))
    affinity = [table.reshape(len(owner[i]), len(owner[j])) for table, (i, j) in zip(affinity, edges, strict=True)]
    options = {"max_animals": max(2, animals - int(rng.integers(0, 3)))}
    options |= {"add_discarded": bool(rng.random() < 0.4), "force_fusion": bool(rng.random() < 0.2)}
    return Drawn(labels, tuple(edges), tuple(peaks), tuple(affinity), options)
