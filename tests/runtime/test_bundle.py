from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import rigpose
from rigpose.bundle import MANIFEST, Bundle
from rigpose.certificate import Tolerance, compare, read_certificate, replay
from rigpose.commands import check, inspect_bundle
from rigpose.commands.main import run
from rigpose.errors import BundleError
from rigpose.poses import Poses


@pytest.fixture
def copied(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy.bundle"))


def test_a_bundle_gives_the_training_frameworks_poses_on_this_machine(tiny_bundle: Path) -> None:
    analyzer = rigpose.load(tiny_bundle, device="cpu")
    difference = replay(analyzer, analyzer.bundle)
    assert difference.within and difference.keypoints > 0
    assert read_certificate(analyzer.bundle).passed


def test_a_changed_byte_anywhere_is_found(copied: Path) -> None:
    files = sorted(p for p in copied.rglob("*") if p.is_file())
    assert {p.name for p in files} > {MANIFEST, "pose.onnx", "parity.yaml", "keypoints.npy", "000.png"}
    for path in files:
        original = path.read_bytes()
        middle = len(original) // 2
        path.write_bytes(original[:middle] + bytes([original[middle] ^ 1]) + original[middle + 1 :])
        with pytest.raises(BundleError, match=r"again"):
            Bundle.open(copied)
        path.write_bytes(original)
    Bundle.open(copied)


def test_every_cut_manifest_is_refused(copied: Path) -> None:
    text = (copied / MANIFEST).read_text()
    for length in range(0, len(text), 97):
        (copied / MANIFEST).write_text(text[:length])
        with pytest.raises(BundleError):
            Bundle.open(copied)


def test_a_missing_file_and_a_folder_that_is_no_bundle_are_said(copied: Path, tmp_path: Path) -> None:
    (copied / "pose.onnx").unlink()
    with pytest.raises(BundleError, match=r"pose\.onnx is missing"):
        Bundle.open(copied)
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.open(tmp_path)


def test_other_weights_fail_the_check(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A session whose poses are shifted by half a cell must not pass the golden frames."""
    analyzer = rigpose.load(copied, device="cpu")

    class Shifted:
        device = "cpu"

        def run(self, inputs):
            found = analyzer_session.run(inputs)
            return {"keypoints": found["keypoints"] + np.array([4.0, 0.0, 0.0], np.float32)}

    analyzer_session, analyzer.session = analyzer.session, Shifted()
    difference = replay(analyzer, analyzer.bundle)
    assert not difference.within
    assert difference.worst_px == pytest.approx(4.0, abs=0.01)


def test_inspect_and_check_print_what_a_person_needs(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    assert run(inspect_bundle.COMMAND, argparse.Namespace(bundle=str(tiny_bundle))) == 0
    assert run(check.COMMAND, argparse.Namespace(bundle=str(tiny_bundle), device="cpu")) == 0
    printed = capsys.readouterr().out
    for word in ("snout", "frames (batch, height, width, 3) uint8", "passed", "PASSED"):
        assert word in printed


def test_an_error_is_one_sentence_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    assert run(inspect_bundle.COMMAND, argparse.Namespace(bundle=str(tmp_path / "nothing"))) == 1
    error = capsys.readouterr().err
    assert error.startswith("rigpose inspect: ") and error.count("\n") == 1 and "Traceback" not in error


def test_prediction_keeps_order_and_takes_mixed_sizes(tiny_bundle: Path) -> None:
    analyzer = rigpose.load(tiny_bundle, device="cpu")
    rng = np.random.default_rng(0)
    sizes = [(96, 128), (96, 128), (64, 80), (96, 128)]
    frames = [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    together = analyzer.predict(frames)
    alone = [analyzer.predict(frame)[0] for frame in frames]
    assert compare(alone, together, Tolerance()).within
    assert len({poses.xy.tobytes() for poses in together}) == len(frames)


def test_an_animal_too_many_and_a_keypoint_missing_on_one_side_are_beyond_any_tolerance() -> None:
    one = Poses.from_array(np.zeros((1, 2, 3), np.float32))
    missing = Poses.from_array(np.array([[[0, 0, 0], [np.nan, np.nan, np.nan]]], np.float32))
    assert compare([one], [one], Tolerance()).within
    assert not compare([one], [Poses.empty(2)], Tolerance()).within
    assert not compare([one], [missing], Tolerance()).within
    assert compare([missing], [missing], Tolerance()).within
