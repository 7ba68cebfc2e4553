"""``auto``: the fastest that keeps the bound is taken, said, remembered, and measured anew where that is due."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_bundle import KEYPOINTS, write_bundle
from drawn_video import write_video

import rigpose
from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array
from rigpose.bundles.bundle import PARITY, Bundle, GraphSpec, Manifest, seal
from rigpose.bundles.certificate import Bounds, Certificate, GraphCertificate, Loss, Structure
from rigpose.bundles.golden import Golden, Told, write_golden
from rigpose.choice import backend as room
from rigpose.choice import remembered, timing
from rigpose.choice.backend import ACCURACY_PX, AutoOptions, Chosen, choose_backend
from rigpose.choice.batch import choose_batch, smallest_that_pays
from rigpose.choice.candidates import candidates
from rigpose.choice.timing import median_seconds
from rigpose.commands import analyze
from rigpose.commands.main import run
from rigpose.errors import BackendError, ConfigError
from rigpose.files.results import ResultFiles
from rigpose.measures.differences import Tolerance
from rigpose.measures.drift import Drift
from rigpose.poses import Poses
from rigpose.schema import to_mapping
from rigpose.sessions.backends import Backend

RIGHT = np.array([[20, 20, 0.9], [40, 25, 0.9], [30, 50, 0.9], [60, 60, 0.9]], np.float32)
CPU = candidates("auto", "auto", "cpu", 1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(timing, "SECONDS", 0.5)
    return tmp_path / "cache" / "rigpose" / "choices"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle with int8 graphs whose certificate says 0.1 px for ONNX Runtime and 0.5 px for OpenVINO."""
    drawn = write_bundle(tmp_path / "bundle")
    fp32 = drawn.manifest.graph("pose")
    ours = replace(fp32, file="pose.int8.onnx", precision="int8", backends=("onnxruntime",))
    theirs = replace(fp32, file="pose.int8-symmetric.onnx", precision="int8", backends=("openvino",))
    return certified(drawn, {ours: 0.1, theirs: 0.5})


def certified(drawn: Bundle, losses: Mapping[GraphSpec, float]) -> Bundle:
    """The bundle with golden frames, these graphs (which have no files) and what they lose."""
    frames = tuple(np.random.default_rng(i).integers(0, 255, (64, 96, 3), np.uint8) for i in range(3))
    answers = tuple(Poses.from_array(RIGHT[None]) for _ in frames)
    write_golden(drawn.path, Golden(frames, Told(), (answers,)))
    graphs = []
    for graph, px in losses.items():
        drift = Drift(100, 0, px, px, px, px, 0.0, 0.6, 0, 0)
        loss = Loss(10, drift, drift, Bounds(None, 0.05, 0.05), ())
        structure = Structure(20, 1, {})
        backend = "openvino" if graph.backends == ("openvino",) else "onnxruntime"
        graphs.append(
            GraphCertificate(
                graph.file, "pose", graph.precision, "pose.onnx", structure, {}, (), loss, 0.0, None, "passed", backend
            )
        )
    certificate = Certificate({}, "torch", "x", "y", "z", Tolerance(), {}, tuple(graphs))
    (drawn.path / PARITY).write_text(yaml.safe_dump(to_mapping(certificate)), encoding="utf-8")
    manifest: Manifest = replace(drawn.manifest, graphs=(*drawn.manifest.graphs, *losses))
    seal(drawn.path, manifest)
    return Bundle.open(drawn.path)


class Timed:
    """A network that takes its time and misses by so much."""

    device = "cpu"

    def __init__(self, milliseconds: float, off_px: float = 0) -> None:
        self.milliseconds, self.off_px = milliseconds, off_px

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        count = len(inputs["frames"])
        time.sleep(self.milliseconds * count / 1000)
        return {"keypoints": np.tile(RIGHT + np.array([self.off_px, 0, 0], np.float32), (count, 1, 1))}


def opener(bundle: Bundle, **sessions: Timed) -> Callable[[Backend], Any]:
    """Opens what was given as ``openvino_bf16=...``; all else cannot run."""

    def opened(runs: Backend) -> Analyzer:
        name = f"{runs.name}_{runs.precision}"
        if name not in sessions:
            raise BackendError(f"{name}: is not installed; install it.")
        return Analyzer(bundle.manifest.model, sessions[name])

    return opened


def chosen(bundle: Bundle, options: AutoOptions | None = None, /, **sessions: Timed) -> Chosen[Any]:
    open_with = opener(bundle, **sessions)
    return choose_backend(bundle, CPU, open_with, options or AutoOptions(), judged=True, chain=False, also={})


def taken(found: Chosen[Any]) -> tuple[str, str]:
    first = found.choice.measured[0]
    return first.backend, first.precision


EACH = {
    "onnxruntime_fp32": Timed(120),
    "openvino_fp32": Timed(160),
    "onnxruntime_int8": Timed(80, 5),
    "openvino_int8": Timed(1),
    "openvino_bf16": Timed(40, 0.3),
}


def test_the_fastest_within_the_bound_is_taken(bundle: Bundle) -> None:
    # int8 is judged by the certificate, whatever the golden frames give; bf16 by the golden frames.
    found = chosen(bundle, **EACH)
    assert taken(found) == ("onnxruntime", "int8") and found.analyzer.session is EACH["onnxruntime_int8"]
    said = found.choice.sentence
    assert "auto: onnxruntime int8" in said and "0.100 px" in said and "by the certificate" in said
    assert "not within the bound: openvino int8" in said and "openvino bf16" in said and "0.300 px" in said
    assert "slower: onnxruntime fp32" in said and "\n" not in said
    assert taken(chosen(bundle, AutoOptions(accuracy_px=0.4), **EACH)) == ("openvino", "bf16")
    assert taken(chosen(bundle, AutoOptions(accuracy_px=0.6), **EACH)) == ("openvino", "int8")
    assert taken(chosen(bundle, AutoOptions(accuracy_px=0), **EACH)) == ("onnxruntime", "fp32")


def test_times_are_per_frame_and_right(bundle: Bundle) -> None:
    found = {(m.backend, m.precision): m.milliseconds for m in chosen(bundle, **EACH).choice.measured}
    for (backend, precision), milliseconds in found.items():
        asked = EACH[f"{backend}_{precision}"].milliseconds
        # A busy machine wakes a sleeping thread late, and never early.
        assert milliseconds is not None and asked <= milliseconds < asked + 60


def test_what_cannot_run_is_said_and_nothing_that_can_is_an_error(bundle: Bundle) -> None:
    said = chosen(bundle, onnxruntime_fp32=Timed(1)).choice.sentence
    assert "openvino bf16 cannot run (openvino_bf16: is not installed; install it)" in said
    # What was remembered does not run any more, and so everything is tried anew.
    assert taken(chosen(bundle, openvino_fp32=Timed(1))) == ("openvino", "fp32")
    with pytest.raises(BackendError, match="onnxruntime_fp32: is not installed"):
        chosen(bundle)
    with pytest.raises(ConfigError, match=r"nothing that can run here stays within 0.2 px .* larger --accuracy"):
        chosen(bundle, AutoOptions(again=True), openvino_bf16=Timed(1, 0.3))


def test_keypoints_that_are_lost_are_beyond_any_bound(bundle: Bundle) -> None:
    class Blind(Timed):
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            found = super().run(inputs)["keypoints"]
            found[:, 0] = np.nan
            return {"keypoints": found}

    found = chosen(bundle, AutoOptions(accuracy_px=9), onnxruntime_fp32=Timed(50), openvino_bf16=Blind(0))
    assert taken(found) == ("onnxruntime", "fp32") and "3 of 12 lost" in found.choice.sentence


def test_behind_a_detector_the_whole_chain_is_judged(bundle: Bundle) -> None:
    sessions = {"onnxruntime_fp32": Timed(60), "onnxruntime_int8": Timed(1, 1.0)}

    def choose(*, chain: bool) -> tuple[str, str]:
        open_with = opener(bundle, **sessions)
        return taken(choose_backend(bundle, CPU, open_with, AutoOptions(), judged=True, chain=chain, also={}))

    assert choose(chain=False) == ("onnxruntime", "int8")
    for file in Path(remembered.cache_home()).rglob("*.json"):
        file.unlink()
    assert choose(chain=True) == ("onnxruntime", "fp32")


def test_a_choice_is_remembered_until_something_changes(
    bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = {"onnxruntime_fp32": Timed(1), "openvino_fp32": Timed(60)}
    slow = {"onnxruntime_fp32": Timed(60), "openvino_fp32": Timed(1)}
    assert taken(chosen(bundle, **fast)) == ("onnxruntime", "fp32")
    again = chosen(bundle, **slow)
    assert taken(again) == ("onnxruntime", "fp32") and again.analyzer.session is slow["onnxruntime_fp32"]
    assert again.choice.remembered and "measured in an earlier run, --choose-again" in again.choice.sentence
    assert taken(chosen(bundle, AutoOptions(frame_size=(128, 96)), **slow)) == ("openvino", "fp32")
    assert taken(chosen(bundle, AutoOptions(accuracy_px=0.3), **slow)) == ("openvino", "fp32")
    assert taken(chosen(bundle, AutoOptions(again=True), **slow)) == ("openvino", "fp32")
    assert taken(chosen(bundle, **fast)) == ("openvino", "fp32")  # what was measured again is what is remembered
    monkeypatch.setattr(room, "this_machine", lambda: {"processor": "another"})
    assert taken(chosen(bundle, **fast)) == ("onnxruntime", "fp32")
    assert len(list(cache.glob("*.json"))) == 4 and not list(cache.glob("*.part"))
    assert not list(bundle.path.rglob("*.json"))


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 0}', "other question", "other answer"])
def test_a_file_that_is_broken_or_stale_is_measured_anew(bundle: Bundle, cache: Path, damage: str) -> None:
    fast = {"onnxruntime_fp32": Timed(0), "openvino_fp32": Timed(60)}
    slow = {"onnxruntime_fp32": Timed(60), "openvino_fp32": Timed(0)}
    chosen(bundle, **fast)
    (file,) = cache.glob("*.json")
    held = json.loads(file.read_text())
    if damage == "other question":
        held["question"]["bundle"] = "x"
    if damage == "other answer":
        held["answer"]["measured"] = [{"backend": "gone"}]
    file.write_text(json.dumps(held) if damage.startswith("other") else damage)
    assert taken(chosen(bundle, **slow)) == ("openvino", "fp32")
    assert chosen(bundle, **fast).choice.remembered


def test_a_cache_that_cannot_be_written_is_said(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said = chosen(bundle, onnxruntime_fp32=Timed(0)).choice.sentence
    assert "cannot be written" in said and "next run measures again" in said


def test_turns_leave_out_what_is_hopeless() -> None:
    turns = {"fast": 0, "near": 0, "slow": 0}

    def task(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            turns[name] += 1
            time.sleep(seconds)

        return run

    found = median_seconds({"slow": task("slow", 0.4), "fast": task("fast", 0.02), "near": task("near", 0.025)})
    assert min(found, key=lambda name: found[name]) != "slow" and found["slow"] >= 0.4
    assert turns["slow"] == 3 and turns["fast"] == turns["near"] >= 4


def test_words_say_what_comes_into_question() -> None:
    assert {(b.name, b.precision) for b in CPU} == {
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    }
    assert [b.precision for b in CPU[:2]] == ["fp32", "fp32"] and all(b.threads == 1 for b in CPU)
    assert [(b.name, b.precision) for b in candidates("auto", "bf16", "cpu", None)] == [("openvino", "bf16")]
    assert [b.precision for b in candidates("onnxruntime", "auto", "cpu", None)] == ["fp32", "int8"]
    assert {b.name for b in candidates("auto", "auto", "cuda:0", None)} == {"onnxruntime", "tensorrt"}
    assert [b.precision for b in candidates("onnxruntime", "auto", "cuda:0", None)] == ["fp32", "fp16"]
    with pytest.raises(ConfigError, match="precision 'fp8'"):
        candidates("auto", "fp8", "cpu", None)
    with pytest.raises(ConfigError, match="did you mean openvino"):
        candidates("openvin", "auto", "cpu", None)
    with pytest.raises(ConfigError, match="accuracy: -1 is no distance"):
        AutoOptions(accuracy_px=-1)
    help_text = " ".join(parser().format_help().split())
    assert f"(default: {ACCURACY_PX:g})" in help_text and "--choose-again" in help_text


def parser() -> Any:
    import argparse

    made = argparse.ArgumentParser()
    analyze.COMMAND.configure(made)
    return made


class Overhead(Timed):
    """A network to which each call costs as much as so many frames."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        time.sleep(self.off_px / 1000)
        found = super().run(inputs)["keypoints"]
        return {"keypoints": found}


def test_a_batch_is_as_large_as_pays(bundle: Bundle) -> None:
    model = bundle.manifest.model
    costly = choose_batch(bundle, Analyzer(model, Overhead(0.2, 40)), None)
    assert set(costly.milliseconds) == {"1", "2", "4", "8", "16"}
    # A busy machine may add as much to sixteen frames as it saves.
    assert costly.batch >= 4 and f"auto: batches of {costly.batch};" in costly.sentence
    again = choose_batch(bundle, Analyzer(model, Timed(20)), None)
    assert again.batch == costly.batch and again.remembered
    assert not choose_batch(bundle, Analyzer(model, Timed(1)), None, again=True).remembered
    assert smallest_that_pays({1: 10.0, 2: 9.9, 4: 9.5, 8: 9.4, 16: 9.3}) == 4
    assert smallest_that_pays({1: 10.0, 2: 10.4, 4: 9.8, 8: 9.6, 16: 9.9}) == 8
    assert smallest_that_pays({30: 5.0}) == 30


def test_a_batch_that_its_memory_does_not_hold_ends_the_trials(bundle: Bundle) -> None:
    class Small(Overhead):
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            if len(inputs["frames"]) > 4:
                raise BackendError("pose.onnx: cannot run 8 frames; take a smaller --batch.")
            return super().run(inputs)

    found = choose_batch(bundle, Analyzer(bundle.manifest.model, Small(0.1, 20)), (32, 48))
    assert found.batch == 4 and "8 frames are too many for its memory" in found.sentence


def test_a_video_is_analysed_by_what_was_chosen_and_continued_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    drawn = certified(write_bundle(tmp_path / "bundle"), {})
    video = write_video(tmp_path / "a.mp4", range(9))
    words = [str(drawn.path), str(video), "--device", "cpu", "--threads", "1", "--backend", "auto", "--precision"]
    words += ["auto", "--batch", "auto", "--overwrite"]

    def analyse() -> dict[str, Any]:
        assert run(analyze.COMMAND, parser().parse_args(words)) == 0
        files = ResultFiles.of(video, drawn.manifest.scorer, None)
        return pickle.loads(files.meta.read_bytes())["data"]

    first = analyse()
    said = capsys.readouterr().err
    ran = first["rigpose"]["options"]
    assert f"rigpose analyze: auto: {ran['backend']} {ran['precision']} " in said
    assert f"auto: batches of {first['batch_size']};" in said and "earlier run" not in said
    # What an interrupted run would have left is continued: its header holds the same choice and the same batch.
    second = analyse()
    assert capsys.readouterr().err.count("measured in an earlier run") == 2
    assert (second["rigpose"]["options"], second["batch_size"]) == (ran, first["batch_size"])


def test_a_bundle_opens_by_auto_and_says_what_runs(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    drawn = certified(write_bundle(tmp_path / "bundle"), {})
    found = rigpose.load(drawn, device="cpu", threads=1, backend="auto", precision="auto", auto=AutoOptions(again=True))
    assert found.choice is not None
    first = found.choice.measured[0]
    assert (found.settings["backend"], found.settings["precision"]) == (first.backend, first.precision)
    assert {(m.backend, m.precision) for m in found.choice.measured if m.milliseconds is not None} >= {
        ("onnxruntime", "fp32"),
        ("openvino", "fp32"),
    }
    assert "not in the bundle: onnxruntime int8; openvino int8" in found.choice.sentence
    assert rigpose.load(drawn, device="cpu").choice is None
    named = rigpose.load(drawn, device="cpu", threads=1, backend="auto")
    assert named.choice is not None and named.settings["precision"] == "fp32"
    assert "within" not in named.choice.sentence  # nobody asked for a precision other than fp32
    assert found.spec.keypoints == KEYPOINTS
