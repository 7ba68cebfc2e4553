"""The arithmetic of the scaling model, with knees computed by hand, and its page and figure from lines as measured."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
GIGABIT = 125_000_000


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def model() -> Any:
    return importlib.import_module("cluster_model")


ROUND = {
    "read": 9700.0, "decode": 1.0e-3, "group": 0.5e-3, "result": 100.0, "merge": 20e-6, "tables": 0.5e-3,
    "written": 100.0, "seek": 0.0, "gap": 1.0,
}  # fmt: skip
"""10,000 bytes of the file server and 2 ms of a core for each frame, and 1 s of waiting between two segments."""


def gpu(model: Any, rate: float = 500, cores: float = 8) -> Any:
    return model.Device("g", 1 / rate, cores)


def test_a_file_server_feeds_so_many_gpus(model: Any) -> None:
    stages, site = model.Stages(**ROUND), model.Site(GIGABIT)
    # 500 frames/s, of which 2000 frames take 4 s and the gap before the next segment 1 s more: 400 remain.
    assert model.kept_rate(stages, gpu(model), site) == pytest.approx(400)
    # 125 MB/s are 12,500 frames/s of 10 kB; 12,500 / 400 = 31.25.
    found = model.knee(stages, gpu(model), site)
    assert (found.limit, found.rate, found.devices) == ("file server", pytest.approx(12_500), pytest.approx(31.25))
    assert model.throughput(31, stages, gpu(model), site) == pytest.approx(12_400)
    assert model.throughput(32, stages, gpu(model), site) == pytest.approx(12_500)
    assert model.throughput(1000, stages, gpu(model), site) == pytest.approx(12_500)


def test_behind_a_faster_server_the_driver_is_next(model: Any) -> None:
    # 125,000 frames/s from the server, but 20 us each are 50,000 for the driver; 50,000 / 400 = 125.
    found = model.knee(model.Stages(**ROUND), gpu(model), model.Site(10 * GIGABIT))
    assert (found.limit, found.devices) == ("driver", pytest.approx(125))


def test_or_the_driver_s_network(model: Any) -> None:
    # 100 bytes a frame through 1 MB/s are 10,000 frames/s.
    found = model.knee(model.Stages(**ROUND), gpu(model), model.Site(10 * GIGABIT, link=1e6))
    assert (found.limit, found.devices) == ("driver's network", pytest.approx(25))


def test_the_cores_beside_a_gpu_can_be_too_few(model: Any) -> None:
    stages = model.Stages(**ROUND)
    assert gpu(model, rate=500, cores=1).rate(stages) == pytest.approx(500)
    assert gpu(model, rate=500, cores=1).limit(stages) == "network"
    # Half a core does 2 ms of work 250 times a second.
    assert gpu(model, rate=500, cores=0.5).rate(stages) == pytest.approx(250)
    assert gpu(model, rate=500, cores=0.5).limit(stages) == "cores"


def test_seeking_takes_time_of_the_cores_alone(model: Any) -> None:
    stages = model.Stages(**{**ROUND, "seek": 4.0})
    # 4 s for 2000 frames are 2 ms more for each: half a core does 125 in a second, and eight still 2000.
    assert gpu(model, rate=500, cores=0.5).rate(stages) == pytest.approx(125)
    assert gpu(model, rate=500, cores=8).rate(stages) == pytest.approx(500)
    # In segments of 400 frames, 10 ms more.
    assert gpu(model, rate=500, cores=0.5).rate(stages, 400) == pytest.approx(0.5 / 0.012)


def test_a_node_s_cores_do_everything(model: Any) -> None:
    # 8 cores, 2 ms of work around the network and 14 ms in it.
    assert model.Device("n", 0.014, 8, gpu=False).rate(model.Stages(**ROUND)) == pytest.approx(500)


def test_short_segments_cost_fast_devices_most(model: Any) -> None:
    assert model.efficiency(500, 1.0, 500) == 0.5
    assert model.efficiency(500, 1.0, 4500) == 0.9
    assert model.efficiency(50, 1.0, 450) == 0.9
    assert model.efficiency(500, 0.0, 1) == 1


@pytest.mark.parametrize(
    ("frames", "devices", "done"),
    # Five segments on three devices are two rounds, the second with one device idle; the last segment may be short.
    [(10_000, 3, 10 / 12), (12_000, 3, 1), (12_001, 3, 12_001 / 18_000), (1, 4, 1 / 8000)],
)
def test_the_end_of_a_job_leaves_devices_idle(model: Any, frames: int, devices: int, done: float) -> None:
    assert model.tail(frames, devices, 2000) == pytest.approx(done)


def lines() -> list[dict[str, Any]]:
    """Two measurements of one video, as the script writes them."""
    whole = {"video": "v.mp4", "height": 480, "width": 640, "codec": "h264", "bundle": "b", "machine": "m"}
    old = {**whole, "stages": {name: [9 * value] for name, value in ROUND.items()}}
    return [
        old,
        {**whole, "stages": {name: [value, 2 * value, 0.0] for name, value in ROUND.items()}},
        {"overhead": {}},
    ]


ARCHITECTURES = [
    {
        "architecture": "resnet_50 single", "precision": "fp32", "threads": 1, "backend": backend,
        "height": 480, "width": 640, "graph": {"cpu_ms_per_frame": ms},
    }
    for backend, ms in (("onnxruntime", 600.0), ("openvino", 498.0))
]  # fmt: skip


def test_the_page_says_what_the_arithmetic_says(model: Any) -> None:
    page = importlib.import_module("cluster_page").markdown(lines(), ARCHITECTURES)
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| v.mp4")
    ]
    # Of the newest line, the medians.
    assert rows[0][2:11] == ["9.7", "1", "0.5", "100", "20", "0.5", "100", "0", "1000"]
    by_device = {row[1]: row[2:] for row in rows if len(row) == 3 + len(model.SERVERS)}
    assert by_device["GPU of 500 frames/s (assumed), 8 cores"] == [
        "400 (network)", "31 (file server)", "125 (driver)", "125 (driver)", "125 (driver)",
    ]  # fmt: skip
    # 64 cores, 0.5 s each: 128 frames/s, of which 2000 frames need 15.6 s and the gap behind them 1 s.
    (node,) = (cells for name, cells in by_device.items() if "resnet_50 fp32 in openvino at 2.0" in name)
    assert node[0] == "120.3 (cores)" and node[1] == "103 (file server)"
    # Of frames of another size the networks' rates are not known.
    assert model.nodes(ARCHITECTURES, 1024, 1280) == []
    # 2 ms at 500 frames/s keep one core busy.
    assert ["v.mp4", "0.1", "0.4", "1", "4"] in rows


def test_the_figure_has_a_knee_for_every_device_and_server(model: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    measured = importlib.import_module("cluster_page").measured(lines())
    (path,) = importlib.import_module("cluster_figure").draw(measured, tmp_path)
    assert path.name == "cluster-v-mp4.png" and path.stat().st_size > 10_000


def test_without_measurements_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("record"), "RESULTS", tmp_path)
    monkeypatch.setattr("sys.argv", ["cluster_page.py", "--out", str(tmp_path / "page.md")])
    with pytest.raises(SystemExit, match=r"run benchmarks/cluster\.py first"):
        importlib.import_module("cluster_page").main()
