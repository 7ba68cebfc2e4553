from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_training import SIZE, DrawnLoader, tiny_config
from torch import nn

from rigpose.errors import ConfigError, TrainingError
from rigpose_training.commands import TRAIN
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.engine.stages import detector_stage, pose_stage
from rigpose_training.engine.train import Machine, train, train_network
from rigpose_training.engine.validate import BoxValidation, CropValidation
from rigpose_training.models.detectors import build_detector
from rigpose_training.objectives import DetectorObjective
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import list_snapshots
from rigpose_training.scene.project import write_project

RANDOM = Start(weights="random")
CPU = Machine(device="cpu")
DETECTOR = {"type": "SSDLite", "freeze_bn_stats": True, "freeze_bn_weights": False}

pytestmark = pytest.mark.usefixtures("one_thread")


def top_down_config(*, method: str = "td", detector_epochs: int = 1) -> dict[str, Any]:
    """The tiny configuration for crops of half the image, and a detector with a runner of its own."""
    whole: dict[str, Any] = tiny_config() | {"method": method}
    whole["data"]["train"]["top_down_crop"] = {"width": SIZE // 2, "height": SIZE // 2}
    whole["data"]["inference"]["top_down_crop"] = {"width": SIZE // 2, "height": SIZE // 2}
    whole["detector"] = {
        "model": dict(DETECTOR),
        "data": {"inference": {"normalize_images": True}, "train": {"hflip": True, "normalize_images": True}},
        "runner": {
            "type": "DetectorTrainingRunner",
            "key_metric": "test.mAP@50:95",
            "key_metric_asc": True,
            "eval_interval": 1,
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}},
            "scheduler": {"type": "LRListScheduler", "params": {"milestones": [160], "lr_list": [[1e-5]]}},
            "snapshots": {"max_snapshots": 5, "save_epochs": 1, "save_optimizer_state": False},
        },
        "train_settings": {"batch_size": 2, "epochs": detector_epochs, "display_iters": 500, "dataloader_workers": 0},
    }
    return whole


def row(folder: Path, name: str) -> dict[str, str]:
    with (folder / name).open() as file:
        return list(csv.DictReader(file))[-1]


def test_a_detector_leaves_what_deeplabcut_leaves(tmp_path: Path) -> None:
    loader = DrawnLoader(tmp_path, config=top_down_config(), train=2, test=1)
    path = train(loader, RANDOM, CPU, detector=True)
    assert path.name in ("snapshot-detector-001.pt", "snapshot-detector-best-001.pt")
    found = row(tmp_path, "learning_stats_detector.csv")
    # torchvision's names of SSD's losses, and pycocotools' metrics by DeepLabCut's names.
    losses = {f"losses/train.{name}" for name in ("bbox_regression", "classification", "total_loss")}
    metrics = {f"metrics/test.{kind}@{iou}" for kind in ("mAP", "mAR") for iou in ("50:95", "50", "75")}
    assert set(found) == {"step"} | losses | metrics
    parts = [float(found[name]) for name in sorted(losses)]
    assert parts[2] == pytest.approx(parts[0] + parts[1], rel=1e-5) and parts[2] > 0
    content = read_snapshot(path)
    load_weights(build_detector(DETECTOR), content["model"], source=path)
    assert set(content["metadata"]["metrics"]) == metrics
    assert {"resume_detector.pt", "learning_curve_detector.png"} <= {p.name for p in tmp_path.iterdir()}
    assert not list_snapshots(tmp_path) and not (tmp_path / "resume.pt").exists()


def test_a_detector_goes_on_exactly(tmp_path: Path) -> None:
    train(
        DrawnLoader(tmp_path / "whole", config=top_down_config(detector_epochs=2), train=2), RANDOM, CPU, detector=True
    )
    for epochs in (1, 2):
        config = top_down_config(detector_epochs=epochs)
        train(DrawnLoader(tmp_path / "parts", config=config, train=2), RANDOM, CPU, detector=True)
    whole, parts = (
        torch.load(tmp_path / n / "resume_detector.pt", weights_only=True)["model"] for n in ("whole", "parts")
    )
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


class Corners(nn.Module):
    """Says for every image that the animals are where it was told, in px of the image."""

    def __init__(self, boxes: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.boxes = iter(boxes)

    def detect(self, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        return [next(self.boxes) for _ in images]


def test_boxes_are_compared_in_px_of_the_image(tmp_path: Path) -> None:
    loader = DrawnLoader(tmp_path, config=top_down_config(), train=1, test=3)
    stage = detector_stage(loader)
    truth = [
        torch.tensor([[x, y, x + w, y + h] for x, y, w, h in entry["bboxes"]])
        for entry in loader.ground_truth_bboxes("test").values()
    ]
    exact = [(boxes.float(), torch.ones(len(boxes))) for boxes in truth]
    validation = BoxValidation(loader.create_dataset(None, "test", stage.task))
    losses, metrics = validation(Corners(exact))
    assert losses == {} and metrics["metrics/test.mAP@50:95"] == pytest.approx(100)
    away = [(boxes + SIZE, score) for boxes, score in exact]
    assert validation(Corners(away))[1]["metrics/test.mAP@50"] == 0

    class Halved:
        """As a data set that shows images at half their size would."""

        dataset = loader.create_dataset(None, "test", stage.task)

        def __len__(self) -> int:
            return len(self.dataset)

        def __getitem__(self, index: int) -> dict[str, Any]:
            item = self.dataset[index]
            item["annotations"]["boxes"] = item["annotations"]["boxes"] / 2
            return item | {"scales": np.full(2, 2.0), "offsets": np.zeros(2)}

    halved = [(boxes / 2, score) for boxes, score in exact]
    assert BoxValidation(Halved())(Corners(halved))[1]["metrics/test.mAP@50:95"] == pytest.approx(100)


def test_the_total_is_the_sum_of_the_detectors_losses() -> None:
    outputs = {"loss_classifier": torch.tensor(1.5), "loss_box_reg": torch.tensor(0.25, dtype=torch.float64)}
    terms = DetectorObjective().terms(outputs, {})
    assert {name: float(term) for name, term in terms.items()} == {
        "loss_classifier": 1.5,
        "loss_box_reg": 0.25,
        "total_loss": 1.75,
    }


def test_a_shuffle_without_a_detector_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no detector section; create the shuffle with a top_down net_type"):
        train(DrawnLoader(tmp_path), RANDOM, CPU, detector=True)


class Oracle(nn.Module):
    """Maps whose peaks are where the labels of each crop are, at stride 1 without offsets."""

    strides = {"bodypart": 1.0}  # noqa: RUF012

    def __init__(self, dataset: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.items = iter([dataset[i] for i in range(len(dataset))])

    def forward(self, images: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        maps = torch.zeros(1, 2, *images.shape[2:])
        for part, (x, y, visible) in enumerate(next(self.items)["annotations"]["keypoints"][0].tolist()):
            if visible > 0:
                maps[0, part, int(y), int(x)] = 1.0
        return {"bodypart": {"heatmap": maps}}


class NoLosses:
    def forward(self, network: nn.Module, batch: Any) -> Any:
        return network(batch["image"])

    def terms(self, outputs: Any, batch: Any) -> dict[str, torch.Tensor]:  # noqa: ARG002
        return {"total_loss": torch.zeros(())}


def test_poses_of_crops_are_compared_in_px_of_the_image(tmp_path: Path) -> None:
    loader = DrawnLoader(tmp_path, config=top_down_config(), train=1, test=4)
    dataset = loader.create_dataset(None, "test", "td")
    scales = np.stack([dataset[i]["scales"] for i in range(len(dataset))])
    assert (scales > 1).any()  # crops are shown smaller, so that px differ
    predictor = {"type": "HeatmapPredictor", "location_refinement": False, "apply_sigmoid": False}
    _, metrics = CropValidation(dataset, NoLosses(), predictor)(Oracle(dataset))
    # A label is found at the centre of its pixel of the crop, and the crop's pixels have a size in the image.
    labels = np.concatenate([dataset[i]["annotations"]["keypoints"][..., :2] for i in range(len(dataset))])
    errors = np.linalg.norm((np.floor(labels) + 0.5 - labels) * scales[:, None], axis=-1)
    assert metrics["metrics/test.rmse"] == pytest.approx(errors.mean(), rel=1e-5)


def test_a_top_down_network_trains_on_crops(tmp_path: Path) -> None:
    config = top_down_config()
    config["train_settings"]["epochs"] = 6
    config["runner"]["eval_interval"] = 6
    loader = DrawnLoader(tmp_path, config=config)
    assert isinstance(pose_stage(loader).validation(nn.Identity(), NoLosses(), 2), CropValidation)
    path = train(loader, RANDOM, CPU)
    assert read_snapshot(path)["metadata"]["metrics"]["metrics/test.rmse"] > 0
    with (tmp_path / "learning_stats.csv").open() as file:
        losses = [float(entry["losses/train.total_loss"]) for entry in csv.DictReader(file)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two animals with a top-down shuffle, made small."""
    folder = tmp_path_factory.mktemp("lab") / "lab"
    write_project(folder, labelled_frames=6, size=(64, 64), animals=2)
    create_training_dataset(folder, net_type="top_down_resnet_50", detector_type="ssdlite")
    (path,) = folder.rglob("pytorch_config.yaml")
    config = read_pose_config(path)
    config["model"]["backbone"]["model_name"] = "test_resnet"
    config["model"]["backbone_output_channels"] = 96
    for section in config["model"]["heads"]["bodypart"].values():
        if isinstance(section, dict) and "channels" in section:
            section["channels"][0] = 96
    for name in ("train", "inference"):
        config["data"][name]["top_down_crop"] |= {"width": 32, "height": 32}
    write_pose_config(path, config)
    return folder


def test_one_call_trains_the_detector_and_then_the_poses(lab: Path) -> None:
    settings = {"device": "cpu", "weights": "random", "eval_interval": 1, "batch_size": 4, "detector_batch_size": 2}
    path = train_network(lab / "config.yaml", epochs=1, detector_epochs=1, detector_save_epochs=1, **settings)
    folder = path.parent
    assert path.name == "snapshot-best-001.pt"
    assert [s.epoch for s in list_snapshots(folder, prefix="snapshot-detector")] == [1]
    log = (folder / "train.txt").read_text()
    assert log.index("ssdlite320_mobilenet_v3_large: starting from random") < log.index("test_resnet: starting from")
    written = read_pose_config(folder / "pytorch_config.yaml")
    assert written["detector"]["train_settings"]["batch_size"] == 2
    assert written["detector"]["runner"]["snapshots"]["save_epochs"] == 1
    # Each may be left as it is.
    train_network(lab, epochs=2, detector_epochs=0, **settings)
    assert [s.epoch for s in list_snapshots(folder, prefix="snapshot-detector")] == [1]
    assert max(s.epoch for s in list_snapshots(folder)) == 2
    detector = list_snapshots(folder, prefix="snapshot-detector")[-1].path
    later = train_network(lab, epochs=0, detector_epochs=1, detector_path=detector, **settings)
    assert later.name.startswith("snapshot-detector")
    assert max(s.epoch for s in list_snapshots(folder, prefix="snapshot-detector")) == 2
    with pytest.raises(TrainingError, match="nothing to train"):
        train_network(lab, epochs=0, detector_epochs=0, **settings)


def test_the_command_line_says_the_same(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    TRAIN.configure(parser)
    words = (
        f"{lab} --device cpu --weights random --epochs 1 --batch-size 4 --detector-epochs 1 --detector-batch-size 3 "
    )
    words += "--detector-save-epochs 7 --eval-interval 1 --fresh --ema-decay .5 --no-channels-last --patience 4"
    assert TRAIN.run(parser.parse_args(words.split())) == 0
    path = Path(capsys.readouterr().out.removeprefix("snapshot: ").strip())
    assert path.is_file()
    for name in ("resume.pt", "resume_detector.pt"):
        options = torch.load(path.parent / name, weights_only=True)["options"]
        assert (options["ema_decay"], options["patience"], options["channels_last"]) == (0.5, 4, False)
    written = read_pose_config(path.parent / "pytorch_config.yaml")["detector"]
    assert (written["train_settings"]["batch_size"], written["runner"]["snapshots"]["save_epochs"]) == (3, 7)
