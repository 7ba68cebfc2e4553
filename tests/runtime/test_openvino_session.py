"""OpenVINO gives ONNX Runtime's candidates, in the precision that was asked for, or says why it cannot."""

from __future__ import annotations

import argparse
import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_graph import write_graph
from drawn_video import write_video
from exported_families import family_bundle
from exported_once import shared_folder
from exported_pairs import drawn

import rigpose
from rigpose.arrays import Array
from rigpose.bundles.bundle import Bundle, Role
from rigpose.commands import analyze, check, doctor
from rigpose.commands.main import run
from rigpose.errors import BackendError, ConfigError
from rigpose.files.results import ResultFiles, read_results
from rigpose.parity.replay import open_sessions, replay
from rigpose.sessions import openvino as session_file
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.openvino import OpenVinoSession
from rigpose.sessions.openvino_float32 import with_float32_ends
from rigpose.sessions.openvino_precision import RunningStep, coordinates_in_bf16
from rigpose.videos.analysis import AnalysisInterrupted, AnalysisOptions

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture(scope="module")
def of_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Bundles of small networks; ``pair`` is a detector with a crop network."""
    shared = shared_folder(tmp_path_factory)

    def bundle(name: str) -> Bundle:
        pair = name == "pair"
        return family_bundle(shared, "top_down_resnet_50" if pair else name, detector=pair)

    return bundle


@pytest.fixture
def needs_bf16() -> None:
    if "BF16" not in session_file.bf16_and_others(session_file.loaded_core()):
        pytest.skip("this processor has no instructions for bf16")


def inputs_of(bundle: Bundle, graph: Role, count: int, sides: tuple[int, int]) -> dict[str, Array]:
    """Drawn frames of the size that the graph takes, and rough poses where it wants them."""
    made: dict[str, Array] = {}
    for tensor in bundle.manifest.graph(graph).inputs:
        if tensor.name == "frames":
            height, width = (
                s if isinstance(s, int) else free for s, free in zip(tensor.shape[1:3], sides, strict=True)
            )
            made["frames"] = np.stack([drawn(i, height, width) for i in range(count)])
        else:
            shape = (count, *(int(axis) for axis in tensor.shape[1:]))
            made[tensor.name] = np.random.default_rng(0).uniform(5, 55, shape).astype(np.float32)
    return made


def check_same(bundle: Bundle, graph: Role) -> None:
    file = bundle.file(bundle.manifest.graph(graph).file)
    right = OnnxRuntimeSession(file, device="cpu", threads=1)
    ours = OpenVinoSession(file, threads=1)
    for count, sides in ((1, (96, 128)), (3, (96, 128)), (1, (160, 96))):
        inputs = inputs_of(bundle, graph, count, sides)
        expected, found = right.run(inputs), ours.run(inputs)
        for name, values in expected.items():
            # float32 in another order of additions; half a map cell, the smallest real mistake, is 4 px or more.
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=2e-3, err_msg=f"{graph} {name} {sides}")
            assert found[name].dtype == values.dtype


@pytest.mark.parametrize("net_type", ["dekr_w18", "rtmpose_s", "ctd_prenet_hrnet_w32"])
def test_every_family_gives_the_candidates_of_onnx_runtime(net_type: str, of_family: Callable[[str], Bundle]) -> None:
    bundle = of_family(net_type)
    check_same(bundle, "pose")
    assert all(d.within for d in replay(bundle, open_sessions(bundle, backend="openvino")).values())


def test_paf_and_single_animals_give_the_candidates_of_onnx_runtime(
    tiny_bundle: Path, of_family: Callable[[str], Bundle]
) -> None:
    check_same(Bundle.open(tiny_bundle), "pose")
    paf = of_family("resnet_50")
    check_same(paf, "pose")
    assert all(d.within for d in replay(paf, open_sessions(paf, backend="openvino")).values())


@pytest.mark.slow
def test_a_pair_gives_the_boxes_and_poses_of_onnx_runtime(of_family: Callable[[str], Bundle]) -> None:
    pair = of_family("pair")
    check_same(pair, "pose")
    assert all(d.within for d in replay(pair, open_sessions(pair, backend="openvino")).values())


def test_the_next_run_leaves_earlier_outputs_alone(tiny_bundle: Path) -> None:
    session = OpenVinoSession(tiny_bundle / "pose.onnx", threads=1)
    first = session.run({"frames": drawn(0, 96, 128)[None]})["keypoints"]
    kept = first.copy()
    second = session.run({"frames": drawn(3, 96, 128)[None]})["keypoints"]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, kept)
    assert session.device == "cpu"


def test_frames_that_are_a_view_of_others_are_read_right(tiny_bundle: Path) -> None:
    session = OpenVinoSession(tiny_bundle / "pose.onnx", threads=1)
    whole = drawn(0, 192, 256)
    view = whole[::2, ::2][None]
    found = session.run({"frames": view})["keypoints"]
    np.testing.assert_array_equal(found, session.run({"frames": np.ascontiguousarray(view)})["keypoints"])


def test_as_many_threads_run_as_were_asked_for(tiny_bundle: Path) -> None:
    for threads in (1, 2):
        session = OpenVinoSession(tiny_bundle / "pose.onnx", threads=threads)
        request = session._compiled(-1, (("frames", (256, 256, 3)),))
        assert request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == threads


@pytest.mark.usefixtures("needs_bf16")
@pytest.mark.parametrize("net_type", ["resnet_50", "dekr_w18"])
def test_bf16_rounds_the_network_and_not_what_decoders_read(net_type: str, of_family: Callable[[str], Bundle]) -> None:
    bundle = of_family(net_type)
    inputs = inputs_of(bundle, "pose", 1, (288, 352))
    found = {p: OpenVinoSession(bundle.file("pose.onnx"), threads=1, precision=p).run(inputs) for p in ("fp32", "bf16")}
    name = next(iter(found["bf16"]))
    assert not np.array_equal(found["fp32"][name], found["bf16"][name])
    for values, nothing in ((found["bf16"][name][..., :2], 16), (found["bf16"][name][..., 2], 0)):
        finite = np.abs(values[np.isfinite(values) & (np.abs(values) > nothing)])
        # A number that was rounded to bf16 has zeros in the lower half of its bits.
        fine = finite.astype(np.float32).view(np.uint32) & 0xFFFF != 0
        assert finite.size > 10 and fine.mean() > 0.9


@pytest.mark.usefixtures("needs_bf16")
@pytest.mark.parametrize(("net_type", "least"), [("resnet_50", 5), ("dekr_w18", 2)])
def test_the_last_layers_keep_float32_in_bf16(net_type: str, least: int, of_family: Callable[[str], Bundle]) -> None:
    session = OpenVinoSession(of_family(net_type).file("pose.onnx"), threads=1, precision="bf16")
    compiled = session._compiled(session._batches[-1], (("frames", (256, 256, 3)),)).get_compiled_model()
    layers = [step for step in session_file._steps(compiled) if step.kind in ("Convolution", "Deconvolution")]
    kept = [step.precision == "f32" for step in layers]
    # Heatmaps, offsets, affinity fields and the two filters that smooth; heatmaps and offsets.
    assert least <= sum(kept) < len(kept) / 2 and kept[-1] and not kept[0]


@pytest.mark.usefixtures("needs_bf16")
def test_what_reads_maps_of_several_resolutions_keeps_float32_in_bf16() -> None:
    import openvino
    from openvino import opset13 as ov

    def convolution(maps: Any, name: str, step: int = 1) -> Any:
        weights = np.random.default_rng(0).normal(size=(16, maps.shape[1], 3, 3)).astype(np.float32)
        made = ov.convolution(maps, ov.constant(weights), [step, step], [1, 1], [1, 1], [1, 1])
        made.set_friendly_name(name)
        return ov.relu(made)

    frames = ov.parameter([1, 3, 32, 32], np.float32, name="frames")
    fine = convolution(frames, "fine")
    coarse = ov.interpolate(convolution(fine, "coarse", 2), ov.constant([32, 32]), "linear", "sizes", axes=[2, 3])
    head = convolution(convolution(ov.concat([fine, coarse], 1), "head"), "last")
    core = session_file.loaded_core()
    joined = openvino.Model([head], [frames], "joined")  # pyright: ignore[reportGeneralTypeIssues]
    model = with_float32_ends(core, joined)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    layers = [step for step in session_file._steps(compiled) if step.kind == "Convolution"]
    assert [step.precision for step in layers] == ["bf16", "bf16", "f32", "f32"]


@pytest.mark.usefixtures("needs_bf16")
def test_bf16_is_refused_where_coordinates_go_through_the_network(of_family: Callable[[str], Bundle]) -> None:
    bundle = of_family("ctd_prenet_hrnet_w32")
    with pytest.raises(BackendError, match=r"would round coordinates .* from outside\); leave out --precision bf16"):
        rigpose.load(bundle, backend="openvino", precision="bf16")


def quantised(source: Path, target: Path) -> Path:
    """A graph whose layers are int8 in the form for OpenVINO: symmetric, and without quantised biases."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"frames": drawn(i, 128, 128)[None]} for i in range(2)]

        def get_next(self) -> dict[str, Array] | None:  # type: ignore[override]
            return self.left.pop() if self.left else None

    quantize_static(
        source,
        target,
        Frames(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    return target


def test_int8_computes_layers_in_integers_and_agrees_with_onnx_runtime(tmp_path: Path) -> None:
    source = write_graph(tmp_path / "pose.onnx")
    file = quantised(source, tmp_path / "pose.int8-symmetric.onnx")
    frames = {"frames": np.stack([drawn(i, 96, 128) for i in range(2)])}
    ours, right = OpenVinoSession(file, threads=1, precision="int8"), OnnxRuntimeSession(file, device="cpu", threads=1)
    found, expected, exact = ours.run(frames), right.run(frames), OpenVinoSession(source, threads=1).run(frames)
    # Two runtimes may round a value between two of 255 levels to either; the map spans about 60 here.
    np.testing.assert_allclose(found["peaks"][..., 0], expected["peaks"][..., 0], rtol=0.02, atol=0.5)
    assert not np.array_equal(found["peaks"], exact["peaks"])
    # OpenVINO hands the frames that it rounded for the layer, in steps of 2, to their mean as well.
    np.testing.assert_allclose(found["colours"], exact["colours"], atol=1)
    with pytest.raises(BackendError, match=r"asked for int8, OpenVINO computes every layer in floating point"):
        OpenVinoSession(source, threads=1, precision="int8")


def test_int8_gives_a_frame_the_same_numbers_in_every_batch(tmp_path: Path) -> None:
    file = quantised(write_graph(tmp_path / "pose.onnx"), tmp_path / "pose.int8-openvino.onnx")
    frames = np.stack([drawn(i, 96, 128) for i in range(7)])
    session = OpenVinoSession(file, threads=1, precision="int8")
    together = session.run({"frames": frames})
    alone = [session.run({"frames": frame[None]}) for frame in frames]
    for name, value in together.items():
        np.testing.assert_array_equal(value, np.concatenate([one[name] for one in alone]))


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
def test_a_signal_is_heard_after_sessions_are_gone(tmp_path: Path) -> None:
    file = write_graph(tmp_path / "pose.onnx")
    code = """
import gc, os, signal, sys
from pathlib import Path
from rigpose.sessions.openvino import OpenVinoSession, bf16_and_others, loaded_core
precision = "bf16" if "BF16" in bf16_and_others(loaded_core()) else "fp32"
first, second = (OpenVinoSession(Path(sys.argv[1]), threads=1, precision=precision) for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGUSR1)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def chain(*steps: tuple[str, str, str]) -> list[RunningStep]:
    """Steps that each read the one before."""
    return [
        RunningStep(name, kind, precision, (steps[i - 1][0],) if i else ())
        for i, (name, kind, precision) in enumerate(steps)
    ]


def test_a_decode_in_bf16_is_seen_wherever_it_stands() -> None:
    begin = (("frames", "Input", "u8"), ("shift", "Eltwise", "bf16"), ("c", "Convolution", "bf16"))
    assert coordinates_in_bf16(chain(*begin, ("r", "Reorder", "bf16"), ("x", "Eltwise", "f32"))) == ""
    assert coordinates_in_bf16(chain(*begin, ("r", "Reorder", "bf16"), ("x", "Eltwise", "bf16"))) == "decode step x"
    again = chain(*begin, ("top", "TopK", "f32"), ("cut", "Gather", "f32"), ("c2", "Convolution", "bf16"))
    assert "looks again where step top" in coordinates_in_bf16(again)
    counted = (("frames", "Input", "u8"), ("sides", "ShapeOf", "bf16"), ("ceil", "Math", "bf16"))
    assert "step ceil" in coordinates_in_bf16(chain(*counted, ("c", "Convolution", "bf16")))


def test_another_precision_than_the_one_asked_for_is_an_error(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(session_file._HINTS, "fp32", "f16")
    with pytest.raises(BackendError, match="asked for fp32, OpenVINO chose"):
        OpenVinoSession(tiny_bundle / "pose.onnx")
    monkeypatch.setattr(session_file, "bf16_and_others", lambda core: ["FP32"])
    with pytest.raises(BackendError, match="no instructions for bf16; leave out --precision"):
        OpenVinoSession(tiny_bundle / "pose.onnx", precision="bf16")


def test_a_missing_package_and_a_file_that_is_no_graph_are_one_sentence(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pose.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendError, match=r"pose\.onnx: OpenVINO cannot load it .* --backend onnxruntime"):
        OpenVinoSession(tmp_path / "pose.onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r"pip install 'rigpose\[openvino\]'"):
        rigpose.load(tiny_bundle, backend="openvino")


def test_words_that_name_no_backend_are_refused(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"backend 'openvin'.*did you mean openvino"):
        rigpose.load(tiny_bundle, backend="openvin")
    with pytest.raises(ConfigError, match="precision 'fp8'"):
        rigpose.load(tiny_bundle, backend="openvino", precision="fp8")
    with pytest.raises(ConfigError, match="add --backend openvino"):
        rigpose.load(tiny_bundle, precision="bf16")
    with pytest.raises(BackendError, match="OpenVINO runs on the CPU and not on cuda"):
        rigpose.load(tiny_bundle, backend="openvino", device="cuda")


def test_another_backend_or_precision_starts_an_interrupted_analysis_anew(tiny_bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))

    def resumed(**chosen: Any) -> int:
        return rigpose.load(tiny_bundle, device="cpu", threads=1, **chosen).analyze(video, options).resumed_at

    def interrupt() -> None:
        analyzer = rigpose.load(tiny_bundle, device="cpu", threads=1, backend="openvino")
        session, runs = analyzer.session, iter(range(2))

        class Stopped:
            device = "cpu"

            def run(self, inputs: Any) -> dict[str, Array]:
                if next(runs, None) is None:
                    raise KeyboardInterrupt
                return session.run(inputs)

        analyzer.model.session = Stopped()  # type: ignore[union-attr]
        with pytest.raises((KeyboardInterrupt, AnalysisInterrupted)):
            analyzer.analyze(video, options)

    options = AnalysisOptions(batch=4, overwrite=True)
    interrupt()
    # A batch that was under way when the run stopped is not in the journal.
    assert resumed(backend="openvino") in (4, 8)
    interrupt()
    assert resumed() == 0
    if "BF16" in session_file.bf16_and_others(session_file.loaded_core()):
        interrupt()
        assert resumed(backend="openvino", precision="bf16") == 0


def test_a_video_is_analysed_by_what_was_typed(tiny_bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(5))
    found = {}
    for backend in ("onnxruntime", "openvino"):
        parser = argparse.ArgumentParser()
        analyze.COMMAND.configure(parser)
        words = [tiny_bundle, video, "--backend", backend, "--threads", "1", "--destination", tmp_path / backend]
        assert run(analyze.COMMAND, parser.parse_args([*map(str, words), "--device", "cpu"])) == 0
        files = ResultFiles.of(video, Bundle.open(tiny_bundle).manifest.scorer, tmp_path / backend)
        found[backend] = read_results(files.h5).xy
        said = pickle.loads(files.meta.read_bytes())["data"]["rigpose"]["options"]
        assert said["backend"] == backend and said["precision"] == "fp32"
    np.testing.assert_allclose(found["openvino"], found["onnxruntime"], atol=2e-3)


def test_check_and_doctor_say_what_runs(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    check.COMMAND.configure(parser)
    assert run(check.COMMAND, parser.parse_args([str(tiny_bundle), "--backend", "openvino"])) == 0
    said = capsys.readouterr().out
    assert "on cpu by openvino: worst" in said and "PASSED" in said
    run(doctor.COMMAND, argparse.Namespace())
    said = capsys.readouterr().out
    assert "extra openvino: openvino 20" in said and "openvino: this processor has" in said


@pytest.mark.usefixtures("needs_bf16")
def test_check_tells_what_bf16_costs(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    check.COMMAND.configure(parser)
    arguments = parser.parse_args([str(tiny_bundle), "--backend", "openvino", "--precision", "bf16"])
    assert run(check.COMMAND, arguments) == 1
    said = capsys.readouterr().out
    assert "on cpu by openvino in bf16: worst" in said and "as bf16 rounds" in said
