"""Record what DeepLabCut's assembler makes of drawn peaks and affinities; needs its environment.

    python tests/deeplabcut/record_assemblies.py tests/runtime/recorded_assemblies.jsonl

The scenes are crowded on purpose: parts are missing or there twice, and fields mislead. No two scores and no two
affinities of a scene are equal, because DeepLabCut then goes by the order of a Python set.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from deeplabcut.core.inferenceutils import Assembler  # pyright: ignore[reportMissingImports]

# Any forty, and some in which one of the assembler's rarer rules decides: animals upon each other, merged surplus
# animals, groups with a part twice.
OVERLAPPING = (289, 1185, 1555, 1907, 1959, 2275, 2388)
MERGED = (923, 2237, 2423)
TWICE = (47, 77, 107, 131, 191)
SCENES = (*range(40), *OVERLAPPING, *MERGED, *TWICE)


def scene(rng: np.random.Generator, number: int) -> dict[str, Any]:
    """Drawn candidates of one frame and the options to assemble them with."""
    parts, animals = int(rng.integers(3, 7)), int(rng.integers(2, 6))
    pairs = [(i, j) for i in range(parts) for j in range(i + 1, parts)]
    chain = [(i, i + 1) for i in range(parts - 1)]
    edges = pairs if number % 3 else chain + [e for e in pairs if e not in chain][: parts // 2]
    peaks, owner = [], []
    spread = (40, 4)[number % 2]  # far from each other, or one upon the other
    bodies = 80 + rng.uniform(-spread, spread, (animals, 1, 2)) + rng.normal(0, 30, (1, parts, 2))
    for part in range(parts):
        here = [(*bodies[a, part], a) for a in range(animals) if rng.random() > 0.15]
        here += [(*rng.uniform(0, 160, 2), -1 - n) for n in range(rng.integers(0, 3))]
        rng.shuffle(here)
        peaks.append([[round(x * 4) / 4, round(y * 4) / 4] for x, y, _ in here])
        owner.append([a for *_, a in here])
    scores = iter((rng.permutation(975)[:200] + 25) / 1000)
    for places in peaks:
        for place in places:
            place.append(float(next(scores)))
    low, high = iter(rng.permutation(900) / 2000), iter((rng.permutation(1100) + 900) / 2000)
    affinity = []
    for i, j in edges:
        same = [[(a == b) != (rng.random() < 0.15) for b in owner[j]] for a in owner[i]]
        affinity.append([[float(next(high if s else low)) for s in row] for row in same])
    options = {"max_animals": max(2, animals - number % 3), "add_discarded": number % 7 == 0}
    return {"edges": edges, "peaks": peaks, "affinity": affinity, **options, "force_fusion": number % 6 == 5}


def assemble(drawn: dict[str, Any]) -> list[dict[str, Any]]:
    """DeepLabCut's animals: keypoints [x, y, score] or null, and mean affinity."""
    parts, edges = len(drawn["peaks"]), drawn["edges"]
    assembler = Assembler.empty(
        drawn["max_animals"],
        n_multibodyparts=parts,
        n_uniquebodyparts=0,
        graph=edges,
        paf_inds=list(range(len(edges))),
        min_affinity=0.05,
        add_discarded=drawn["add_discarded"],
        force_fusion=drawn["force_fusion"],
    )
    peaks = [np.array(p, np.float32).reshape(-1, 3) for p in drawn["peaks"]]
    tables = [
        np.array(table, np.float32).reshape(len(peaks[i]), len(peaks[j]))
        for (i, j), table in zip(edges, drawn["affinity"], strict=True)
    ]
    costs = {e: {"m1": m, "distance": np.ones_like(m)} for e, m in enumerate(tables) if m.size}
    frame = {
        "coordinates": ([p[:, :2] for p in peaks],),
        "confidence": [p[:, 2:] for p in peaks],
        "costs": costs,
    }
    found, _ = assembler._assemble(frame, 0)
    return [
        {
            "keypoints": [None if np.isnan(k[0]) else [round(float(v), 6) for v in k[:3]] for k in animal.data],
            "affinity": round(float(animal.affinity), 6),
        }
        for animal in found or []
    ]


def main(destination: Path) -> None:
    """Write one scene per line."""
    lines = []
    for number in SCENES:
        drawn = scene(np.random.default_rng(number), number)
        lines.append(json.dumps({**drawn, "animals": assemble(drawn)}, separators=(",", ":")))
    destination.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
