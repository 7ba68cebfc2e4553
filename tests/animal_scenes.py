"""Small videos of several animals as numbers, and any file's content spelled out so that two can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np

KEYPOINTS = ("nose", "neck", "hip", "tail")
INDIVIDUALS = ("red", "green", "blue")
UNIQUE = ("corner", "lamp")
SCORER = "DLC_Resnet50_sceneNov20shuffle1_snapshot_5"
FRAMES = 12

Frame = dict[str, Any]


def scene(*, unique: bool = False, identity: bool = False, boxes: bool = False, frames: int = FRAMES) -> list[Frame]:
    """Frames of up to three animals far apart: one ends early, one frame is empty, keypoints are missing.

    Each frame holds ``bodyparts`` (N, K, 3) x, y, score of the found animals and, where asked for, ``unique`` (U, 3),
    ``identity_scores`` (N, K, I), ``bboxes`` (N, 4) and ``bbox_scores`` (N,).
    """
    rng = np.random.default_rng(5)
    body = np.array([[0, 0], [20, 18], [22, -18], [48, 2]])
    found = []
    for number in range(frames):
        animals = [0, 1, 2] if number < 7 else [0, 2]
        if number == 10:
            animals = []
        joints = np.zeros((len(animals), len(KEYPOINTS), 3), np.float32)
        for row, animal in enumerate(animals):
            place = np.array([40 + number, 60 + 90 * animal]) + rng.normal(0, 0.2, (len(KEYPOINTS), 2))
            joints[row, :, :2] = body + place
            joints[row, :, 2] = rng.uniform(0.5, 1, len(KEYPOINTS))
        # DeepLabCut cannot tell individuals apart in a frame where a keypoint is missing.
        if number in (3, 8) and not identity:
            joints[-1, 1] = (np.nan, np.nan, 0)
        frame: Frame = {"bodyparts": joints}
        if unique:
            frame["unique"] = np.concatenate(
                [np.array([[5, 5], [300, 8]]) + rng.normal(0, 0.1, (2, 2)), rng.uniform(0.5, 1, (2, 1))], axis=1
            ).astype(np.float32)
        if identity:
            looks = rng.uniform(0, 0.2, (len(animals), len(KEYPOINTS), len(INDIVIDUALS))).astype(np.float32)
            for row, animal in enumerate(animals):
                looks[row, :, animal] += 0.7
            frame["identity_scores"] = looks
        if boxes:
            corner = np.nan_to_num(joints[..., :2], nan=1e6).min(axis=1) - 5
            frame["bboxes"] = np.concatenate([corner, np.full_like(corner, 60)], axis=1)
            frame["bbox_scores"] = rng.uniform(0.8, 1, len(animals)).astype(np.float32)
        found.append(frame)
    return found


CASES = {
    "plain": {},
    "unique": {"unique": True},
    "identity": {"identity": True},
    "boxes": {"boxes": True},
}


def spelled(value: Any) -> Any:
    """The content of a pickle in lists, texts and numbers, with types, shapes and keys as they are.

    Numbers are rounded to 1e-3 px, far above what single precision is off by at a thousand.
    """
    if isinstance(value, np.ndarray):
        numbers = np.round(np.nan_to_num(value.astype(float), nan=-99.0), 3).ravel().tolist()
        return [f"array {value.dtype} {value.shape}", *(0.0 if number == 0 else number for number in numbers)]
    if isinstance(value, dict):
        return {f"{type(key).__name__} {key}": spelled(item) for key, item in sorted(value.items(), key=str)}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(spelled, value)]
    if hasattr(value, "names") and hasattr(value, "tolist"):
        return [type(value).__name__, list(value.names), *map(list, value.tolist())]
    return value
