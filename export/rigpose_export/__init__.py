"""Export: a trained shuffle, or a bare config and snapshot, to a bundle with proven parity."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rigpose_export.analysis import analyze_images as analyze_images
    from rigpose_export.analysis import analyze_videos as analyze_videos
    from rigpose_export.pack import export_bundle as export_bundle

_HOMES = {
    "analyze_images": "rigpose_export.analysis",
    "analyze_videos": "rigpose_export.analysis",
    "export_bundle": "rigpose_export.pack",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rigpose_export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
