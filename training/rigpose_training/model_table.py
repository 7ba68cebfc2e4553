"""The table of all models and detectors, read off the networks themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_config.detectors import available_detectors, make_detector_config
from rigpose_training.pose_config.families.backbones import SINGLE_ANIMAL
from rigpose_training.pose_config.templates import ALIASES, MULTI_ANIMAL_MODELS, Metadata, make_pose_config

PARITY = Path(__file__).parents[2] / "benchmarks" / "results" / "network_parity.jsonl"
"""Where a clone has the measured differences; an installed package has none."""

# Four bodyparts and three animals; few parameters depend on their number.
ONE_ANIMAL = Metadata("", "", ("snout", "leftear", "rightear", "tailbase"))
THREE_ANIMALS = Metadata("", "", ONE_ANIMAL.bodyparts, individuals=("one", "two", "three"))

_TASKS = {"bu": "bottom-up", "td": "top-down", "ctd": "conditional"}


@dataclass(frozen=True)
class ModelRow:
    """One model in one kind of project.

    Attributes:
        name: As ``create_training_dataset(net_type=...)`` takes it.
        task: How it sees the animals of a frame.
        parameters: Numbers that training changes or keeps.
        stride: Input px per cell of its maps; of coordinate classification, per bin.
        size: Of its input.
        entry: Its name among the recorded networks.
        difference: Largest difference of an output from DeepLabCut's with the same weights, as a share of that
            output's range; none if it was not measured.
    """

    name: str
    task: str
    parameters: int
    stride: float
    size: str
    entry: str
    difference: float | None = None


@dataclass(frozen=True)
class DetectorRow:
    """One detector: its name, parameters, and the size that it brings images to."""

    name: str
    parameters: int
    size: str


def model_table(differences: Mapping[str, float] | None = None) -> list[ModelRow]:
    """A row per model and kind of project that it differs in.

    Args:
        differences: ``entry`` -> measured difference, as ``read_differences`` gives it.
    """
    measured = differences or {}
    rows = [_model_row(name, ONE_ANIMAL, "single", f"single.{name}") for name in SINGLE_ANIMAL]
    for name, model in MULTI_ANIMAL_MODELS.items():
        entry = f"paf.{name}" if name in SINGLE_ANIMAL else name
        rows.append(_model_row(name, THREE_ANIMALS, _TASKS[model.method], entry))
    return [replace(row, difference=measured.get(row.entry)) for row in rows]


def detector_table() -> list[DetectorRow]:
    """A row per detector."""
    return [_detector_row(name) for name in available_detectors()]


def read_differences(path: Path = PARITY) -> dict[str, float]:
    """Entry -> difference in the newest line of a result file; empty if there is no such file."""
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["worst_relative_difference"]


@cache
def _model_row(name: str, metadata: Metadata, task: str, entry: str) -> ModelRow:
    config = make_pose_config(name, metadata)
    # Shapes without numbers: the largest network takes a third of a second.
    with torch.device("meta"):
        network = build_model(config)
    head = config["model"]["heads"]["bodypart"]
    stride = 1 / head["simcc_split_ratio"] if "simcc_split_ratio" in head else network.strides["bodypart"]
    return ModelRow(name, task, _count(network), stride, _size(config["data"]["inference"]), entry)


@cache
def _detector_row(name: str) -> DetectorRow:
    with torch.device("meta"):
        detector = build_detector(make_detector_config(name)["model"])
    resize: Any = detector.model.transform
    if resize.fixed_size:
        size = "{} x {}".format(*resize.fixed_size)
    else:
        size = f"short side {resize.min_size[0]}, long at most {resize.max_size}"
    return DetectorRow(name, _count(detector), size)


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _size(inference: Mapping[str, Any]) -> str:
    crop, padding = inference["top_down_crop"], inference["auto_padding"]
    if crop:
        return f"{crop['width']} x {crop['height']}"
    return f"any, pad {padding['pad_width_divisor']}" if padding else "any"


def model_cells(rows: Sequence[ModelRow]) -> list[list[str]]:
    """Header and rows of texts."""
    header = ["model", "task", "weights", "stride", "input [px]", "parity"]
    return [header, *([*_first_cells(row), _difference(row.difference)] for row in rows)]


def detector_cells(rows: Sequence[DetectorRow]) -> list[list[str]]:
    """Header and rows of texts."""
    header = ["detector", "weights", "resizes to [px]"]
    return [header, *([f"`{row.name}`", _millions(row.parameters), row.size] for row in rows)]


def _first_cells(row: ModelRow) -> list[str]:
    also = "".join(f" or `{alias}`" for alias, name in ALIASES.items() if name == row.name)
    return [f"`{row.name}`{also}", row.task, _millions(row.parameters), f"{row.stride:g}", row.size]


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def _difference(difference: float | None) -> str:
    if difference is None:
        return "not measured"
    return f"{difference:.0e}" if difference else "0"


def markdown() -> str:
    """Both tables as the README has them."""
    tables = [model_cells(model_table(read_differences())), detector_cells(detector_table())]
    return "\n\n".join(_markdown(cells) for cells in tables) + "\n"


def _markdown(cells: Sequence[Sequence[str]]) -> str:
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_tables() -> None:
    """Both tables, for people, within 80 columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for cells in (model_cells(model_table(read_differences())), detector_cells(detector_table())):
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for title in cells[0]:
            table.add_column(Text(title), no_wrap=True)
        for line in cells[1:]:
            table.add_row(*(Text(text.replace("`", "").replace(" or ", "\n  or ")) for text in line))
        Console().print(table, "")
