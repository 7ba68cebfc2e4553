"""A labelled image, whatever file it came from, and many of them as a COCO mapping."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Array, Floats
from rigpose_training.data.boxes import clipped, keypoint_boxes, without_empty
from rigpose_training.data.truth import Truth
from rigpose_training.project.labels import Labels, image_shape

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledImage:
    """One image and where its animals are.

    Attributes:
        path: The image file.
        xy: (N, K, 2) float32 x, y [image px]; NaN where a keypoint is not visible.
        unique_xy: (U, 2) float32 x, y [image px] of the unique bodyparts; NaN likewise.
        size: (H, W) [px], where it is known without decoding the image.
        boxes: (N, 4) x, y, width, height [image px] inside the image, NaN for no animal; none where nobody asked.
        unjudged: (N, K) bool, keypoints of which the file does not say whether they are visible; none for no one.
        crowd: (N,) bool, boxes of several animals at once; none for no one.
    """

    path: Path
    xy: Floats
    unique_xy: Floats
    size: tuple[int, int] | None = None
    boxes: Floats | None = None
    unjudged: Array | None = None
    crowd: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) [px], from the file's header where need be."""
        return self.size or image_shape(self.path)[1:]


def truth_of(image: LabelledImage, *, animals: int, unique: int) -> Truth:
    """The labels of an image with a row for each of the project's individuals, and of its unique bodyparts."""
    parts = image.xy.shape[1]
    missing = animals - len(image.xy)
    boxes = np.full((len(image.xy), 4), np.nan) if image.boxes is None else image.boxes
    unjudged = np.zeros(image.xy.shape[:2], bool) if image.unjudged is None else image.unjudged
    crowd = np.zeros(len(image.xy), bool) if image.crowd is None else image.crowd
    return Truth(
        keypoints=np.concatenate([image.xy, np.full((missing, parts, 2), np.nan, np.float32)]),
        unique=image.unique_xy if len(image.unique_xy) else np.full((unique, 2), np.nan, np.float32),
        boxes=np.concatenate([boxes, np.full((missing, 4), np.nan)]),
        unjudged=np.concatenate([unjudged, np.zeros((missing, parts), bool)]),
        crowd=np.concatenate([crowd, np.zeros(missing, bool)]),
    )


def labelled_images(root: Path, labels: Labels, rows: Sequence[int]) -> list[LabelledImage]:
    """Some rows of a project's labels, with the sizes that the image files state."""
    return [
        LabelledImage(
            path=root / labels.images[row],
            xy=labels.xy[row],
            unique_xy=labels.unique_xy[row],
            size=image_shape(root / labels.images[row])[1:],
        )
        for row in rows
    ]


def without_outsiders(images: list[LabelledImage]) -> list[LabelledImage]:
    """The images without labels on or outside their border, which one warning counts."""
    inside = [
        image
        if image.size is None
        else replace(image, xy=_visible(image.xy, image.size), unique_xy=_visible(image.unique_xy, image.size))
        for image in images
    ]
    lost = [_labelled(before) - _labelled(after) for before, after in zip(images, inside, strict=True)]
    if any(lost):
        first = next(image.path for image, count in zip(images, lost, strict=True) if count)
        LOG.warning("%d labels lie outside their image and are not used, the first in %s.", sum(lost), first)
    return inside


def with_boxes(images: Sequence[LabelledImage], margin: float) -> list[LabelledImage]:
    """The images with a box for each animal: the one that the file has, else its keypoints with a margin [px].

    Boxes end at the image's border; what has no width or height there is no box.
    """
    return [replace(image, boxes=without_empty(_boxes(image, margin))) for image in images]


def _boxes(image: LabelledImage, margin: float) -> Floats:
    found = keypoint_boxes(image.xy, margin)
    if image.boxes is not None:
        found = np.where(np.isnan(image.boxes), found, image.boxes)
    return clipped(found, image.shape)


def _visible(xy: Floats, size: tuple[int, int]) -> Floats:
    inside = ((xy > 0) & (xy < np.array(size[::-1], xy.dtype))).all(axis=-1, keepdims=True)
    return np.where(inside, xy, np.array(np.nan, xy.dtype))


def _labelled(image: LabelledImage) -> int:
    return sum(int((~np.isnan(xy[..., 0])).sum()) for xy in (image.xy, image.unique_xy))


def with_visibility(xy: Floats) -> Floats:
    """(..., 2) x, y [px], NaN missing -> (..., 3) with 2 where visible and 0 where not."""
    visibility = np.where(np.isnan(xy[..., :1]), 0, 2).astype(xy.dtype)
    return np.concatenate([xy, visibility], axis=-1)


def to_coco(
    images: Sequence[LabelledImage],
    individuals: Sequence[str],
    bodyparts: Sequence[str],
    unique_bodyparts: Sequence[str] = (),
    *,
    bbox_margin: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Images as a COCO mapping: ``images``, ``annotations`` and ``categories``.

    An annotation is an animal with at least one visible keypoint. Its ``keypoints`` are (K, 3) x, y [image px],
    visibility 2 or 0 (0, 0, 0 where not visible, as COCO wants), its ``bbox`` is x, y, width, height: the image's
    own, or around the visible ones with ``bbox_margin``, inside the image. Unique bodyparts are category 2 with
    ``individual_id`` -1.
    """
    categories = [_category(1, "animals", bodyparts)]
    if unique_bodyparts:
        categories.append(_category(2, "unique_bodypart", unique_bodyparts))
    records, annotations = [], []
    for image_id, image in enumerate(images, start=1):
        height, width = image.shape
        records.append({"id": image_id, "file_name": str(image.path), "width": width, "height": height})
        boxes = _boxes(image, bbox_margin)
        animals = [(1, i, name, image.xy[i], boxes[i]) for i, name in enumerate(individuals)]
        if unique_bodyparts:
            box = clipped(keypoint_boxes(image.unique_xy, bbox_margin), image.shape)
            animals.append((2, -1, "single", image.unique_xy, box))
        for category, number, name, xy, box in animals:
            if not np.isnan(xy).all():
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "individual": name,
                        "individual_id": number,
                        **_shape(xy, box),
                        "iscrowd": 0,
                    }
                )
    return {"images": records, "annotations": annotations, "categories": categories}


def _category(number: int, name: str, keypoints: Sequence[str]) -> dict[str, Any]:
    return {"id": number, "name": name, "supercategory": "animal", "keypoints": list(keypoints)}


def _shape(xy: Floats, box: Floats) -> Mapping[str, Any]:
    return {
        "num_keypoints": int((~np.isnan(xy[:, 0])).sum()),
        "keypoints": np.nan_to_num(with_visibility(xy).astype(np.float64)),
        "bbox": box.tolist(),
        "area": max(1.0, float(box[2] * box[3])),
    }
