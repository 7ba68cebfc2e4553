"""The data set file of a shuffle, from which DeepLabCut takes image sizes: ``.mat``, or ``.pickle`` of several animals.

A record is one image with at least one label inside it; images without leave the file, but not the merged labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose_training.project.labels import Labels


def single_animal_records(
    labels: Labels, rows: Sequence[int], sizes: Mapping[str, tuple[int, int, int]]
) -> list[dict[str, Any]]:
    """Images with labels, as the ``.mat`` holds them: joints as whole numbers ``[keypoint, x, y]``."""
    records = []
    for row in rows:
        image = labels.images[row]
        xy = labels.xy[row, 0].astype(np.float64)  # (K, 2)
        # Whole pixels first, then the border test: DeepLabCut's order, which drops a label at 0.4.
        joints = [[k, int(x), int(y)] for k, (x, y) in enumerate(xy) if not np.isnan(x)]
        joints = [joint for joint in joints if _is_inside(joint[1], joint[2], sizes[image])]
        if joints:
            records.append({"image": tuple(image.split("/")), "size": sizes[image], "joints": joints})
    return records


def multi_animal_records(
    labels: Labels, rows: Sequence[int], sizes: Mapping[str, tuple[int, int, int]]
) -> list[dict[str, Any]]:
    """Images with labels, as the multi-animal ``.pickle`` holds them.

    ``joints`` maps an animal's number to ``[keypoint, x, y]``; the number after the last animal owns the unique
    bodyparts, whose keypoints count on from the animals'.
    """
    records = []
    for row in rows:
        image = labels.images[row]
        owners = [(0, xy) for xy in labels.xy[row]] + [(labels.xy.shape[2], labels.unique_xy[row])]
        joints = {
            owner: found
            for owner, (first, xy) in enumerate(owners)
            if (found := _rounded_joints(xy, first, sizes[image]))
        }
        if joints:
            records.append({"image": tuple(image.split("/")), "size": sizes[image], "joints": joints})
    return records


def _rounded_joints(xy: Floats, first: int, size: tuple[int, int, int]) -> list[list[float]]:
    return [
        [float(first + k), round(float(x), 2), round(float(y), 2)]
        for k, (x, y) in enumerate(xy)
        if not np.isnan(x) and _is_inside(x, y, size)
    ]


def _is_inside(x: float, y: float, size: tuple[int, int, int]) -> bool:
    return 0 < x < size[2] and 0 < y < size[1]


def write_mat(path: Path, records: list[dict[str, Any]]) -> None:
    """Write MATLAB's struct array ``dataset`` with image, size and a cell of joints."""
    from scipy.io import savemat

    dataset = np.empty(len(records), dtype=[("image", "O"), ("size", "O"), ("joints", "O")])
    for i, record in enumerate(records):
        joints = np.empty((1, 1), dtype=object)
        joints[0, 0] = np.array(record["joints"], dtype=np.int64)
        dataset[i] = (np.array([record["image"]], dtype="U"), np.array([record["size"]]), joints)
    temporary = path.with_name(f".writing-{path.name}")
    savemat(str(temporary), {"dataset": dataset})
    temporary.replace(path)
