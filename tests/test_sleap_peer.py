"""What ``benchmarks/sleap_peer.py`` counts, times and says; sleap-nn itself is not needed."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from drawn_video import write_video
from onnx import TensorProto, helper, numpy_helper

from rigpose.load import load

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def module(name: str) -> Any:
    return importlib.import_module(name)


def _graph(path: Path, nodes: Sequence[onnx.NodeProto], arrays: dict[str, np.ndarray]) -> Path:
    """From uint8 ``frames`` through ``x``, which is the same in float, to ``y``."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["frames"], ["x"], to=TensorProto.FLOAT), *nodes],
        "one",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    return path


def _ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("kind", "shape", "weight", "options"),
    [
        ("Conv", (2, 6, 9, 7), (4, 6, 3, 3), {}),
        ("Conv", (1, 6, 11, 9), (9, 2, 3, 2), {"group": 3, "strides": [2, 1], "dilations": [1, 2]}),
        ("ConvTranspose", (2, 4, 5, 3), (4, 6, 3, 2), {"strides": [2, 1]}),
        ("ConvTranspose", (1, 6, 5, 3), (6, 2, 2, 2), {"group": 3, "strides": [2, 2]}),
        ("MatMul", (2, 3, 5), (5, 7), {}),
        ("Gemm", (3, 5), (5, 7), {}),
        ("Gemm", (5, 3), (5, 7), {"transA": 1}),
    ],
)
def test_multiply_adds_are_as_many_as_ones_add_up_to(
    kind: str, shape: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any], tmp_path: Path
) -> None:
    """Of ones alone every product is 1, so that the sum of what comes out is how many there were."""
    path = _graph(tmp_path / "one.onnx", [helper.make_node(kind, ["x", "w"], ["y"], **options)], {"w": _ones(*weight)})
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"frames": np.ones(shape, np.uint8)})
    cost = module("graph_cost").graph_cost(path, shape)
    assert cost.multiply_adds == int(np.asarray(found).sum())
    assert cost.parameters == np.prod(weight)


def test_a_graph_costs_what_its_nodes_cost_together(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1]),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(_ones(5, 4, 1, 1))),
        helper.make_node("Conv", ["h", "k"], ["g"]),
        helper.make_node("Transpose", ["g"], ["t"], perm=[0, 2, 3, 1]),
        # Two computed sides, as in attention; neither has parameters.
        helper.make_node("Transpose", ["t"], ["u"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["t", "u"], ["s"]),
        helper.make_node("Reshape", ["s", "flat"], ["y"]),
    ]
    arrays = {"w": _ones(4, 3, 3, 3), "b": _ones(4), "flat": np.array([-1])}
    path = _graph(tmp_path / "several.onnx", nodes, arrays)
    cost = module("graph_cost").graph_cost(path, (2, 3, 6, 8))
    # Padding counts, as papers count it: every cell of the output is a sum of as many products.
    assert cost.multiply_adds == 2 * 6 * 8 * (4 * 27 + 5 * 4) + 2 * 6 * 8 * 8 * 5
    assert cost.parameters == 4 * 27 + 4 + 5 * 4


def test_a_graph_whose_cost_depends_on_what_it_sees_is_refused(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node("Identity", ["x"], [name])], name, [], [out])

    node = helper.make_node("If", ["on"], ["y"], then_branch=branch("a"), else_branch=branch("b"))
    path = _graph(tmp_path / "if.onnx", [node], {"on": np.array([True])})
    with pytest.raises(SystemExit, match="branches or loops"):
        module("graph_cost").graph_cost(path, (1, 2))


def test_what_a_call_takes_once_drops_out() -> None:
    timed = module("timed_commands")
    # 5 s and 4 s at the start, 20 ms and 30 ms per frame.
    less, more = timed.Call(5 + 0.02 * 30, 4 + 0.03 * 30), timed.Call(5 + 0.02 * 530, 4 + 0.03 * 530)
    found = timed.per_frame(less, more, 30, 530)
    assert found == pytest.approx({"rate": 50.0, "cpu_ms": 30.0, "start_seconds": 5.0})
    with pytest.raises(SystemExit, match="ask for more --frames"):
        timed.per_frame(more, less, 30, 530)


def test_a_turn_counts_calls_that_find_their_files_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peer, timed, seen = module("sleap_peer"), module("timed_commands"), list[str]()

    def stand_in(command: list[str], _said: Path, *, threads: int) -> Any:
        seen.append(" ".join(command))
        cold = 3.0 if len(seen) == 1 else 0.0
        return timed.Call(2 + cold + int(command[0]) / 100, 1 + cold + int(command[0]) / 50 / threads)

    monkeypatch.setattr(peer, "call", stand_in)
    options = argparse.Namespace(threads=1, frames=[10, 60])
    found = peer.turn(
        lambda clip, _folder: [clip.stem], [Path("10.mp4"), Path("60.mp4")], tmp_path / "x", options=options
    )
    assert seen == ["10", "10", "60"]
    assert found == pytest.approx({"rate": 100.0, "cpu_ms": 20.0, "start_seconds": 2.0})


def test_a_command_is_timed_on_the_clock_and_on_all_cores(tmp_path: Path) -> None:
    timed, said = module("timed_commands"), tmp_path / "said.txt"
    sleeps = timed.call([sys.executable, "-c", "import time; time.sleep(0.5); print('slept')"], said, threads=1)
    assert sleeps.wall >= 0.5 and said.read_text() == "slept\n"
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    works = timed.call([sys.executable, "-c", busy], said, threads=1)
    # A child's time alone, whatever this process and those before it took; 10 ms is the coarsest clock of a kernel.
    assert works.wall >= 0.39 and works.cpu >= 0.39
    with pytest.raises(SystemExit, match=r"ended with 3:\s+no such model"):
        timed.call([sys.executable, "-c", "print('no such model'); raise SystemExit(3)"], said, threads=1)


def test_our_own_path_does_not_reach_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed, said = module("timed_commands"), tmp_path / "said.txt"
    monkeypatch.setenv("PYTHONPATH", "ours")
    timed.call(["/bin/sh", "-c", 'echo "$PYTHONPATH, $OMP_NUM_THREADS"'], said, threads=3)
    assert said.read_text() == ", 3\n"
    code = "import os; print(os.environ['PYTHONPATH'], os.environ['OMP_NUM_THREADS'])"
    timed.call([sys.executable, "-c", code], said, threads=3)
    assert said.read_text() == "ours 3\n"


def test_sleap_nn_gets_as_many_threads_as_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for its command that opens a session as sleap-nn does."""
    graph = _graph(tmp_path / "model.onnx", [helper.make_node("Relu", ["x"], ["y"])], {})
    (tmp_path / "sleap-nn").write_text(
        "import sys, pathlib, onnxruntime as ort\n"
        f"session = ort.InferenceSession({str(graph)!r}, providers=['CPUExecutionProvider'])\n"
        "threads = session.get_session_options().intra_op_num_threads\n"
        f"pathlib.Path({str(tmp_path / 'told.txt')!r}).write_text(f'{{__name__}} {{threads}} {{sys.argv[1:]}}')\n"
    )
    script = module("sleap_nn_threads")
    monkeypatch.setattr(onnxruntime, "InferenceSession", onnxruntime.InferenceSession)  # puts it back
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "argv", ["sleap_nn_threads.py", "2", "predict", "--runtime", "onnx"])
    script.main()
    assert (tmp_path / "told.txt").read_text() == "__main__ 2 ['predict', '--runtime', 'onnx']"


def test_labels_are_what_was_drawn(tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    model = module("sleap_model")
    video = write_video(tmp_path / "v.mp4", range(5))
    xy = np.arange(5 * len(model.NAMES) * 2, dtype=np.float32).reshape(5, len(model.NAMES), 2) / 4
    model.write_labels(tmp_path / "labels.slp", video, xy)
    labels = sio.load_slp(str(tmp_path / "labels.slp"), open_videos=False)
    assert [node.name for node in labels.skeletons[0].nodes] == list(model.NAMES)
    np.testing.assert_array_equal([frame.instances[0].numpy() for frame in labels.labeled_frames], xy)
    np.testing.assert_array_equal(model.read_poses(tmp_path / "labels.slp"), xy[:, None])


def test_frames_without_an_animal_are_frames(tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    skeleton = sio.Skeleton(nodes=list(module("sleap_model").NAMES))
    film = sio.Video(filename="v.mp4", open_backend=False)
    sure = np.arange(8.0).reshape(4, 2)
    sure[2] = np.nan
    frames = []
    for i, found in enumerate([sure, np.full((4, 2), np.nan), None]):
        animals = [] if found is None else [sio.PredictedInstance.from_numpy(found, skeleton, score=0.5)]
        frames.append(sio.LabeledFrame(video=film, frame_idx=i, instances=animals))
    sio.save_slp(sio.Labels(labeled_frames=frames, skeletons=[skeleton]), str(tmp_path / "v.slp"), verbose=False)
    poses = module("sleap_peer").poses_in(tmp_path, Path("v.mp4"))
    np.testing.assert_array_equal(poses, [sure, np.full((4, 2), np.nan), np.full((4, 2), np.nan)])


def test_poses_of_one_network_are_compared_where_both_sides_have_them() -> None:
    theirs = np.array([[[1.0, 1.0], [2.0, 2.0]], [[3.0, 3.0], [np.nan, np.nan]]])
    ours = np.array([[[1.0, 1.0], [5.0, 6.0]], [[np.nan, np.nan], [9.0, 9.0]]])
    apart = module("sleap_peer").apart
    assert apart(theirs, ours) == {"worst_px": 5.0, "one_side_only": 2}
    assert apart(theirs, theirs) == {"worst_px": 0.0, "one_side_only": 0}


def test_sleap_nns_graph_finds_in_a_bundle_what_was_drawn(tmp_path: Path) -> None:
    """A stand-in with its inputs and outputs: a keypoint for each colour in RGB, in its brightest pixel."""
    names, (red, green) = ("red", "green"), ((5, 9), (20, 3))
    numbers = {"first": np.array([2]), "width": np.array(32, np.int64), "flat": np.array([0, 0, -1])}
    numbers |= {"colours": np.array([0, 1]), "half": np.array(0.5, np.float32), "full": np.array(255, np.float32)}
    numbers |= {"nothing": np.array(np.nan, np.float32), "last": np.array([-1])}
    nodes = [
        helper.make_node("Gather", ["image", "colours"], ["two"], axis=1),
        helper.make_node("Cast", ["two"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "full"], ["maps"]),
        helper.make_node("Reshape", ["maps", "flat"], ["cells"]),
        helper.make_node("ReduceMax", ["cells", "first"], ["peak_vals"], keepdims=0),
        helper.make_node("ArgMax", ["cells"], ["at"], axis=2, keepdims=0),
        helper.make_node("Mod", ["at", "width"], ["x"]),
        helper.make_node("Div", ["at", "width"], ["y"]),
        helper.make_node("Unsqueeze", ["x", "last"], ["xs"]),
        helper.make_node("Unsqueeze", ["y", "last"], ["ys"]),
        helper.make_node("Concat", ["xs", "ys"], ["whole"], axis=2),
        helper.make_node("Cast", ["whole"], ["points"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["peak_vals", "last"], ["scores"]),
        helper.make_node("Less", ["scores", "half"], ["unsure"]),
        helper.make_node("Where", ["unsure", "nothing", "points"], ["peaks"]),
    ]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 3, "height", "width"])],
        [
            helper.make_tensor_value_info("peaks", TensorProto.FLOAT, ["batch", 2, 2]),
            helper.make_tensor_value_info("peak_vals", TensorProto.FLOAT, ["batch", 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in numbers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, str(tmp_path / "model.onnx"))
    bundle = module("sleap_bundle").bundle_of(tmp_path, tmp_path / "bundle", names, multiple_of=16)
    frames = np.zeros((2, 16, 32, 3), np.uint8)
    frames[0, red[1], red[0], 2] = frames[0, green[1], green[0], 1] = 255  # BGR
    frames[1, green[1], green[0], 1] = 255
    analyzer = load(bundle, device="cpu", threads=1, backend="onnxruntime", precision="fp32")
    first, second = analyzer.predict(frames)
    np.testing.assert_array_equal(first.xy[0], [red, green])
    np.testing.assert_array_equal(second.xy[0], [(np.nan, np.nan), green])
    np.testing.assert_array_equal([first.score[0], second.score[0]], [[1, 1], [np.nan, 1]])


def _line() -> dict[str, Any]:
    peer, turns = module("sleap_peer"), {}
    who = {peer.THEIRS: [10.0, 5.0, 20.0], f"{peer.SAME}, openvino fp32": [15.0, 5.0, 24.0]}
    for name, rates in {**who, f"{peer.OURS}, openvino bf16": [30.0, 20.0, 40.0]}.items():
        turns[name] = [{"rate": rate, "cpu_ms": 900 / rate, "start_seconds": 2.0} for rate in rates]
    theirs = {"parameters": 2_000_000, "multiply_adds": 4_000_000_000}
    networks = {
        peer.THEIRS: theirs,
        peer.SAME: theirs,
        peer.OURS: {"parameters": 12_000_000, "multiply_adds": 2_000_000_000},
    }
    sides = {
        name: {**side, **peer.per_multiply_add(name, side, networks)}
        for name, side in module("peers").summed_up(turns, peer.THEIRS).items()
    }
    poses = {f"{peer.SAME}, openvino fp32": {"worst_px": 0.25, "one_side_only": 0}}
    return {"architecture": "some_net", "networks": networks, "sides": sides, "poses": poses}


def test_a_network_of_half_the_cost_that_is_three_times_as_fast_is_an_engine_of_one_and_a_half() -> None:
    peer, line = module("sleap_peer"), _line()
    theirs, ours = line["sides"][peer.THEIRS], line["sides"][f"{peer.OURS}, openvino bf16"]
    assert ours["times_as_fast"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert ours["times_as_fast_per_gmac"] == {"median": 1.5, "min": 1.0, "max": 2.0}
    assert theirs["ms_per_gmac"] == 25.0 and theirs["cpu_ms_per_gmac"] == 22.5
    assert ours["ms_per_gmac"] == pytest.approx(16.667) and ours["cpu_ms_per_gmac"] == 15.0
    assert "times_as_fast_per_gmac" not in theirs
    same = line["sides"][f"{peer.SAME}, openvino fp32"]
    assert same["times_as_fast_per_gmac"] == same["times_as_fast"] == {"median": 1.2, "min": 1.0, "max": 1.5}


def test_every_row_says_whose_model_it_is() -> None:
    peer = module("sleap_peer")
    made = peer.rows(_line())
    theirs, same, ours = sorted(made, key=lambda row: [peer.THEIRS, peer.SAME, peer.OURS].index(row[0]))
    assert {len(row) for row in made} == {len(peer.HEADER)}
    assert theirs[:5] == ["sleap-nn, its own model", "UNet", "onnxruntime fp32", 2.0, 4.0]
    assert same[:5] == ["rigpose, sleap-nn's model", "UNet", "openvino fp32", 2.0, 4.0]
    assert ours[:5] == ["rigpose, a comparable model", "some_net", "openvino bf16", 12.0, 2.0]
    assert theirs[-5:] == [None] * 5
    assert same[-5:] == [1.2, 1.0, 1.5, 1.2, 0.25] and ours[-5:] == [3.0, 2.0, 4.0, 1.5, None]


def test_a_named_python_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = module("sleap_environment")
    monkeypatch.setenv("RIGPOSE_SLEAP_PYTHON", "/some/bin/python")
    assert environment.sleap_python(tmp_path, torch_from=None) == Path("/some/bin/python")
    assert environment.program(Path("/some/bin/python")) == Path("/some/bin/sleap-nn")
    assert not list(tmp_path.iterdir())


def test_another_environments_torch_is_there_before_pip_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that pip neither downloads it nor changes it; and what is installed once is not installed again."""
    environment, seen = module("sleap_environment"), list[str]()
    monkeypatch.delenv("RIGPOSE_SLEAP_PYTHON", raising=False)
    theirs, own = tmp_path / "theirs", tmp_path / f"sleap-nn-{environment.VERSION}"

    def stand_in(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        text = " ".join(command)
        if "venv" in command:
            (own / "packages").mkdir(parents=True)
        elif "pip" in command:
            paths = [file.read_text() for file in (own / "packages").glob("*.pth")]
            seen.append(f"{command[-1]} beside {[Path(path.strip()).name for path in paths]}")
        packages = theirs if str(theirs) in text else own
        return subprocess.CompletedProcess(command, 0, f"{packages / 'packages'}\n" if "purelib" in text else "")

    monkeypatch.setattr(subprocess, "run", stand_in)
    for _ in range(2):
        python = environment.sleap_python(tmp_path, torch_from=theirs / "bin" / "python")
        assert python == own / "bin" / "python"
    assert seen == [f"sleap-nn[export]=={environment.VERSION} beside ['packages']"]
    (link,) = (own / "packages").glob("*.pth")
    assert link.read_text() == f"{theirs / 'packages'}\n"


def test_help_reads_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = module("sleap_peer")
    monkeypatch.setattr(sys, "argv", ["sleap_peer.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert script.__doc__.splitlines()[0] in text and "--markdown" in text
