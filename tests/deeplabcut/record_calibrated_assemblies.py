"""Record what DeepLabCut's calibrated assembler makes of the drawn scenes; needs its environment.

    python tests/deeplabcut/record_calibrated_assemblies.py tests/runtime/recorded_calibrated_assemblies.jsonl

A line is a scene: its animals, as the rows of their peaks (null for a missing part), and their mean affinities; how
unlikely the first is; whether the assembler without calibration gives others; the first numbers of the calibration.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
from calibrated_scenes import SCENES, Drawn, Numbers, draw
from deeplabcut.core.inferenceutils import Assembler  # pyright: ignore[reportMissingImports]


def write_labels(path: Path, labels: Numbers) -> None:
    """A file of labels as a project's training set has, one animal per image."""
    parts = [f"part{k}" for k in range(labels.shape[1])]
    columns = pd.MultiIndex.from_product(
        [["scorer"], ["animal"], parts, ["x", "y"]], names=["scorer", "individuals", "bodyparts", "coords"]
    )
    pd.DataFrame(labels.reshape(len(labels), -1), columns=columns).to_hdf(path, key="df_with_missing")


def assemble(drawn: Drawn, labels: Path | None) -> tuple[list[Any], Any]:
    """DeepLabCut's animals of a scene, and the assembler that made them."""
    assembler = Assembler.empty(
        n_multibodyparts=len(drawn.peaks),
        n_uniquebodyparts=0,
        graph=list(drawn.edges),
        paf_inds=list(range(len(drawn.edges))),
        min_affinity=0.05,
        max_n_individuals=drawn.options["max_animals"],
        add_discarded=drawn.options["add_discarded"],
        force_fusion=drawn.options["force_fusion"],
    )
    if labels is not None:
        assembler.calibrate(str(labels))
    frame = {
        "coordinates": ([p[:, :2] for p in drawn.peaks],),
        "confidence": [p[:, 2:] for p in drawn.peaks],
        "costs": {e: {"m1": m, "distance": np.ones_like(m)} for e, m in enumerate(drawn.affinity) if m.size},
    }
    return assembler._assemble(frame, 0)[0] or [], assembler


def rows(animal: Any, drawn: Drawn) -> list[int | None]:
    """Which peak of each part is the animal's."""
    return [
        None if np.isnan(place[0]) else int(np.flatnonzero((peaks == place[:3].astype(np.float32)).all(axis=1))[0])
        for place, peaks in zip(animal.data, drawn.peaks, strict=True)
    ]


def main(destination: Path) -> None:
    """Write one scene per line."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(SCENES):
            drawn, labels = draw(number), Path(folder, f"labels{number}.h5")
            write_labels(labels, drawn.labels)
            found, assembler = assemble(drawn, labels)
            plain = [rows(animal, drawn) for animal in assemble(drawn, None)[0]]
            animals = [rows(animal, drawn) for animal in found]
            kde = assembler._kde
            line = {
                "animals": animals,
                "affinity": [round(float(animal.affinity), 6) for animal in found],
                "unlikely": assembler.calc_assembly_mahalanobis_dist(found[0]) if found else None,
                "differs": animals != plain,
                "mean": kde.mean[:2].tolist(),
                "covariance": kde.covariance[0, :2].tolist(),
            }
            lines.append(json.dumps(line, separators=(",", ":")))
    destination.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
