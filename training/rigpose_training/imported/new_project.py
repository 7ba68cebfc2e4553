"""The ``config.yaml`` of a project that begins with imported labels."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

from rigpose_training.imported.labels import ImportedLabels

_NAME = re.compile(r"(?P<task>.+)-(?P<scorer>[^-]+)-(?P<date>\d{4}-\d\d-\d\d)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def new_config(folder: Path, labels: ImportedLabels, scorer: str | None) -> dict[str, Any]:
    """What DeepLabCut writes into a new project's file, with the labels' names.

    Args:
        folder: The project's, whose name may be DeepLabCut's ``{Task}-{scorer}-{YYYY-MM-DD}``.
        labels: What it begins with.
        scorer: Who labelled; none for the file's, or the one in the folder's name.
    """
    named = _NAME.fullmatch(folder.name)
    task = named["task"] if named else folder.name
    scorer = scorer or (named["scorer"] if named else None) or labels.scorer or "imported"
    day = date.fromisoformat(named["date"]) if named else date.today()
    several = len(labels.individuals) > 1 or bool(labels.unique_keypoints)
    return {
        "Task": task,
        "scorer": scorer,
        "date": f"{_MONTHS[day.month - 1]}{day.day}",
        "multianimalproject": several,
        "identity": False if several else None,
        "project_path": str(folder),
        "engine": "pytorch",
        "video_sets": {},
        "bodyparts": "MULTI!" if several else list(labels.keypoints),
        "individuals": list(labels.individuals),
        "uniquebodyparts": list(labels.unique_keypoints),
        "multianimalbodyparts": list(labels.keypoints) if several else [],
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [list(pair) for pair in labels.skeleton],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 12,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "default_track_method": "ellipse" if several else None,
        "snapshotindex": -1,
        "detector_snapshotindex": -1,
        "batch_size": 8,
        "detector_batch_size": 1,
        "cropping": False,
        "x1": 0,
        "x2": 640,
        "y1": 277,
        "y2": 624,
        "corner2move2": [50, 50],
        "move2corner": True,
        "SuperAnimalConversionTables": None,
    }
