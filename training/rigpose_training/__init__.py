"""Training: DeepLabCut projects in, DeepLabCut shuffles and snapshots out.

The public names are imported when they are first used, so that reading a project or printing ``--help`` does not
wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigpose.lazy import lazy_names

if TYPE_CHECKING:
    from rigpose_training.data.coco import COCOLoader as COCOLoader
    from rigpose_training.data.dataset import PoseDataset as PoseDataset
    from rigpose_training.data.loaders import DLCLoader as DLCLoader
    from rigpose_training.data.project import Project as Project
    from rigpose_training.data.transforms import build_transforms as build_transforms
    from rigpose_training.decode import decode_maps as decode_maps
    from rigpose_training.engine.train import train_network as train_network
    from rigpose_training.evaluation.evaluate import evaluate_network as evaluate_network
    from rigpose_training.models import build_model as build_model
    from rigpose_training.pose_config.detectors import available_detectors as available_detectors
    from rigpose_training.pose_config.templates import available_models as available_models
    from rigpose_training.project.create import create_training_dataset as create_training_dataset
    from rigpose_training.task import Task as Task

_HOMES = {
    "COCOLoader": "rigpose_training.data.coco",
    "DLCLoader": "rigpose_training.data.loaders",
    "PoseDataset": "rigpose_training.data.dataset",
    "Project": "rigpose_training.data.project",
    "Task": "rigpose_training.task",
    "available_detectors": "rigpose_training.pose_config.detectors",
    "available_models": "rigpose_training.pose_config.templates",
    "build_model": "rigpose_training.models",
    "build_transforms": "rigpose_training.data.transforms",
    "create_training_dataset": "rigpose_training.project.create",
    "decode_maps": "rigpose_training.decode",
    "evaluate_network": "rigpose_training.evaluation.evaluate",
    "train_network": "rigpose_training.engine.train",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
