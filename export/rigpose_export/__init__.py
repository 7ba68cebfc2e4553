"""Export: a trained shuffle, or a bare config and snapshot, to a bundle with proven parity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigpose.lazy import lazy_names

if TYPE_CHECKING:
    from rigpose_export.analysis import analyze_images as analyze_images
    from rigpose_export.analysis import analyze_videos as analyze_videos
    from rigpose_export.pack import export_bundle as export_bundle

_HOMES = {
    "analyze_images": "rigpose_export.analysis",
    "analyze_videos": "rigpose_export.analysis",
    "export_bundle": "rigpose_export.pack",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
