"""A calibration goes into the bundle, which groups with it only when asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibrated_scenes import bodies
from exported_families import family_config, family_source

import rigpose
from rigpose.analyzers.run_options import RunOptions
from rigpose.models.model_spec import PafGrouping
from rigpose.models.paf_calibration import PafCalibration
from rigpose_export.pack import export_bundle


@pytest.mark.slow
def test_a_bundle_keeps_its_calibration_and_uses_it_when_asked(tmp_path: Path) -> None:
    source = family_source(tmp_path, family_config("resnet_50"))
    rng = np.random.default_rng(0)
    parts = len(source.config["metadata"]["bodyparts"])
    calibration = PafCalibration.measured(bodies(rng, rng.normal(0, 9, (parts, 2)), 80))
    bundle = export_bundle(replace(source, calibration=calibration), tmp_path / "b")
    grouping = bundle.manifest.model.grouping
    assert isinstance(grouping, PafGrouping)
    assert grouping.calibration == calibration and not grouping.use_calibration
    asked = rigpose.load(bundle.path, device="cpu", options=RunOptions(grouping={"use_calibration": True}))
    plain = rigpose.load(bundle.path, device="cpu")
    assert isinstance(asked.spec.grouping, PafGrouping) and asked.spec.grouping.use_calibration
    frames = np.stack(source.frames[:3])
    found, before = asked.predict(frames), plain.predict(frames)
    assert any(one.to_array().tobytes() != other.to_array().tobytes() for one, other in zip(found, before, strict=True))
