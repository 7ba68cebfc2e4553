"""Open the files of several animals with the tools that people use them in, and print what each read.

    RIGPOSE_DEEPLABCUT_PYTHON=PYTHON RIGPOSE_READERS_PYTHON=PYTHON python tests/deeplabcut/readers.py

Run it with the Python that has rigpose with its ``train`` extra. The first other Python has DeepLabCut 3, the second
has movement, napari-deeplabcut and keypoint-moseq; either may be missing. Nothing is left behind.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
from analysed_animals import OF_DEEPLABCUT, OF_OTHERS, analysed_project, read_by
from animal_scenes import UNIQUE

from rigpose.files.results import read_results

PYTHONS = {"RIGPOSE_DEEPLABCUT_PYTHON": OF_DEEPLABCUT, "RIGPOSE_READERS_PYTHON": OF_OTHERS}


def main() -> None:
    """Write the files, have them read, print the table."""
    table = Table("files", "reader", "what it read", show_lines=True)
    for title, unique in (("three animals", ()), ("and two unique keypoints", UNIQUE)):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "project"
            files = analysed_project(root, unique=unique)
            for variable, readers in PYTHONS.items():
                python = os.environ.get(variable)
                unread = dict.fromkeys(readers, f"not run: {variable} is not set")
                for name, found in (read_by(python, root, readers) if python else unread).items():
                    table.add_row(title, name, str(found))
            for path in (files.tracks("_bx"), files.tracks("_el_filtered")):
                if path.exists():
                    table.add_row(title, f"rigpose, DeepLabCut's {path.name[len(files.stem) :]}", _shape(path))
    Console(width=150).print(table)


def _shape(path: Path) -> str:
    found = read_results(path)
    unique = 0 if found.unique is None else found.unique.shape[1]
    return f"{found.xy.shape}, {unique} unique keypoints"


if __name__ == "__main__":
    main()
