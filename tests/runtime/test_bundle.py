from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import rigpose
from rigpose.bundles.bundle import MANIFEST, Bundle, seal
from rigpose.bundles.certificate import read_certificate
from rigpose.bundles.golden import Golden, Told, read_golden, write_golden
from rigpose.commands import check, inspect_bundle
from rigpose.commands.main import run
from rigpose.errors import BackendError, BundleError
from rigpose.measures.differences import Difference, Tolerance, compare
from rigpose.measures.drift import drift
from rigpose.parity.replay import open_sessions, replay
from rigpose.poses import Poses


@pytest.fixture
def copied(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy.bundle"))


def test_a_bundle_gives_the_training_frameworks_poses_on_this_machine(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    (difference,) = replay(bundle, open_sessions(bundle, device="cpu")).values()
    assert difference.within and difference.compared > 0
    assert all(graph.verdict == "passed" for graph in read_certificate(bundle).graphs)


def test_a_changed_byte_anywhere_is_found(copied: Path) -> None:
    files = sorted(p for p in copied.rglob("*") if p.is_file())
    assert {p.name for p in files} > {MANIFEST, "pose.onnx", "parity.yaml", "answers.npz", "000.png"}
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


def test_other_weights_fail_the_check(copied: Path) -> None:
    """A session whose poses are shifted by half a cell must not pass the golden frames."""
    bundle = Bundle.open(copied)
    session = open_sessions(bundle, device="cpu")["pose"]

    class Shifted:
        device = "cpu"

        def run(self, inputs):
            found = session.run(inputs)
            return {"keypoints": found["keypoints"] + np.array([4.0, 0.0, 0.0], np.float32)}

    difference = replay(bundle, {"pose": Shifted()})["pose"]
    assert not difference.within
    assert difference.worst_px == pytest.approx(4.0, abs=0.01)


def test_inspect_and_check_print_what_a_person_needs(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(inspect_bundle.COMMAND, argparse.Namespace(bundle=str(tiny_bundle))) == 0
    assert (
        run(
            check.COMMAND,
            argparse.Namespace(bundle=str(tiny_bundle), device="cpu", backend="onnxruntime", precision=None),
        )
        == 0
    )
    printed = capsys.readouterr().out
    for word in ("snout", "frames (batch, height, width, 3) uint8", "passed", "PASSED in fp32:"):
        assert word in printed


def test_check_says_which_precision_does_not_run_here_and_fails_where_that_was_asked_for(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def checked(backend: str, precision: str | None, runs: str) -> int:
        def opened(bundle: Bundle, *, precision: str, **_: object) -> object:
            if precision != runs:
                raise BackendError(f"no {precision} here.")
            return open_sessions(bundle, device="cpu")

        monkeypatch.setattr(check, "precisions_for", lambda *_: ("fp32", "fp16"))
        monkeypatch.setattr(check, "open_sessions", opened)
        monkeypatch.setattr(check, "_in_other_precision", lambda *_: 0)
        words = argparse.Namespace(bundle=str(tiny_bundle), device="cpu", backend=backend, precision=precision)
        return run(check.COMMAND, words)

    assert checked("onnxruntime", None, "fp32") == 0
    said = capsys.readouterr().out
    assert "NOT CHECKED in fp16, which does not run here: no fp16 here." in said and "PASSED in fp32:" in said
    assert checked("onnxruntime", "fp16", "fp32") == 1
    monkeypatch.setattr(check, "_in_fp32", lambda *_: 2)
    assert checked("onnxruntime", None, "fp32") == 1
    said = capsys.readouterr().out
    assert "FAILED in fp32: 2 differ; do not use this machine for this bundle in fp32" in said and "PASSED" not in said
    # Engines are built for one precision at a time; ONNX Runtime without fp32 is broken.
    assert checked("tensorrt", None, "fp16") == 0 and "PASSED in fp16:" in capsys.readouterr().out
    assert checked("onnxruntime", None, "fp16") == 1 and "PASSED" not in capsys.readouterr().out
    assert checked("tensorrt", None, "none") == 1 and "no fp32 here" in capsys.readouterr().err


def test_an_error_is_one_sentence_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def _moved(poses: Poses, pixels: float) -> Poses:
    return Poses(poses.xy + np.float32(pixels), poses.score)


def test_an_answer_that_the_reference_gives_under_rounding_is_right_and_any_other_is_not() -> None:
    one = Poses.from_array(np.full((1, 2, 3), 0.5, np.float32))
    two = Poses.from_array(np.full((2, 2, 3), 0.5, np.float32))
    tie = compare([one], [_moved(one, 8)], Tolerance(), also=[[_moved(one, 8)]])
    assert tie.within and tie.ties == 2 and tie.worst_px == 0
    assert not compare([one], [_moved(one, 4)], Tolerance(), also=[[_moved(one, 8)]]).within
    assert compare([one], [two], Tolerance(), also=[[two]]).within
    assert not compare([one], [_moved(two, 1)], Tolerance(), also=[[two]]).within


def test_what_belongs_to_an_animal_or_to_the_frame_is_compared_too() -> None:
    right = Poses(
        np.ones((2, 3, 2), np.float32),
        np.ones((2, 3), np.float32),
        animal_score=np.array([0.5, 0.25], np.float32),
        identity=np.array([0, 1]),
        identity_scores=np.full((2, 3, 2), 0.5, np.float32),
        unique=np.array([[3, 4, 0.5]], np.float32),
    )
    assert compare([right], [right], Tolerance()) == Difference(7, 0.0, 0.0, 0.0, 0.0, beyond=0)
    for name, change, beyond in (
        ("animal_score", np.array([0, 0.01], np.float32), 3),
        ("identity", np.array([1, -1]), 6),
        ("identity_scores", np.float32(0.01), 6),
        ("unique", np.array([[1, 0, 0]], np.float32), 1),
    ):
        wrong = replace(right, **{name: getattr(right, name) + change})
        assert compare([right], [wrong], Tolerance()).beyond == beyond


def test_scores_may_differ_by_less_than_cutoffs_are_said_with() -> None:
    one = Poses(np.ones((1, 3, 2), np.float32), np.full((1, 3), 0.5, np.float32))
    for change, within in ((0.0004, True), (0.0006, False)):
        other = replace(one, score=one.score + np.float32(change))
        assert compare([one], [other], Tolerance()).within == within


def test_golden_answers_of_any_number_of_animals_survive_the_file(copied: Path) -> None:
    rng = np.random.default_rng(0)

    def some(count: int) -> Poses:
        return Poses(rng.random((count, 4, 2)), rng.random((count, 4)), boxes=rng.random((count, 4)))

    bundle = Bundle.open(copied)
    frames = tuple(rng.integers(0, 256, (3, 8, 9, 3)).astype(np.uint8))
    boxes = tuple(rng.random((count, 4)) for count in (2, 0, 1))
    answers = tuple(tuple(some(count) for count in counts) for counts in ((2, 0, 1), (1, 0, 1)))
    write_golden(copied, Golden(frames, Told(boxes), answers))
    read = read_golden(bundle)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.told.conditions is None and read.told.boxes is not None and read.found == ()
    for ours, theirs in zip(read.told.boxes, boxes, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(sum(read.answers, ()), sum(answers, ()), strict=True):
        np.testing.assert_array_equal(ours.to_array(), theirs.to_array())
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)


@pytest.mark.parametrize("graphs", ["no pose graph", "a graph too many"])
def test_graphs_that_do_not_fit_the_model_are_refused(copied: Path, graphs: str) -> None:
    bundle = Bundle.open(copied)
    pose = bundle.manifest.graph("pose")
    other = replace(pose, role="detector")
    wrong = (other,) if graphs == "no pose graph" else (pose, other)
    seal(copied, replace(bundle.manifest, graphs=wrong))
    with pytest.raises(BundleError, match=r"has graphs for .*detector, and its model needs pose"):
        Bundle.open(copied)


def _three_animals() -> Poses:
    """Two of them score alike, and the second has no second keypoint."""
    array = np.array(
        [[[10, 10, 0.9], [20, 10, 0.9]], [[60, 60, 0.5], [np.nan] * 3], [[90, 20, 0.5], [95, 20, 0.5]]], np.float32
    )
    return Poses(array[..., :2], array[..., 2], animal_score=np.array([0.9, 0.5, 0.5], np.float32))


def test_animals_of_equal_score_in_another_order_are_the_same_animals() -> None:
    poses = _three_animals()
    swapped = compare([poses], [poses.take(np.array([0, 2, 1]))], Tolerance())
    assert swapped.within and (swapped.worst_px, swapped.missing) == (0, 0)
    # Where something else is wrong, the distances are still those of the same animals.
    wrong = compare([poses], [_moved(poses, 0.5).take(np.array([2, 0, 1]))], Tolerance())
    assert not wrong.within and wrong.worst_px == pytest.approx(0.5 * 2**0.5) and wrong.missing == 0


def test_what_only_one_side_has_is_counted_and_has_no_distance() -> None:
    poses = _three_animals()
    fewer = compare([poses], [poses.take(np.array([2, 0]))], Tolerance())
    assert (fewer.beyond, fewer.missing, fewer.worst_px) == (2, 2, 0.0)
    other = Poses.from_array(np.array([[[10, 10, 0.9], [np.nan] * 3]], np.float32))
    one = Poses.from_array(np.array([[[10, 10, 0.9], [20, 10, 0.9]]], np.float32))
    half = compare([one], [other], Tolerance())
    assert (half.compared, half.missing, half.worst_px) == (2, 1, 0.0) and not half.within


def test_drift_is_of_sure_keypoints_and_counts_the_others_that_are_elsewhere() -> None:
    poses = _three_animals()
    # Fewer than half score 0.6: the better half is looked at, here all, since the median is the least score.
    sure = drift([poses], [_moved(poses, 0.3).take(np.array([2, 1, 0]))])
    assert (sure.compared, sure.lost, sure.unsure, sure.flips, sure.sure_score) == (5, 0, 0, 0, 0.5)
    assert sure.worst_px == pytest.approx(0.3 * 2**0.5, abs=1e-5) and sure.median_px == pytest.approx(
        sure.p99_px, abs=1e-5
    )
    clear = Poses(poses.xy, np.array([[0.9, 0.9], [0.3, np.nan], [0.8, 0.8]], np.float32))
    other = _moved(clear, 0.1)
    other.xy[1, 0] += 8
    found = drift([clear], [other])
    assert (found.compared, found.lost, found.unsure, found.flips, found.sure_score) == (4, 0, 1, 1, 0.6)
    assert found.p99_px == pytest.approx(0.1 * 2**0.5, abs=1e-5)
    gone = drift([clear], [other.take(np.array([0, 1]))])
    assert (gone.compared, gone.lost) == (4, 2)
    nothing = drift([clear], [Poses.empty(2)])
    assert (nothing.compared, nothing.lost, nothing.p99_px) == (4, 4, 0.0)
    assert drift([Poses.empty(2)], [clear]).compared == 0
