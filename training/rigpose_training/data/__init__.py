"""Labelled images on their way into training: loaders of DeepLabCut projects and COCO files, and the data set.

The names are imported when they are first used, so that reading labels does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigpose.lazy import lazy_names

if TYPE_CHECKING:
    from rigpose_training.data.coco import COCOLoader as COCOLoader
    from rigpose_training.data.dataset import PoseDataset as PoseDataset
    from rigpose_training.data.labelled import LabelledImage as LabelledImage
    from rigpose_training.data.loaders import DLCLoader as DLCLoader
    from rigpose_training.data.project import Project as Project
    from rigpose_training.data.transforms import build_transforms as build_transforms

_HOMES = {
    "COCOLoader": "rigpose_training.data.coco",
    "DLCLoader": "rigpose_training.data.loaders",
    "LabelledImage": "rigpose_training.data.labelled",
    "PoseDataset": "rigpose_training.data.dataset",
    "Project": "rigpose_training.data.project",
    "build_transforms": "rigpose_training.data.transforms",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
