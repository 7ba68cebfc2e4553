"""Four drawn frames, any architecture: train until it knows them by heart, and measure how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops import FrozenBatchNorm2d

from rigpose.arrays import Floats
from rigpose.measures.box_metrics import intersection_over_union
from rigpose_training.data.batches import collate
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.loaders import Loader
from rigpose_training.data.transforms import build_transforms
from rigpose_training.decode import decode_maps
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.run import run
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.engine.stages import DetectorStage, PoseStage, Stage, detector_stage
from rigpose_training.engine.team import Team
from rigpose_training.engine.train import Machine
from rigpose_training.models import PoseModel
from rigpose_training.models.detectors import Detector, detection_targets
from rigpose_training.pose_config.files import update, write_pose_config
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.scene.world import KEYPOINTS, Scene
from rigpose_training.task import Task
from rigpose_training.torch_session import torch_analyzer

FRAMES = 4
PARTS = ("snout", "spine", "tailbase")
# Seed and frames between pictures by number of animals: they move and turn, and two stay well apart.
SCENES = {1: (3, 40), 2: (81, 20)}
SMALL_SIDE = 128  # of a detector's image [px], in place of 800
SMALL_SAMPLE = 32  # regions of an image that a detector's second stage sees, in place of 512 and more


@dataclass(frozen=True)
class Lesson:
    """What is learned, and how.

    Attributes:
        epochs: Each of them one step of the optimiser.
        rate: Learning rate; raised at first, and lowered to nothing in the end.
        animals: In every frame.
        size: Height and width of the frames [px]; animals are about a quarter of the shorter side long.
        radius: How near a keypoint a cell learns that it is there [input px]; templates have 17 for frames of 450 px.
        quiet: Of the epochs, the last ones, in which the rate is next to nothing.
        statistics: What batch normalisation of the backbone trains with: those of the batch, or the running ones as it
            is told by the templates of which pretrained weights are expected. The former need quiet epochs, or
            evaluation would use statistics of weights that have changed since.
        changes: Dotted keys of the configuration, chiefly sizes.
    """

    epochs: int
    rate: float
    animals: int = 1
    size: tuple[int, int] = (64, 64)
    radius: int = 8
    quiet: int = 0
    statistics: Literal["batch", "running"] = "batch"
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """What a training on four frames came to.

    Attributes:
        fall: How many times smaller the loss of the last epoch is than that of the first, or than the loss of maps
            that are zero everywhere where that is smaller: a wild start would make a fall easy.
        errors: (N, K) distance of every labelled keypoint of the four frames to the one that was found, infinite where
            there is none [frame px].
        metrics: The last validation, by DeepLabCut's names.
    """

    fall: float
    errors: Floats
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class BoxMemory:
    """What the training of a detector came to.

    Attributes:
        fall: How many times smaller the loss of the last epoch is than that of the first.
        overlaps: (N,) intersection over union of every labelled box with the best of as many boxes as the frame has
            animals, the ones with the highest scores [0, 1].
        metrics: The last validation, by DeepLabCut's names.
    """

    fall: float
    overlaps: Floats
    metrics: Mapping[str, float]


def overfit(folder: Path, net_type: str, lesson: Lesson) -> Memory:
    """Train a pose network of random weights on four frames without augmentation, with the engine as it is.

    Args:
        folder: Where its files go; a large network's take 1 GB.
        net_type: One of ``available_models()``.
        lesson: What it learns.
    """
    loader = FourFrames(folder, _pose_config(folder, net_type, lesson), lesson)
    stage = PoseStage(loader, Task(loader.model_cfg["method"]), loader.model_cfg, where="")
    first, last, metrics, model = _train(stage)
    model = cast(PoseModel, model)
    errors = _errors_in_frames if stage.task is Task.BOTTOM_UP else _errors_in_crops
    return Memory(min(first, _loss_of_empty_maps(model, stage)) / last, errors(model, stage), metrics)


def overfit_boxes(folder: Path, detector_type: str, lesson: Lesson) -> BoxMemory:
    """The same for the detector of a top-down pair.

    Args:
        folder: Where its files go.
        detector_type: One of ``available_detectors()``.
        lesson: What it learns.
    """
    loader = FourFrames(folder, _detector_config(folder, detector_type, lesson), lesson)
    whole = detector_stage(loader)
    stage = SmallDetectorStage(loader, whole.task, whole.config, whole.where)
    first, last, metrics, model = _train(stage)
    return BoxMemory(first / last, _overlaps(cast(Detector, model), stage), metrics)


class FourFrames(Loader):
    """The same drawn frames to train and to test."""

    def __init__(self, folder: Path, config: Mapping[str, Any], lesson: Lesson) -> None:
        folder.mkdir(parents=True)
        write_pose_config(folder / "pytorch_config.yaml", config)
        super().__init__(folder / "pytorch_config.yaml")
        seed, pause = SCENES[lesson.animals]
        scene = Scene(seed, size=lesson.size, animals=lesson.animals)
        parts = [KEYPOINTS.index(name) for name in PARTS]
        self._drawn = []
        for i in range(FRAMES):
            picture, xy = scene.frame(pause * i)
            path = folder / f"frame{i}.png"
            cv2.imwrite(str(path), picture)
            nothing = np.empty((0, 2), np.float32)
            self._drawn.append(LabelledImage(path, xy[:, parts].astype(np.float32), nothing, lesson.size))

    def _read(self, mode: str) -> list[LabelledImage]:  # noqa: ARG002
        return self._drawn


class SmallDetectorStage(DetectorStage):
    """A detector whose inner sizes, which no configuration can change, are those of a small image.

    Layers, weights, anchors, losses and suppression are the whole detector's.
    """

    def build(self) -> nn.Module:
        """See ``Stage``."""
        network = super().build()
        inner = cast(Any, network).model
        if hasattr(inner, "rpn"):
            inner.transform.min_size = (SMALL_SIDE,)
            inner.roi_heads.fg_bg_sampler.batch_size_per_image = SMALL_SAMPLE
            for each in (inner.rpn._pre_nms_top_n, inner.rpn._post_nms_top_n):
                each.update(training=8 * SMALL_SAMPLE, testing=SMALL_SAMPLE)
        return network


def _pose_config(folder: Path, net_type: str, lesson: Lesson) -> dict[str, Any]:
    config = make_pose_config(net_type, _metadata(folder, lesson))
    config = update(config, _settings(lesson, "", batch=FRAMES * (1 if config["method"] == "bu" else lesson.animals)))
    config = update(config, lesson.changes)
    config["model"]["backbone"]["freeze_bn_stats"] = lesson.statistics == "running"
    target = config["model"]["heads"]["bodypart"]["target_generator"]
    for generator in target.get("generators", [target]):
        for key in generator.keys() & {"pos_dist_thresh", "width"}:
            generator[key] = lesson.radius
    return config


def _detector_config(folder: Path, detector_type: str, lesson: Lesson) -> dict[str, Any]:
    config = make_pose_config("top_down_resnet_50", _metadata(folder, lesson), detector_type=detector_type)
    config = update(config, _settings(lesson, "detector.", batch=FRAMES))
    return update(config, lesson.changes)


def _metadata(folder: Path, lesson: Lesson) -> Metadata:
    names = tuple(f"animal{i}" for i in range(lesson.animals))
    return Metadata(str(folder), str(folder / "pytorch_config.yaml"), PARTS, individuals=names)


def _settings(lesson: Lesson, at: str, *, batch: int) -> dict[str, Any]:
    """One batch of everything per epoch, without augmentation."""
    still = ("affine", "crop_sampling", "gaussian_noise", "hflip", "random_bbox_transform", "collate")
    return {
        **{f"{at}data.train.{step}": None for step in still},
        f"{at}data.train.motion_blur": False,
        f"{at}runner.optimizer.params": {"lr": lesson.rate},
        f"{at}runner.scheduler": {"type": "LRListScheduler", "params": _schedule(lesson)},
        f"{at}runner.eval_interval": lesson.epochs,
        f"{at}runner.snapshots.save_epochs": lesson.epochs,
        f"{at}train_settings.epochs": lesson.epochs,
        f"{at}train_settings.batch_size": batch,
    }


def _schedule(lesson: Lesson) -> dict[str, list[Any]]:
    """A rate for every epoch: five rise, then it stays, falls for a quarter of the epochs, and is quiet."""
    epochs = np.arange(lesson.epochs)
    rise = (epochs + 1) / 5
    fall = (lesson.epochs - lesson.quiet - epochs) / (lesson.epochs / 4)
    rates = lesson.rate * np.clip(np.minimum(rise, fall), 1e-5, 1)
    return {"milestones": epochs.tolist(), "lr_list": rates[:, None].tolist()}


def _train(stage: Stage) -> tuple[float, float, dict[str, float], nn.Module]:
    """First loss, last loss, last metrics, and the network that the snapshot on disk holds, to be evaluated."""
    snapshot = run(stage, Start(_first_snapshot(stage)), Machine("cpu", workers=0), {}, Team())
    table = pd.read_csv(stage.files(snapshot.parent, None).stats)
    losses = table["losses/train.total_loss"]
    metrics = {str(name): float(value) for name, value in table.iloc[-1].items() if str(name).startswith("metrics/")}
    model = stage.build()
    load_weights(model, read_snapshot(snapshot)["model"], source=snapshot)
    return float(losses.iloc[0]), float(losses.iloc[-1]), metrics, model.eval()


def _first_snapshot(stage: Stage) -> Path:
    """Random weights whose batch normalisation knows the four frames, as that of pretrained weights knows images.

    Freshly built it says mean 0 and variance 1, which is far from the truth, and a running mean needs hundreds of
    batches to forget it.
    """
    torch.manual_seed(0)
    model = stage.build()
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.momentum = 1.0
        elif isinstance(layer, FrozenBatchNorm2d):
            layer.register_forward_pre_hook(_measure)
    with torch.no_grad():
        stage.objective(model).forward(model.train(), _batch(stage))
    path = stage.loader.model_folder / "random-weights.pt"
    torch.save({"model": model.state_dict(), "metadata": {"epoch": 0, "metrics": {}, "losses": {}}}, path)
    return path


def _measure(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    statistics = dict(layer.named_buffers())
    statistics["running_mean"].copy_(inputs[0].mean(dim=(0, 2, 3)))
    statistics["running_var"].copy_(inputs[0].var(dim=(0, 2, 3)))


def _batch(stage: Stage) -> dict[str, Any]:
    """The frames, or one crop per animal, prepared as for inference."""
    prepare = build_transforms(stage.config["data"]["inference"], where=f"{stage.where}data.inference")
    dataset = stage.loader.create_dataset(prepare, "test", stage.task)
    return collate([dataset[i] for i in range(len(dataset))])


def _loss_of_empty_maps(model: PoseModel, stage: PoseStage) -> float:
    objective, batch = stage.objective(model), _batch(stage)
    with torch.inference_mode():
        outputs = objective.forward(model, batch)
        empty = {head: {name: torch.zeros_like(m) for name, m in maps.items()} for head, maps in outputs.items()}
        return float(objective.terms(empty, batch)["total_loss"])


def _errors_in_frames(model: PoseModel, stage: PoseStage) -> Floats:
    """(N, K) distances of a network that sees whole frames, through the rig's analyzer."""
    images = stage.loader.images("test")
    frames = [cast(Any, cv2.imread(str(image.path))) for image in images]
    found = torch_analyzer(model, stage.config).predict(frames)
    return np.concatenate([_distances(poses.xy, image.xy) for poses, image in zip(found, images, strict=True)])


def _errors_in_crops(model: PoseModel, stage: PoseStage) -> Floats:
    """(N, K) distances of a network that sees one animal at a time, in the crops around the labelled animals."""
    batch = _batch(stage)
    with torch.inference_mode():
        outputs = stage.objective(model).forward(model, batch)["bodypart"]
    predictor = stage.config["model"]["heads"]["bodypart"]["predictor"]
    maps = {name: values.numpy() for name, values in outputs.items()}
    found = decode_maps(predictor, maps, model.strides["bodypart"])
    truth = batch["annotations"]["keypoints"][..., :2].numpy()  # (N, 1, K, 2)
    scales = batch["scales"].numpy()
    return np.concatenate([_distances(f.xy * s, t * s) for f, t, s in zip(found, truth, scales, strict=True)])


def _distances(found: Floats, truth: Floats) -> Floats:
    """(N, K) between the labelled animals (N, K, 2) and the ones (M, K, 2) that fit best, infinite where missing."""
    gaps = np.linalg.norm(found[None] - truth[:, None], axis=-1)  # (N, M, K)
    gaps = np.where(np.isnan(gaps), np.inf, gaps)
    distances = np.full(truth.shape[:2], np.inf)
    rows, columns = linear_sum_assignment(np.minimum(gaps, 1e6).mean(axis=-1))
    distances[rows] = gaps[rows, columns]
    return distances


def _overlaps(model: Detector, stage: DetectorStage) -> Floats:
    batch = _batch(stage)
    best = []
    for (boxes, _), target in zip(model.detect(batch["image"]), detection_targets(batch["annotations"]), strict=True):
        first = boxes[: len(target["boxes"])].numpy()
        best.append(intersection_over_union(first, target["boxes"].numpy()).max(axis=0, initial=0.0))
    return np.concatenate(best)
