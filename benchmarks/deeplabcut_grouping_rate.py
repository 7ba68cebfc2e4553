"""DeepLabCut's side of ``decode.py``, run by a Python that has it: how long its assembler takes for given candidates.

Usage: python deeplabcut_grouping_rate.py CANDIDATES.npz

The file is read again for each turn, so that one process serves all cases. It holds ``peaks`` (F, K, P, 3), NaN where
there is none, ``affinity`` (F, E, P, P), ``edges`` (E, 2) and ``animals``. Peaks and affinities are put into
DeepLabCut's own form before the clock starts.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from deeplabcut.core.inferenceutils import Assembler  # pyright: ignore[reportMissingImports]


def frame(peaks: np.ndarray, affinity: np.ndarray, edges: list[tuple[int, int]]) -> dict[str, Any]:
    """One frame's candidates as DeepLabCut's predictor gives them."""
    there = [~np.isnan(part[:, 0]) for part in peaks]
    tables = [table[np.ix_(there[i], there[j])] for (i, j), table in zip(edges, affinity, strict=True)]
    found = [part[rows] for part, rows in zip(peaks, there, strict=True)]
    return {
        "coordinates": ([part[:, :2] for part in found],),
        "confidence": [part[:, 2:] for part in found],
        "costs": {e: {"m1": table, "distance": np.ones_like(table)} for e, table in enumerate(tables) if table.size},
    }


def main() -> None:
    """Assemble all frames for each line that comes in."""
    print("ready", flush=True)
    for _ in sys.stdin:
        with np.load(sys.argv[1]) as file:
            edges = [(int(i), int(j)) for i, j in file["edges"]]
            frames = [frame(p, a, edges) for p, a in zip(file["peaks"], file["affinity"], strict=True)]
            animals, parts = int(file["animals"]), file["peaks"].shape[1]
        assembler = Assembler.empty(
            animals, n_multibodyparts=parts, n_uniquebodyparts=0, graph=edges, paf_inds=list(range(len(edges)))
        )
        begun, cpu = time.perf_counter(), time.process_time()
        found = [assembler._assemble(one, i)[0] for i, one in enumerate(frames)]  # noqa: SLF001
        cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
        print("rate", len(frames) / wall)
        print("cpu", 1000 * cpu / len(frames))
        print("animals", float(np.mean([len(one or ()) for one in found])), flush=True)


if __name__ == "__main__":
    main()
