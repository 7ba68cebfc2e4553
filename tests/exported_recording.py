"""The bundle of a snapshot that DeepLabCut trained on openfield, and the clip that was recorded with it."""

from __future__ import annotations

from pathlib import Path

from exported_once import made_once

from rigpose.bundles.bundle import Bundle
from rigpose_export.pack import export_bundle
from rigpose_export.source import pair_source


def recording(golden: Path) -> Path:
    """The folder of configuration, snapshot, clip, and what DeepLabCut wrote of it."""
    return golden / "snapshots" / "openfield_resnet_50"


def recorded_bundle(shared: Path, golden: Path) -> Bundle:
    """Made once in a run of tests, which only read it."""
    recorded = recording(golden)
    snapshot = next(recorded.glob("snapshot*.pt"))
    source = pair_source(recorded / "pytorch_config.yaml", snapshot, frames=[recorded / "clip120.mp4"])
    return Bundle.open(made_once(shared, "openfield", lambda folder: export_bundle(source, folder / "b")) / "b")
