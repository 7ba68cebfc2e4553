"""A labelled image, whatever file it came from, and many of them as a COCO mapping."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rigpose.arrays import Floats
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
    """

    path: Path
    xy: Floats
    unique_xy: Floats
    size: tuple[int, int] | None = None


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
        else replace(image, xy=_clipped(image.xy, image.size), unique_xy=_clipped(image.unique_xy, image.size))
        for image in images
    ]
    lost = [_labelled(before) - _labelled(after) for before, after in zip(images, inside, strict=True)]
    if any(lost):
        first = next(image.path for image, count in zip(images, lost, strict=True) if count)
        LOG.warning("%d labels lie outside their image and are not used, the first in %s.", sum(lost), first)
    return inside


def _clipped(xy: Floats, size: tuple[int, int]) -> Floats:
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
    visibility 2 or 0 (0, 0, 0 where not visible, as COCO wants), its ``bbox`` is x, y, width, height around the
    visible ones with ``bbox_margin``, inside the image. Unique bodyparts are category 2 with ``individual_id`` -1.
    """
    categories = [_category(1, "animals", bodyparts)]
    if unique_bodyparts:
        categories.append(_category(2, "unique_bodypart", unique_bodyparts))
    records, annotations = [], []
    for image_id, image in enumerate(images, start=1):
        height, width = image.size or image_shape(image.path)[1:]
        records.append({"id": image_id, "file_name": str(image.path), "width": width, "height": height})
        animals = [(1, i, name, xy) for i, (name, xy) in enumerate(zip(individuals, image.xy, strict=True))]
        if unique_bodyparts:
            animals.append((2, -1, "single", image.unique_xy))
        for category, number, name, xy in animals:
            if not np.isnan(xy).all():
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": category,
                        "individual": name,
                        "individual_id": number,
                        **_shape(xy, (height, width), bbox_margin),
                        "iscrowd": 0,
                    }
                )
    return {"images": records, "annotations": annotations, "categories": categories}


def _category(number: int, name: str, keypoints: Sequence[str]) -> dict[str, Any]:
    return {"id": number, "name": name, "supercategory": "animal", "keypoints": list(keypoints)}


def _shape(xy: Floats, size: tuple[int, int], margin: int) -> Mapping[str, Any]:
    limit = np.array(size[::-1], np.float64)
    low = np.clip(np.nanmin(xy, axis=0).astype(np.float64) - margin, 0, limit)
    high = np.clip(np.nanmax(xy, axis=0).astype(np.float64) + margin, 0, limit)
    width, height = (high - low).tolist()
    return {
        "num_keypoints": int((~np.isnan(xy[:, 0])).sum()),
        "keypoints": np.nan_to_num(with_visibility(xy).astype(np.float64)),
        "bbox": [*low.tolist(), width, height],
        "area": max(1.0, width * height),
    }
