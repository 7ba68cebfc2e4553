"""Exchange snapshots with DeepLabCut, family by family, and write down how far its outputs are from rigpose's.

    RIGPOSE_DEEPLABCUT_PYTHON=PYTHON python tests/deeplabcut/interchange.py [CASE ...]

Run it with the Python that has rigpose with its ``train`` extra; ``PYTHON`` is another one that has DeepLabCut 3. For
each case (all of ``tests/exchange_cases.py`` if none is named) rigpose trains a small shuffle, DeepLabCut loads the
snapshot, runs it and trains on from it, and rigpose loads, runs and continues what DeepLabCut wrote. No network and no
weight file is needed, and nothing is left behind but a line in ``benchmarks/results/deeplabcut_interchange.jsonl``.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from exchange_cases import CASES
from exchanged_snapshots import PYTHON, exchange
from record import record

DIRECTIONS = {"to_deeplabcut": "rigpose's in DeepLabCut", "from_deeplabcut": "DeepLabCut's in rigpose"}
FIGURES = {
    "maps": "of maps' range",
    "pixels": "keypoints, px",
    "score": "scores",
    "keypoints": "keypoints compared",
    "boxes": "boxes, px",
}


def main() -> None:
    """Exchange, print the table, record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of: {'; '.join(CASES)}")
    names = parser.parse_args().cases or list(CASES)
    if not PYTHON or any(name not in CASES for name in names):
        parser.error("set RIGPOSE_DEEPLABCUT_PYTHON, and name only cases that --help lists")
    logging.disable(logging.INFO)
    torch.set_num_threads(1)  # the threads of a small training step cost more than they save
    rows: list[dict[str, Any]] = []
    version = ""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found = exchange(CASES[name], Path(folder))
        version = found.deeplabcut
        for direction in DIRECTIONS:
            figures = asdict(getattr(found, direction))
            rows.append({"case": name, "snapshot": direction, **{k: _rounded(v) for k, v in figures.items()}})
    _print(rows)
    print(record("deeplabcut_interchange", {"deeplabcut": version, "worst_differences": rows}))


def _rounded(figure: float | None) -> float | None:
    return float(f"{figure:.2g}") if isinstance(figure, float) else figure


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("case", "snapshot", *FIGURES.values())
    for row in rows:
        figures = ["" if row[key] is None else f"{row[key]:g}" for key in FIGURES]
        table.add_row(row["case"], DIRECTIONS[row["snapshot"]], *figures)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
