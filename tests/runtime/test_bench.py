"""``rigpose bench``: what is timed against durations that are known, and what is said about it."""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_bundle import write_bundle
from drawn_video import BrightestCell, draw_frame, write_video

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Array
from rigpose.bench.measure import Measurement, measure
from rigpose.bench.memory import peak_bytes, resident_bytes
from rigpose.bench.source import MemorySource, VideoSource
from rigpose.bench.spread import Spread, rates_by_third
from rigpose.bench.verdict import advice, bottleneck, judgement, keeps, steadiness
from rigpose.bench.watched import Stage, Watch, watched_sessions
from rigpose.bundles.bundle import PARITY, Bundle
from rigpose.bundles.certificate import Bounds, Certificate, GraphCertificate, Loss, Structure
from rigpose.commands.bench import COMMAND
from rigpose.errors import MediaError
from rigpose.measures.differences import Tolerance
from rigpose.measures.drift import Drift
from rigpose.models.model_spec import ModelSpec
from rigpose.schema import to_mapping
from rigpose.sessions.backends import Backend
from rigpose.videos.journal import FrameRecord, Journal
from rigpose.videos.video import VideoFrame

LATE = 25.0
"""What a machine that other programs use may add to a median between the stub's own clock and the product's [ms]."""


class _Sleeps(BrightestCell):
    """Takes the durations of a list one after the other, again and again [s].

    A sleep never ends too early, and on a busy machine ends late: ``spent`` is what each call really took [s], under
    the number of its frames.
    """

    def __init__(self, durations: Sequence[float]) -> None:
        super().__init__()
        self.durations, self.calls = durations, 0
        self.spent: defaultdict[int, list[float]] = defaultdict(list)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        begun = time.perf_counter()
        time.sleep(self.durations[self.calls % len(self.durations)])
        self.calls += 1
        found = super().run(inputs)
        self.spent[len(inputs["frames"])].append(time.perf_counter() - begun)
        return found


class _Slow(MemorySource):
    """Frames that take a while to come [s]."""

    seconds = 0.02

    def frames(self) -> Generator[VideoFrame, None, None]:
        for frame in super().frames():
            time.sleep(self.seconds)
            yield frame


def _analyzer(durations: Sequence[float]) -> Analyzer:
    return Analyzer(ModelSpec("single_animal", "resnet_50", ("number", "place")), _Sleeps(durations))


PICTURES = MemorySource([draw_frame(i) for i in range(6)], "six pictures")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rigpose.bench.measure.SHORTEST", 0.3)


def test_a_known_duration_is_found_in_every_scope() -> None:
    analyzer, session = _analyzer([0.04]), _Sleeps([0.04])
    analyzer.session = session
    found = measure(analyzer, PICTURES, seconds=1.0, batch=4)
    for spread, frames in ((found.graphs, 4), (found.one_frame, 1), (found.intervals, 4)):
        truth = Spread.of(session.spent[frames])
        assert 40 <= spread.p50 <= truth.p50 + LATE
        assert spread.p50 <= spread.p90 <= spread.p99 <= spread.max
    # Sleeps are never too short, so that no rate can be above the truth.
    assert 20 <= found.graphs_per_second <= 100 and 20 <= found.frames_per_second <= 100
    assert found.frames == found.stages["write"].frames and found.frames % 4 == 0
    assert found.frames == pytest.approx(found.frames_per_second * found.seconds)
    assert found.seconds >= 1.0
    assert bottleneck(found).stage == "inference" and bottleneck(found).busy > 0.6
    # Sleeping takes no processor time.
    assert found.cpu_seconds < 0.5 * found.seconds
    assert found.stages["graphs"].seconds <= found.stages["inference"].seconds


def test_rare_slow_batches_are_seen_in_the_tail_alone() -> None:
    found = measure(_analyzer([0.01] * 9 + [0.2]), PICTURES, seconds=2.0, batch=2)
    assert found.intervals.p99 >= 190 and found.intervals.max >= 190
    assert found.intervals.p50 < found.intervals.p99 / 2 < found.intervals.jitter


def test_a_slow_decoder_is_what_limits() -> None:
    found = measure(_analyzer([0.001]), _Slow(PICTURES.pictures, "slow"), seconds=0.8, batch=2)
    limit = bottleneck(found)
    assert limit.stage == "decode" and limit.busy > 0.6
    assert found.frames_per_second <= 50 and found.frames_per_second < found.graphs_per_second
    assert min(found.stages["decode"].per_frame) >= 0.02
    assert found.stages["decode"].seconds <= found.seconds + 0.1


def test_a_slow_disk_is_what_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    append = Journal.append

    def slow(self: Journal, records: Sequence[FrameRecord]) -> None:
        time.sleep(0.04)
        append(self, records)

    monkeypatch.setattr(Journal, "append", slow)
    found = measure(_analyzer([0.001]), PICTURES, seconds=0.8, batch=2)
    assert bottleneck(found).stage == "write" and bottleneck(found).busy > 0.6


class _Tiring(MemorySource):
    """Forty quick frames, and then slow ones."""

    def frames(self) -> Generator[VideoFrame, None, None]:
        for frame in super().frames():
            time.sleep(0.0 if frame.index < 40 else 0.2)
            yield frame


def test_a_run_that_becomes_slower_drifts() -> None:
    found = measure(_analyzer([0.0]), _Tiring([draw_frame(0)] * 1000, "tiring"), seconds=1.5, batch=1)
    # Most of the 40 quick frames lie in the first half second, at most 3 slow ones in the last.
    assert found.drift < 0.5 and "became slower" in steadiness(found)[0]


def _broken(self: _Sleeps, inputs: Mapping[str, Array]) -> dict[str, Array]:
    raise MediaError("broken")


def test_watches_are_taken_off_again(monkeypatch: pytest.MonkeyPatch) -> None:
    analyzer = _analyzer([0.0])
    session, watch = analyzer.session, Watch()
    monkeypatch.setattr(_Sleeps, "run", _broken)
    with pytest.raises(MediaError), watched_sessions(analyzer, watch):
        analyzer.predict(draw_frame(3))
    assert analyzer.session is session
    # What failed was not timed.
    assert not watch["graphs"].passes


def test_a_source_without_frames_is_refused() -> None:
    with pytest.raises(MediaError, match="has no frames"):
        measure(_analyzer([0.0]), _Empty(PICTURES.pictures, "empty"), seconds=0.1)


class _Empty(MemorySource):
    def frames(self) -> Generator[VideoFrame, None, None]:
        yield from ()


def test_a_spread_is_numpys() -> None:
    seconds = np.arange(1, 1001) / 1000
    found = Spread.of(seconds.tolist())
    assert found.count == 1000
    assert [found.p50, found.p90, found.p99, found.max] == pytest.approx([500.5, 900.1, 990.01, 1000.0])
    assert found.jitter == pytest.approx(489.51)
    assert Spread.of([]).count == 0


def test_thirds_are_cut_by_time_and_not_by_batches() -> None:
    # 30 frames in three seconds, then 30 in six: 10, 5 and 5 frames/s, in batches across the borders.
    assert rates_by_third([101.5, 103.0, 106.0, 109.0], [15, 15, 15, 15], begun=100.0) == pytest.approx((10, 5, 5))


def test_memory_is_what_the_system_says() -> None:
    before, block = resident_bytes(), np.ones(30_000_000)
    after, peak = resident_bytes(), peak_bytes()
    assert before is not None and after is not None and peak is not None
    assert block.nbytes * 0.8 < after - before < block.nbytes * 1.5
    assert peak >= after


def _measured(*, rate: float = 100.0, one_frame: float = 5.0, thirds: Any = None, **busy: float) -> Measurement:
    """Ten seconds; ``busy`` are the seconds in each stage."""
    stages = Watch()
    for stage, seconds in ({"inference": 9.8} | busy).items():
        name: Any = stage
        stages[name].add(seconds, 0.0, 10)
    spread = Spread(200, one_frame, one_frame, 2 * one_frame, 2 * one_frame)
    return Measurement(
        batch=8, size=(10, 10), graphs=spread, graphs_per_second=rate, one_frame=spread, intervals=spread,
        frames=int(10 * rate), seconds=10.0, thirds=thirds or (rate, rate, rate), stages=stages, cpu_seconds=1.0,
        resident=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("busy", "stage"),
    [
        ({"decode": 9.9, "inference": 5.0}, "decode"),
        ({"decode": 4.0, "prepare": 5.9, "inference": 5.0}, "prepare"),
        ({"decode": 6.0, "inference": 9.9}, "inference"),
        ({"inference": 5.0, "group": 8.0, "write": 1.9}, "group"),
        ({"inference": 5.0, "group": 1.0, "write": 8.9}, "write"),
        # Neither of one thread's two stages is as long as inference, and yet this thread is the one that is waited for.
        ({"decode": 4.9, "prepare": 4.9, "inference": 6.0}, "decode"),
    ],
)
def test_the_busiest_thread_limits(busy: dict[Stage, float], stage: Stage) -> None:
    limit = bottleneck(_measured(**busy))
    assert limit.stage == stage and limit.sure and limit.busy > 0.97


def test_a_rate_is_kept_in_every_third_or_not_at_all() -> None:
    assert keeps(_measured(rate=130), 100) and not keeps(_measured(rate=130, thirds=(160.0, 131.0, 99.0)), 100)
    assert "KEEPS UP with 100 frames/s with 30 % to spare." in judgement(_measured(rate=130), 100)
    assert judgement(_measured(rate=130, thirds=(160.0, 131.0, 63.5)), 100)[0] == (
        "DOES NOT KEEP UP with 100 frames/s: its slowest third gave 63.5, 63 % of that."
    )


def test_a_live_loop_is_judged_by_single_frames() -> None:
    assert len(judgement(_measured(rate=130, one_frame=4.9), 100)) == 1
    assert "a queue of at least 2 frames" in judgement(_measured(rate=130, one_frame=8.0), 100)[1]
    assert "half of the frames take 12.0 ms" in judgement(_measured(rate=130, one_frame=12.0), 100)[1]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with an int8 graph for OpenVINO and fp16, whose certificate says 0.03 and 0.5 px."""
    return _write(tmp_path_factory.mktemp("bench"), p99_px=0.03)


def _write(folder: Path, *, p99_px: float) -> Bundle:
    made = write_bundle(folder / "drawn.bundle")
    graphs = tuple(_certified(graph.file, graph.precision, p99_px) for graph in made.manifest.graphs)
    certificate = Certificate({}, "torch", "", "", "", Tolerance(), {}, graphs)
    (made.path / PARITY).write_text(yaml.safe_dump(to_mapping(certificate)))
    return made


def _certified(file: str, precision: Any, p99_px: float) -> GraphCertificate:
    moved = Drift(100, 0, 0.6, p99_px, 0.01, 0.01, 0.0, 0.6, 0, 0)
    loss = None if precision == "fp32" else Loss(1, moved, moved, Bounds(None, 0.05, 0.05), ())
    verdict: Any = "passed" if precision == "fp32" else "accepted"
    return GraphCertificate(file, "pose", precision, "torch", Structure(20, 1, {}), {}, (), loss, 0.0, None, verdict)


def test_what_moves_keypoints_by_pixels_is_no_advice(tmp_path: Path) -> None:
    for p99_px, advised in ((0.9, True), (1.1, False)):
        folder = tmp_path / str(advised)
        folder.mkdir()
        said = " ".join(advice(_measured(), _write(folder, p99_px=p99_px), Backend(device="cuda"), "cuda:0"))
        assert ("--precision fp16" in said) == advised


def test_advice_names_what_the_bundle_has_and_what_it_costs(bundle: Bundle) -> None:
    said = advice(_measured(), bundle, Backend(device="cuda"), "cuda:0")
    assert said[0].startswith("inference limits: its thread was busy 98 %")
    assert "--backend onnxruntime --precision fp16 (certificate: p99 0.03 px, a loss that was accepted" in said[1]
    assert said[2] == "Else take a smaller network."
    # The bundle has no int8.
    on_cpu = " ".join(advice(_measured(), bundle, Backend(precision="fp32"), "cpu"))
    assert "fp16" not in on_cpu and "--precision int8 (" not in on_cpu
    assert "export again with --precision int8" in on_cpu and "use a GPU" in on_cpu
    # What runs already is not advised, nor what is mostly slower.
    fastest = advice(_measured(), bundle, Backend(precision="fp16"), "cuda:0")
    assert "--precision fp16 (" in " ".join(fastest) and "--backend onnxruntime" not in " ".join(fastest)
    unsure = advice(_measured(inference=6.0), bundle, Backend(), "cpu")
    assert unsure[0].startswith("no stage was always busy (inference most, 60 %)")
    assert "codec" in advice(_measured(decode=9.9, inference=1.0), bundle, Backend(), "cpu")[1]


def test_the_command_prints_a_page_and_ends_by_the_rate(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "v.mp4", range(40))
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    words = [str(bundle.path), "--video", str(video), "--minutes", "0.01", "--device", "cpu", "--threads", "1"]
    file = tmp_path / "bench.json"
    assert COMMAND.run(parser.parse_args([*words, "--target-fps", "0.5", "--json", str(file)])) == 0
    page, figures = capsys.readouterr().out, json.loads(file.read_text())
    for words_of_page in ("graphs alone", "one frame at a time", "end to end", "decode", "jitter", "drift", "KEEPS UP"):
        assert words_of_page in page
    assert figures["keeps_up"] is True and figures["end_to_end"]["frames"] % 8 == 0
    assert set(figures["end_to_end"]["stages"]) == {"decode", "prepare", "inference", "group", "write"}
    assert figures["end_to_end"]["frames_per_second"] == pytest.approx(
        figures["end_to_end"]["frames"] / figures["end_to_end"]["seconds"]
    )
    assert COMMAND.run(parser.parse_args([*words, "--target-fps", "1e9"])) == 1
    assert "DOES NOT KEEP UP" in capsys.readouterr().out
    assert COMMAND.run(parser.parse_args(words)) == 0
    assert "the recording's own 25 frames/s" in capsys.readouterr().out


def test_a_video_is_gone_through_again_and_again(tmp_path: Path) -> None:
    source = VideoSource.of(write_video(tmp_path / "v.mp4", range(5)))
    assert source.size == (96, 160) and source.frames_per_second == 25 and source.decodes
    assert measure(_analyzer([0.0]), source, seconds=0.3, batch=4).frames > 5


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--target-fps", "-3"], ["--target-fps", "nan"]])
def test_numbers_that_mean_nothing_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["x.bundle", *words])
    assert "above 0" in capsys.readouterr().err
