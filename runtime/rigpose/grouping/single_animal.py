"""One animal per frame: its keypoints are the candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rigpose.arrays import Floats
from rigpose.grouping.missing import finite_or_missing, present_only
from rigpose.poses import Poses


def group_single_animal(candidates: Mapping[str, Floats], _grouping: None = None) -> list[Poses]:
    """Read ``keypoints`` (B, K, 3) as one animal per frame, or per crop of a top-down model.

    As in DeepLabCut there is no threshold: every keypoint has a place, and its score says what it is worth.
    A keypoint with a NaN or infinite value is missing (NaN), never a place.

    Args:
        candidates: ``keypoints`` and, from a model with an identity head, ``identity`` (B, K, 1, I).
        _grouping: Nothing can be chosen here.
    """
    found = []
    for b, keypoints in enumerate(finite_or_missing(candidates["keypoints"])):
        poses = Poses.from_array(keypoints[None])
        if "identity" in candidates:
            poses = replace(poses, identity_scores=present_only(candidates["identity"][b].swapaxes(0, 1), poses.score))
        found.append(poses)
    return found
