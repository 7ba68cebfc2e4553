"""The crop around one animal for training: augmentation and crop as one warp of the labelled image.

DeepLabCut augments the whole frame, crops it with corners rounded towards zero and fills with the mean colour what
lies outside, while its inference rounds to the nearest pixel and fills with black. Here training sees the crops of
inference (``rigpose.models.crops``). A turned animal that leaves the frame is not cut off: the image still has it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from rigpose.arrays import Floats, Frames
from rigpose.models.crops import Crop, CropSpec, plan_crop
from rigpose_training.data.augmentation import RandomBBoxTransform
from rigpose_training.data.box_jitter import jitter
from rigpose_training.data.boxes import clipped, keypoint_boxes
from rigpose_training.data.truth import place
from rigpose_training.data.warp import Warp


@dataclass(frozen=True)
class Aim:
    """What a crop is cut around.

    Attributes:
        points: (M, 2) x, y [image px] that the box encloses: its corners, or keypoints (NaN missing).
        margin: Of the box around the points [px].
        spec: How the box becomes a crop.
        jitter: How the box is moved at random, or none.
    """

    points: Floats
    margin: float
    spec: CropSpec
    jitter: RandomBBoxTransform | None = None


def plan_around(aim: Aim, warp: Warp, rng: Generator) -> Crop:
    """The crop in the frame that a warp makes."""
    box = keypoint_boxes(place(aim.points, warp.points), aim.margin)
    if aim.jitter is not None:
        box = jitter(box, aim.jitter, rng)
    # The border of a warped frame is none of the image's.
    frame = warp.size if warp.still else None
    if frame is not None:
        box = clipped(box, frame)
    return plan_crop(box, frame, aim.spec)


def seen_through(warp: Warp, crop: Crop) -> Warp:
    """The warp of the image into the crop."""
    width, height = crop.size
    return Warp(crop.pixels @ warp.pixels, crop.points @ warp.points, (height, width), warp.order)


def cut(image: Frames, warp: Warp, crop: Crop) -> Frames:
    """The pixels of ``crop`` in the frame that ``warp`` makes of ``image`` (H, W, 3) -> (height, width, 3)."""
    width, height = crop.size
    if warp.still:
        out = np.empty((height, width, 3), np.uint8)
        crop.write(image, out)
        return out
    return _blackened(seen_through(warp, crop).image(image), crop)


def _blackened(view: Frames, crop: Crop) -> Frames:
    """``view`` with black where a crop without context shows nothing."""
    if crop.content == crop.window:
        return view
    content = np.array(crop.content, float).reshape(2, 2)
    # A pixel belongs to the content if its centre does.
    (left, top), (right, bottom) = np.round(crop.to_frame.inverse().apply(content)).astype(int)
    shown = np.zeros_like(view)
    shown[top:bottom, left:right] = view[top:bottom, left:right]
    return shown
