from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rigpose.errors import SnapshotError
from rigpose_training.engine.snapshots import (
    Retention,
    SnapshotKeeper,
    list_snapshots,
    load_backbone,
    load_weights,
    read_snapshot,
    write_whole,
)


class Tiny(nn.Module):
    def __init__(self, bodyparts: int = 2, width: int = 3) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, width)
        self.heads = nn.ModuleDict({"bodypart": nn.Linear(width, bodyparts)})


def content(epoch: int, **metrics: float) -> dict[str, Any]:
    named = {f"metrics/test.{name}": value for name, value in metrics.items()}
    metadata = {"epoch": epoch, "metrics": named, "losses": {}}
    return {"model": Tiny().state_dict(), "metadata": metadata, "optimizer": {"state": {}}, "scheduler": {"x": 1}}


def names(folder: Path) -> list[str]:
    return [snapshot.path.name for snapshot in list_snapshots(folder)]


def test_retention_follows_deeplabcuts_rules(tmp_path: Path) -> None:
    keeper = SnapshotKeeper(Retention(tmp_path, save_epochs=2, max_snapshots=2))
    expected = {
        1: ["snapshot-best-001.pt"],
        2: ["snapshot-best-002.pt"],  # 1 was no epoch to save, so the former best is gone
        3: ["snapshot-002.pt", "snapshot-best-003.pt"],  # 2 was one, so it stays as a regular one
        4: ["snapshot-002.pt", "snapshot-004.pt", "snapshot-best-003.pt"],
        6: ["snapshot-004.pt", "snapshot-006.pt", "snapshot-best-003.pt"],  # the newest two
        7: ["snapshot-006.pt", "snapshot-007.pt", "snapshot-best-003.pt"],  # the last epoch
    }
    for epoch, quality in enumerate([10, 20, 30, 30, 5, float("nan"), 1], start=1):
        keeper.keep(content(epoch, mAP=quality), last=epoch == 7)
        if epoch in expected:
            assert names(tmp_path) == expected[epoch]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected[7])


def test_a_descending_metric_and_a_known_best_decide_too(tmp_path: Path) -> None:
    rule = Retention(tmp_path, key_metric="test.rmse", ascending=False, save_epochs=100)
    keeper = SnapshotKeeper(rule, best_metric=5.0)
    assert keeper.keep(content(1, rmse=6.0), last=False) is None
    assert keeper.keep(content(2, rmse=4.0), last=False) == tmp_path / "snapshot-best-002.pt"


def test_the_optimiser_is_saved_when_asked(tmp_path: Path) -> None:
    for keep in (True, False):
        keeper = SnapshotKeeper(Retention(tmp_path, save_epochs=1, save_optimizer_state=keep))
        path = keeper.keep(content(1), last=False)
        assert path is not None
        assert ("optimizer" in read_snapshot(path)) is keep
        assert read_snapshot(path)["scheduler"] == {"x": 1}


def test_an_exported_model_and_a_snapshot_without_metadata_are_read(tmp_path: Path) -> None:
    path = tmp_path / "exported.pt"
    torch.save({"config": {}, "pose": Tiny().state_dict()}, path)
    found = read_snapshot(path)
    assert set(found["model"]) == set(Tiny().state_dict())
    assert found["metadata"] == {"epoch": 0, "metrics": {}, "losses": {}}


def test_numpy_numbers_of_early_releases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "snapshot-010.pt"
    metrics = {"metrics/test.mAP": np.float64(71.5), "metrics/test.rmse": np.float32(2.5)}
    torch.save({"model": Tiny().state_dict(), "metadata": {"epoch": 10, "metrics": metrics}}, path)
    assert read_snapshot(path)["metadata"]["metrics"]["metrics/test.mAP"] == 71.5


def test_a_snapshot_of_deeplabcut_is_read(golden: Path) -> None:
    found = read_snapshot(golden / "snapshots" / "openfield_resnet_50" / "snapshot-130.pt")
    assert found["metadata"]["epoch"] == 130
    assert len(found["model"]) == 163


class Harmful:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("harmed"),)


def test_code_in_a_snapshot_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "snapshot-001.pt"
    torch.save({"model": Tiny().state_dict(), "metadata": Harmful()}, path)
    with pytest.raises(SnapshotError, match="nothing in it is run"):
        read_snapshot(path)
    plain = tmp_path / "snapshot-002.pt"
    plain.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(SnapshotError):
        read_snapshot(plain)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("size", [0, 100, 1500])
def test_a_file_cut_short_is_called_damaged(tmp_path: Path, size: int) -> None:
    whole = tmp_path / "whole.pt"
    torch.save(content(1), whole)
    cut = tmp_path / "snapshot-001.pt"
    cut.write_bytes(whole.read_bytes()[:size])
    with pytest.raises(SnapshotError, match=r"snapshot-001.pt: is damaged"):
        read_snapshot(cut)


def test_a_missing_file_and_another_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="no such snapshot"):
        read_snapshot(tmp_path / "snapshot-001.pt")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(SnapshotError, match="neither a DeepLabCut snapshot"):
        read_snapshot(tmp_path / "other.pt")


def test_weights_of_another_network_are_refused_with_the_likely_cause(tmp_path: Path) -> None:
    source = tmp_path / "snapshot-001.pt"
    with pytest.raises(SnapshotError, match=r"heads.bodypart.weight is 5 x 3 .* 2 x 3 .*number of body parts"):
        load_weights(Tiny(), Tiny(bodyparts=5).state_dict(), source=source)
    with pytest.raises(SnapshotError, match=r"backbone.weight.*another net_type"):
        load_weights(Tiny(), Tiny(width=7).state_dict(), source=source)
    weights = Tiny().state_dict()
    del weights["backbone.bias"]
    with pytest.raises(SnapshotError, match=r"2 keys \(backbone.bias is missing; other is not in the model"):
        load_weights(Tiny(), weights | {"other": torch.zeros(1)}, source=source)


def test_the_backbone_loads_alone_when_body_parts_changed(tmp_path: Path) -> None:
    donor, model = Tiny(bodyparts=5), Tiny()
    head = model.heads["bodypart"].state_dict()["weight"].clone()
    load_backbone(model, donor.state_dict(), source=tmp_path)
    assert torch.equal(model.backbone.weight, donor.backbone.weight)
    assert torch.equal(model.heads["bodypart"].state_dict()["weight"], head)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "snapshot-001.pt"
    write_whole(content(1), path)
    before = path.read_bytes()
    with pytest.raises((SnapshotError, AttributeError, pickle.PicklingError)):
        write_whole({"model": lambda: None}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["snapshot-001.pt"]
    with pytest.raises(SnapshotError, match="could not be written"):
        write_whole(content(1), tmp_path / "absent" / "snapshot-001.pt")
