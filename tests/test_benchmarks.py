"""The parts of the benchmarks that everything rests on: taking turns, records, drawn candidates, cuts and figures."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_bundle import write_bundle
from drawn_video import FRAMES_PER_SECOND, write_video

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_contestants_alternate_and_the_first_turns_do_not_count() -> None:
    seen: list[str] = []

    def turn(name: str) -> int:
        seen.append(name)
        return len(seen)

    found = module("turns").take_turns({"a": lambda: turn("a"), "b": lambda: turn("b")}, 3)
    assert seen == ["a", "b"] * 4
    assert found == {"a": [3, 5, 7], "b": [4, 6, 8]}


def test_a_ratio_is_made_turn_by_turn() -> None:
    # A machine that is half as fast in the second turn changes no ratio; ratios of medians would differ.
    assert module("turns").ratio([20.0, 10.0, 30.0], [10.0, 5.0, 10.0]) == {"median": 2.0, "min": 2.0, "max": 3.0}


def test_a_case_ends_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    turns = module("turns")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(
        f"import sys, json; sys.path.insert(0, {str(BENCHMARKS)!r})\nfrom turns import tell\nprint('loading')\n"
        "tell({'twice': 2 * json.loads(sys.argv[2])['number']})\n"
    )
    bad.write_text("raise SystemExit(7)")
    assert turns.in_own_process(str(good), {"number": 4}) == {"twice": 8}
    assert turns.in_own_process(str(bad), {}) == {"reason": "the process ended with 7; its message is above"}
    capfd.readouterr()


def test_a_table_is_markdown() -> None:
    made = module("turns").table(("name", "px"), [("a", 0.123456), ("bcd", None)])
    assert made.splitlines() == ["| name | px     |", "| ---- | ------ |", "| a    | 0.1235 |", "| bcd  |        |"]


def test_results_go_where_they_are_wanted_and_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = module("record")
    monkeypatch.setattr(record, "RESULTS", tmp_path / "new" / "results")
    case = {"architecture": "x", "batch": 8, "size": (480, 640)}
    assert not record.measured_here("some", case)
    path = record.record("some", {**case, "rate": 3.0})
    assert path == tmp_path / "new" / "results" / "some.jsonl"
    (line,) = record.lines("some")
    assert line["rate"] == 3.0 and {"machine", "versions", "commit", "time"} <= set(line)
    assert record.measured_here("some", case) and not record.measured_here("some", {**case, "batch": 1})
    # Of another commit it says nothing about this one.
    path.write_text(json.dumps({**line, "commit": "other"}) + "\n")
    assert not record.measured_here("some", case)


def test_the_environment_names_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGPOSE_BENCHMARK_RESULTS", str(tmp_path))
    monkeypatch.delitem(sys.modules, "record", raising=False)
    assert str(module("record").RESULTS) == str(tmp_path)
    sys.modules.pop("record")


@pytest.mark.parametrize("edges", ["skeleton", "full"])
@pytest.mark.parametrize("animals", [1, 7])
def test_drawn_candidates_are_the_animals(animals: int, edges: str) -> None:
    decode = module("decode")
    rng, made = np.random.default_rng(0), decode.EDGES[edges]
    frames = []
    for _ in range(3):
        peaks, affinity = decode.candidates(rng, "clean", animals, made)
        assert peaks.shape == (12, animals, 3) and affinity.shape == (len(made), animals, animals)
        frames.append({"peaks": peaks[None], "affinity": affinity[None]})
    each: list[float] = []
    wall, cpu, found = decode.ours(frames, decode.PafGrouping(made, animals), each)
    assert found == animals and len(each) == 3
    assert 0 < cpu < 10 * wall + 10


def test_a_clip_is_the_beginning_of_its_video_or_goes_on_from_its_front(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", range(6))
    for frames in (4, 15):
        clip = module("clips").first_frames(video, frames)
        capture, brightest = cv2.VideoCapture(str(clip)), []
        assert capture.get(cv2.CAP_PROP_FPS) == FRAMES_PER_SECOND
        while (read := capture.read())[0]:
            brightest.append(int(read[1][:8].mean(axis=(0, 2)).argmax()) // 8)
        assert brightest == [i % 6 for i in range(frames)]
    assert module("clips").first_frames(video, 4).stat().st_mtime_ns  # is there, and is not written again


def test_the_front_is_what_nothing_beats_in_both() -> None:
    figures = module("figures")
    points = [(1.0, 1.0), (2.0, 2.0), (3.0, 1.5), (0.5, 0.9), (3.0, 1.6)]
    assert figures.unbeaten(points, min) == [(0.5, 0.9), (1.0, 1.0), (3.0, 1.5)]
    assert figures.unbeaten(points, max) == [(2.0, 2.0), (3.0, 1.6)]


def _lines() -> dict[str, list[dict[str, Any]]]:
    """A line or two of every kind, as the scripts write them."""
    where = {"machine": "m", "commit": "c"}
    spread = {"count": 3, "p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 3.0}
    scope = {"frames_per_second": 10.0, "batch_ms": spread}
    case = {"architecture": "resnet_50 single", "precision": "fp32", "backend": "onnxruntime", "batch": 8}
    case |= {"height": 480, "width": 640, "threads": None, "device": "cpu", "placement": "cpu"}
    case |= {"load_seconds": 1.0, "peak_bytes": 10**8}
    fast = {"median": 2.0, "min": 1.5, "max": 2.5}
    side = {"rate": [2.0, 3.0], "cpu_ms": [5.0, 6.0]}
    ours = {**side, "times_as_fast": fast, "less_processor_time": fast}
    grouped = {"ms": [1.0], "cpu_ms": [1.0], "animals_found": 2.0, "p99_ms": 2.0}
    told = {"turns": [3.0, 1.0, 2.0], "expected": 2.5}
    live = {"case": "queue", "what": "w", "cores": [0, 1], "figures": {"age p50 [ms]": told, "kept [%]": told}}
    moved = {"p99_px": 0.1, "median_px": 0.05, "worst_px": 0.2, "compared": 9, "lost": 0}
    return {
        "architectures": [
            {**case, **where, "forward": scope, "graph": scope, "end_to_end": {"frames_per_second": 9.0}},
            {**case, **where, "precision": "bf16", "reason": "this processor has no bf16"},
        ],
        "peers": [
            {
                "bundle": "b", "threads": 1, "batch": 8, "ways": ["onnxruntime fp32"],
                "poses": {"onnxruntime fp32": moved}, **where,
                "scopes": {"video": {"deeplabcut": side, "onnxruntime fp32": ours}},
            }
        ],
        "zoo_peers": [
            {
                "architecture": "resnet_50 single", "ways": ["onnxruntime fp32", "openvino bf16"], "height": 480,
                "width": 640, "frames": 8, "batch": 4, "threads": 1, "animals": {"onnxruntime fp32": 1.0}, **where,
                "sides": {"deeplabcut": {**side, "animals": [1.0]}, "onnxruntime fp32": ours},
            }
        ],
        "decode": [
            {"scene": "clean", "edges": "full", "animals": n, "frames": 3, "rigpose": grouped, "deeplabcut": grouped,
             "times_as_fast": fast, **where}
            for n in (1, 5)
        ],
        "scaling": [
            {"bundle": "b", "sweep": "batch", "value": n, "precision": "fp32", "frames_per_second": [3.0, 4.0],
             "cpu_ms": [2.0], **where}
            for n in (1, 8)
        ],
        "pareto": [
            {"data": "6 test images", "bundle": "b", "architecture": "a", "way": way, "px_error": 2.0, "mAP": None,
             "frames_per_second": [5.0, 6.0], **where}
            for way in ("onnxruntime fp32", "openvino int8")
        ],
        "precision_drift": [
            {"bundle": "b", "architecture": "a", "video": "v.mp4", "drift": {"openvino int8": moved}, **where}
        ],
        "layers": [
            {"bundle": "b", "way": "openvino int8", **where, "graphs": {"pose": [
                {"layers": "Convolution", "computed_in": "I8", "count": 5, "ms": 9.0},
                {"layers": "MatMul", "computed_in": "f32", "count": 1, "ms": 0.01},
                {"layers": "TopK", "computed_in": "f32", "count": 2, "ms": 0.02},
            ]}}
        ],
        "live": [{**live, **where}],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["architectures", "peers", "zoo_peers", "decode", "scaling", "pareto"])
def test_every_kind_of_line_is_drawn(name: str, tmp_path: Path) -> None:
    figures = module("figures")
    drawn = figures.FIGURES[name](_lines()[name], tmp_path)
    assert drawn
    for path in drawn:
        picture = cv2.imread(str(path))
        assert picture is not None and min(picture.shape[:2]) > 200
        # Something of each of the colours that stand for data, or at least of the first.
        blue = (np.abs(picture.astype(int) - (0xB2, 0x72, 0x00)).sum(axis=2) < 60).sum()
        assert blue > 10


@pytest.mark.parametrize(
    "name", ["architectures", "peers", "zoo_peers", "decode", "scaling", "pareto", "precision_drift", "layers"]
)
def test_lines_become_rows_of_their_table(name: str) -> None:
    script, lines = module(name), _lines()[name]
    rows = [row for line in lines for row in (script.rows(line) if hasattr(script, "rows") else [script.row(line)])]
    assert rows and {len(row) for row in rows} == {len(script.HEADER)}


@pytest.mark.parametrize(
    "name",
    [
        "architectures",
        "peers",
        "zoo_peers",
        "decode",
        "scaling",
        "pareto",
        "precision_drift",
        "layers",
        "live",
        "figures",
    ],
)
def test_help_reads_well(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = module(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert script.__doc__.splitlines()[0] in text
    assert "--markdown" in text or name == "figures"


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("precision_drift", ["no.bundle", "--video", "v.mp4"]),
        ("layers", ["no.bundle", "--video", "v.mp4"]),
        ("scaling", ["no.bundle"]),
        ("pipeline_rate", ["session", "no.bundle", "v.mp4"]),
    ],
)
def test_a_bundle_that_is_none_is_refused_in_a_sentence(
    script: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "v.mp4", range(3))
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
    with pytest.raises(SystemExit, match=r"no\.bundle: no manifest\.yaml there"):
        runpy.run_path(str(BENCHMARKS / f"{script}.py"), run_name="__main__")


def test_layers_take_a_part_of_the_time_of_their_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    layers, record = module("layers"), module("record")
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    write_bundle(tmp_path / "drawn.bundle")
    video = write_video(tmp_path / "v.mp4", range(3))
    arguments = [str(tmp_path / "drawn.bundle"), "--video", str(video), "--ways", "openvino fp32", "--runs", "3"]
    monkeypatch.setattr(sys, "argv", ["layers.py", *arguments])
    begun = time.perf_counter()
    layers.main()
    passed = 1000 * (time.perf_counter() - begun)
    (line,) = record.lines("layers")
    (kinds,) = line["graphs"].values()
    found = {kind["layers"]: kind for kind in kinds}
    assert found["Convolution"]["computed_in"] == "f32" and found["Convolution"]["count"] == 1
    assert all(kind["ms"] > 0 for kind in kinds)
    assert 3 * sum(kind["ms"] for kind in kinds) < passed
    assert "Convolution" in capsys.readouterr().out


def test_small_kinds_of_layers_are_told_together() -> None:
    told = module("layers").rows(_lines()["layers"][0])
    assert [row[3:8] for row in told] == [
        ["Convolution", "I8", 5, 9.0, "100%"],
        ["others", None, 3, 0.03, "0%"],
    ]


@pytest.mark.parametrize(
    ("period", "seconds", "p50", "p99", "superseded"),
    [
        (10, 9, 9.2, 14.0, 0),
        (10, 12, 16.9, 24.4, 17),
        (10, 15, 20.0, 28.3, 33),
        (10, 25, 29.9, 41.5, 60),
        (100 / 3, 40, 56.3, 81.1, 17),
    ],
)
def test_the_queue_that_live_runs_are_compared_with(
    period: float, seconds: float, p50: float, p99: float, superseded: float
) -> None:
    """Against another simulation of the same queue, whose durations had the same mean and deviation [ms, %]."""
    case = module("live_case")
    draw = case.jittered(seconds / 1000, seed=3)
    ages, share = case.latest_wins(period / 1000, [draw() for _ in range(50_000)])
    # Of so many frames the median is sure to 0.1 ms. How long the tails were was not said, so that the 99th percentile
    # says no more than 5 %.
    assert 1000 * np.median(ages) == pytest.approx(p50, abs=0.2)
    assert 1000 * np.percentile(ages, 99) == pytest.approx(p99, rel=0.05)
    assert 100 * share == pytest.approx(superseded, abs=0.6)


def test_random_heatmaps_keep_a_few_cells_that_score_well() -> None:
    import torch
    from exported_families import family_config
    from exported_pairs import drawn
    from reference_weights import fill

    from rigpose_export.reference import ReferenceSession
    from rigpose_training.models import build_model
    from rigpose_training.pose_graph import PoseGraph

    bundles, config = module("random_bundles"), family_config("resnet_50")
    model = build_model(config).eval()
    fill(model, "family")
    graph = PoseGraph(model, config).eval()

    def scoring_well() -> list[int]:
        with torch.inference_mode():
            maps = model(graph.normalise(torch.from_numpy(drawn(0, 96, 128)[None])), None)["bodypart"]["heatmap"]
        return (maps.sigmoid() >= bundles.SCORE * (1 - 1e-4)).flatten(2).sum(dim=2)[0].tolist()

    before = scoring_well()
    bundles.calm(model, ReferenceSession(graph), drawn(0, 96, 128))
    assert scoring_well() == [bundles.ABOVE] * len(before)
    assert before != scoring_well()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet_50", "rtmpose_s"])
def test_a_network_is_cut_at_its_maps(name: str, tmp_path: Path) -> None:
    """What the cut graph gives are the maps of the network in torch, and nothing is left of their decoding."""
    import onnx
    import torch
    from exported_families import family_config
    from reference_weights import fill
    from traced_graphs import inputs_of, run

    from rigpose_export.graphs.onnx_file import write_onnx
    from rigpose_training.models import build_model
    from rigpose_training.pose_graph import PoseGraph
    from rigpose_training.spec import model_spec

    config = family_config(name)
    model = build_model(config).eval()
    fill(model, "family")
    whole = PoseGraph(model, config).eval()
    file, out = tmp_path / "pose.onnx", tmp_path / "network.onnx"
    write_onnx(whole, model_spec(config), file)
    onnx.utils.extract_model(str(file), str(out), ["frames"], module("random_bundles").maps_of(file))
    cut = onnx.load(str(out))
    assert len(cut.graph.node) < len(onnx.load(str(file)).graph.node)
    feeds = inputs_of(cut, batch=2)
    found = run(cut, feeds)
    with torch.inference_mode():
        maps = whole.model(whole.normalise(torch.from_numpy(feeds["frames"])), None)["bodypart"]
    assert len(found) == len(maps)
    for right in maps.values():
        # Rounding of float32 alone, relative to the largest number of a map.
        near = [np.abs(right.numpy() - m).max() for m in found.values() if m.shape == tuple(right.shape)]
        assert min(near) < 1e-4 * float(right.abs().max())
