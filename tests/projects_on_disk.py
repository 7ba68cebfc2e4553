"""Small DeepLabCut projects drawn on disk, for tests that need one of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

WIDTH, HEIGHT = 40, 30


def write_project(
    root: Path,
    *,
    images: int = 10,
    individuals: Sequence[str] = (),
    unique: Sequence[str] = (),
    config: str = "",
    videos: Sequence[str] = ("mouse",),
) -> Path:
    """A project of bodyparts nose and tail whose labels are whole pixels that no other row has; returns its folder."""
    root.mkdir(parents=True, exist_ok=True)
    names = "\n".join(f"- {name}" for name in individuals) or "[]"
    parts = "- nose\n- tail"
    (root / "config.yaml").write_text(
        "Task: drawn\nscorer: me\ndate: Nov20\nproject_path: /somewhere/else\niteration: 0\n"
        f"multianimalproject: {str(bool(individuals)).lower()}\n"
        "video_sets:\n"
        + "".join(f"  C:\\videos\\{video}.avi:\n    crop: 0, 40, 0, 30\n" for video in videos)
        + (
            f"bodyparts: MULTI!\nmultianimalbodyparts:\n{parts}\nindividuals:\n{names}\n"
            if individuals
            else f"bodyparts:\n{parts}\n"
        )
        + f"uniquebodyparts: [{', '.join(unique)}]\nTrainingFraction:\n- 0.8\n"
        + config
    )
    for video in videos:
        folder = root / "labeled-data" / video
        folder.mkdir(parents=True)
        for i in range(images):
            cv2.imwrite(str(folder / f"img{i:03}.png"), np.full((HEIGHT, WIDTH, 3), 20 * i, np.uint8))
        table = label_table(video, images, individuals, unique)
        table.to_hdf(folder / "CollectedData_me.h5", key="df_with_missing", mode="w")
        table.to_csv(folder / "CollectedData_me.csv")
    return root


def label_table(video: str, images: int, individuals: Sequence[str] = (), unique: Sequence[str] = ()) -> pd.DataFrame:
    """Row i, column c is 1 + i + c: in the image, and different for x and y."""
    index = pd.MultiIndex.from_tuples([("labeled-data", video, f"img{i:03}.png") for i in range(images)])
    owners = [(name, part) for name in individuals or [""] for part in ("nose", "tail")]
    owners += [("single", part) for part in unique]
    if individuals:
        columns = pd.MultiIndex.from_tuples(
            [("me", *owner, axis) for owner in owners for axis in "xy"],
            names=["scorer", "individuals", "bodyparts", "coords"],
        )
    else:
        columns = pd.MultiIndex.from_tuples(
            [("me", part, axis) for _, part in owners for axis in "xy"], names=["scorer", "bodyparts", "coords"]
        )
    values = 1.0 + np.arange(images)[:, None] + np.arange(len(columns))[None]
    return pd.DataFrame(values, index=index, columns=columns)
