"""DeepLabCut-Live's parameters -> what they mean for a bundle, each refused with a sentence where they mean nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rigpose.analyzers.patch_search import PatchSearch
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.tracking_crop import DynamicCrop
from rigpose.errors import ConfigError
from rigpose.live.faults import LiveError
from rigpose.schema import suggest
from rigpose.videos.video import Crop

_BACKENDS = {
    "base": "onnxruntime",
    "pytorch": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "onnxruntime-tensorrt": "onnxruntime-tensorrt",
}


def backend_of(model_type: str) -> str:
    """What runs the graphs.

    Raises:
        LiveError: It cannot run a bundle.
    """
    if model_type not in _BACKENDS:
        raise LiveError(
            f"model_type: {model_type!r} does not run bundles{suggest(model_type, _BACKENDS)}; give one of "
            f"{', '.join(_BACKENDS)}."
        )
    return _BACKENDS[model_type]


def bundle_folder(path: str | Path) -> Path:
    """The bundle's folder.

    Raises:
        LiveError: It is one of DeepLabCut's files.
    """
    if Path(path).suffix in (".pt", ".pth", ".pb"):
        raise LiveError(
            f"{path}: is no bundle; export the shuffle with rigpose export on the computer that trained it, and give "
            "the folder that this writes."
        )
    return Path(path)


def part_of(cropping: Sequence[int] | None) -> Crop | None:
    """The part of the frames that is looked at; none for all of them.

    Raises:
        ConfigError: ``cropping`` are not four numbers.
    """
    if cropping is None:
        return None
    if len(cropping) != 4:
        raise ConfigError(f"cropping: {list(cropping)} are not x1, x2, y1, y2; give these four.")
    x1, x2, y1, y2 = (int(side) for side in cropping)
    return Crop(x1, x2, y1, y2)


def run_options(
    detector: Mapping[str, Any] | None,
    patches: Mapping[str, Any] | None,
    dynamic: tuple[bool, float, float],
    scale: float,
) -> RunOptions:
    """What is chosen for the run.

    Args:
        detector: ``top_down_config``.
        patches: ``top_down_dynamic``.
        dynamic: As there.
        scale: ``resize``; distances become those of the resized frame.

    Raises:
        LiveError: A key that the bundle decides, or that nothing here has.
        ConfigError: A value that makes no sense.
    """
    on, threshold, margin = dynamic
    crop = DynamicCrop(min_score=float(threshold), margin=math.ceil(margin * scale)) if on else None
    chosen = _known("top_down_config", detector or {}, ("bbox_cutoff", "max_detections", "skip_frames"))
    skip = _known("top_down_config.skip_frames", chosen.get("skip_frames") or {}, ("skip",))
    return RunOptions(
        detector_cutoff=chosen.get("bbox_cutoff"),
        max_animals=chosen.get("max_detections"),
        detect_every=max(1, int(skip.get("skip", 1))),
        dynamic_crop=crop,
        patch_search=None if patches is None else _search(patches, scale),
    )


def _search(patches: Mapping[str, Any], scale: float) -> PatchSearch:
    known = ("type", "patch_counts", "patch_overlap", "threshold", "min_bbox_size")
    given = _known("top_down_dynamic", patches, known)
    if given.get("type", "TopDownDynamicCropper") != "TopDownDynamicCropper":
        raise LiveError(f"top_down_dynamic: {given['type']!r} is not built; give TopDownDynamicCropper.")
    default = PatchSearch()
    columns, rows = given.get("patch_counts", (default.columns, default.rows))
    side = max(given.get("min_bbox_size", (default.least_side,)))
    return PatchSearch(
        columns=columns,
        rows=rows,
        overlap=math.ceil(given.get("patch_overlap", default.overlap) * scale),
        min_score=given.get("threshold", default.min_score),
        least_side=math.ceil(side * scale),
    )


def _known(where: str, given: Mapping[str, Any], known: tuple[str, ...]) -> Mapping[str, Any]:
    for key in given:
        if key not in known:
            raise LiveError(
                f"{where}.{key}: the bundle says this, or nothing here does{suggest(key, known)}; leave it out."
            )
    return given
