"""The table of models says what the networks are."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from rigpose_training import available_detectors, available_models, build_model
from rigpose_training.commands import MODELS
from rigpose_training.model_table import (
    PARITY,
    THREE_ANIMALS,
    ModelRow,
    detector_table,
    markdown,
    model_cells,
    model_table,
    read_differences,
)
from rigpose_training.pose_config.templates import ALIASES, make_pose_config


@pytest.fixture(scope="module")
def rows() -> dict[str, ModelRow]:
    return {row.entry: row for row in model_table({"rtmpose_s": 3e-7})}


def test_every_model_has_a_row_per_kind_of_project(rows: dict[str, ModelRow]) -> None:
    assert len(rows) == 34 + 8
    assert {row.name for row in rows.values()} == {*available_models()} - {*ALIASES}
    twice = [row.name for row in rows.values() if row.task == "single"]
    assert {name for name in twice if f"paf.{name}" in rows} == set(twice)


@pytest.mark.parametrize(
    ("entry", "task", "stride", "size"),
    [
        ("single.resnet_50", "single", 8, "any"),
        ("paf.hrnet_w18", "bottom-up", 1, "any, pad 32"),
        ("dlcrnet_stride32_ms5", "bottom-up", 4, "any"),
        ("top_down_cspnext_x", "top-down", 32, "256 x 256"),
        ("rtmpose_x", "top-down", 0.5, "384 x 384"),
        ("ctd_coam_w48_human", "conditional", 4, "288 x 384"),
    ],
)
def test_a_row_says_how_the_network_sees(
    rows: dict[str, ModelRow], entry: str, task: str, stride: float, size: str
) -> None:
    row = rows[entry]
    assert (row.task, row.stride, row.size) == (task, stride, size)


def test_parameters_are_counted_in_the_network(rows: dict[str, ModelRow]) -> None:
    network = build_model(make_pose_config("rtmpose_s", THREE_ANIMALS))
    assert rows["rtmpose_s"].parameters == sum(parameter.numel() for parameter in network.parameters())
    assert network.state_dict()["backbone.stem.0.conv.weight"].device.type == "cpu"


def test_recorded_networks_have_as_many_numbers(golden: Path, rows: dict[str, ModelRow]) -> None:
    for path in (golden / "networks").glob("*.json"):
        if path.stem in rows:
            shapes = json.loads(path.read_text())["parameters"]
            skipped = ("running_mean", "running_var", "num_batches_tracked", "regular_matrix")
            count = sum(prod(shape) for key, shape in shapes.items() if not key.endswith(skipped))
            assert rows[path.stem].parameters == count, path.stem


def prod(shape: list[int]) -> int:
    result = 1
    for side in shape:
        result *= side
    return result


def test_detectors_have_rows() -> None:
    table = {row.name: row for row in detector_table()}
    assert sorted(table) == available_detectors()
    assert table["ssdlite"].size == "320 x 320"
    assert table["fasterrcnn_resnet50_fpn_v2"].size == "short side 800, long at most 1333"
    # What DeepLabCut's own detector counts.
    assert round(table["ssdlite"].parameters / 1e6, 2) == 2.21
    assert round(table["fasterrcnn_resnet50_fpn_v2"].parameters / 1e6, 2) == 43.26


def test_a_difference_is_shown_where_it_was_measured(rows: dict[str, ModelRow]) -> None:
    shown = {cells[0]: cells[-1] for cells in model_cells(list(rows.values()))[1:] if "rtmpose" in cells[0]}
    assert shown["`rtmpose_s`"] == "3e-07" and shown["`rtmpose_m`"] == "not measured"


def test_the_newest_measurement_counts(tmp_path: Path) -> None:
    assert read_differences(tmp_path / "nothing.jsonl") == {}
    lines = [json.dumps({"worst_relative_difference": {"rtmpose_s": value}}) for value in (1.0, 1e-6)]
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n")
    assert read_differences(tmp_path / "r.jsonl") == {"rtmpose_s": 1e-6}


def test_every_network_was_measured_and_is_deeplabcuts(rows: dict[str, ModelRow]) -> None:
    found = read_differences(PARITY)
    assert found.keys() == rows.keys()
    # Deformable convolutions of random weights sample far apart cells, which float32 rounding moves (DEKR).
    assert all(value < (1e-3 if entry.startswith("dekr") else 1e-5) for entry, value in found.items())


def test_the_command_prints_the_readmes_table(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    MODELS.configure(parser)
    assert MODELS.run(parser.parse_args(["--markdown"])) == 0
    printed = capsys.readouterr().out
    assert printed == markdown()
    assert "| `animaltokenpose_base` or `tokenpose_base` | top-down | 34.5 M | 4 | 256 x 256 |" in printed
    assert MODELS.run(parser.parse_args([])) == 0
    assert "dekr_w48" in capsys.readouterr().out
