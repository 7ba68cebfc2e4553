"""What a bundle that a new one replaces held, so that nothing of it is lost without a word.

It may be damaged, of other weights or of another format: its manifest is asked, and nothing is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from rigpose.bundles.bundle import MANIFEST, PARITY, Bundle, Precision
from rigpose_export.graphs.files import ExportOptions


@dataclass(frozen=True)
class Held:
    """The contents of a bundle.

    Attributes:
        options: Those of the export that make the same again.
        forms: ``int8 for openvino`` and the like.
    """

    options: ExportOptions
    forms: frozenset[str]


def held_by(folder: Path) -> Held:
    """What a folder's manifest names; nothing where there is none, or where it cannot be read."""
    manifest = _read(folder / MANIFEST)
    graphs = [_Named.of(graph) for graph in _listed(manifest, "graphs")]
    precisions = {graph.precision for graph in graphs}
    verdicts = [proof.get("verdict") for proof in _listed(_read(folder / PARITY), "graphs")]
    others: tuple[Precision, ...] = get_args(Precision)
    return Held(
        ExportOptions(
            precisions=tuple(one for one in others if one in precisions and one != "fp32"),
            portable=any(graph.file.endswith(".portable.onnx") and graph.role != "pose" for graph in graphs),
            combined=any(graph.role == "pair" for graph in graphs),
            detector_side=_of_detector(manifest, "side"),
            detector_proposals=_of_detector(manifest, "proposals"),
            accept_loss="accepted" in verdicts,
        ),
        frozenset(form for graph in graphs for form in graph.forms),
    )


def lost_from(before: Held, bundle: Bundle) -> list[str]:
    """The forms that the replaced bundle had and the new one has not."""
    return sorted(before.forms - held_by(bundle.path).forms)


@dataclass(frozen=True)
class _Named:
    """A graph of any format's manifest."""

    role: str
    file: str
    precision: str
    backends: tuple[str, ...]

    @classmethod
    def of(cls, graph: dict[str, Any]) -> _Named:
        backends = graph.get("backends")
        return cls(
            str(graph.get("role")),
            str(graph.get("file")),
            str(graph.get("precision")),
            tuple(map(str, backends)) if isinstance(backends, list) else (),
        )

    @property
    def forms(self) -> tuple[str, ...]:
        combined = "the combined graph in " if self.role == "pair" else ""
        return tuple(f"{combined}{self.precision} for {backend}" for backend in self.backends)


def _read(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


def _of_detector(manifest: object, key: str) -> int | None:
    detector = manifest.get("detector") if isinstance(manifest, dict) else None
    number = detector.get(key) if isinstance(detector, dict) else None
    return number if isinstance(number, int) else None


def _listed(mapping: object, key: str) -> list[dict[str, Any]]:
    rows = mapping.get(key) if isinstance(mapping, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
