"""Fixtures only: where the reference data is, and small things that several tests draw."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(os.environ.get("RIGPOSE_SHARED", Path(__file__).parents[2] / "shared"))


def _need(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"reference data {path.name} is not on this machine (set RIGPOSE_SHARED to its parent)")
    return path


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of recorded DeepLabCut outputs."""
    return _need(SHARED / "reference" / "golden")


@pytest.fixture(scope="session")
def openfield() -> Path:
    """DeepLabCut's openfield example project, read-only."""
    return _need(SHARED / "data" / "openfield-Pranav-2018-10-30")


@pytest.fixture(scope="session")
def flies() -> Path:
    """A multi-animal project of two flies, read-only."""
    return _need(SHARED / "data" / "flies-h-2026-11-20")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The threads of a small training step cost more than they save, most of all beside other tests."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_config() -> dict[str, Any]:
    """A whole ``pytorch_config.yaml`` of a small ResNet with four keypoints."""
    from rigpose_training.pose_config.templates import Metadata, make_pose_config

    names = ("snout", "leftear", "rightear", "tailbase")
    config = make_pose_config("resnet_50", Metadata(project_path="", pose_config_path="", bodyparts=names))
    config["model"]["backbone"]["model_name"] = "resnet10t"
    config["model"]["backbone_output_channels"] = 512
    head = config["model"]["heads"]["bodypart"]
    head["heatmap_config"]["channels"] = [512, 4]
    head["locref_config"]["channels"] = [512, 8]
    return config


@pytest.fixture(scope="session")
def tiny_pair(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The small network's configuration and a snapshot whose random weights give scores inside 0..1."""
    import torch
    from exported_pairs import calibrate
    from reference_weights import fill

    from rigpose_training.models import build_model
    from rigpose_training.pose_config.files import write_pose_config

    folder = tmp_path_factory.mktemp("pair")
    write_pose_config(folder / "pytorch_config.yaml", tiny_config)
    model = build_model(tiny_config)
    fill(model, "tiny")
    calibrate(model, tiny_config)
    content = {"model": model.state_dict(), "metadata": {"epoch": 7, "metrics": {}, "losses": {}}}
    torch.save(content, folder / "snapshot-007.pt")
    return folder / "pytorch_config.yaml", folder / "snapshot-007.pt"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the small network; tests that change it copy it first."""
    from rigpose_export.pack import export_bundle
    from rigpose_export.source import pair_source

    folder = tmp_path_factory.mktemp("bundles") / "tiny.bundle"
    return export_bundle(pair_source(*tiny_pair), folder).path
