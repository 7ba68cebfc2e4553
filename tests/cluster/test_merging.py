"""Segments in any order make the journal of an analysis that was never shared; what does not fit is read through."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_bundle import write_bundle
from drawn_video import damage_avi_frame, write_video

from rigpose.analyzers.run_options import RunOptions
from rigpose.cluster import segments
from rigpose.cluster.merging import MergedVideo
from rigpose.cluster.segments import Segment, SegmentPoses
from rigpose.cluster.worker import ModelToLoad, Refusal, Worker, WorkerFacts
from rigpose.files.results import ResultFiles
from rigpose.load import load
from rigpose.videos.analysis import analyze_video
from rigpose.videos.journalled_video import JournalledVideo
from rigpose.videos.outcome import AnalysisOptions

LENGTH = 40


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", LENGTH)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("cluster") / "drawn.bundle").path


@pytest.fixture(scope="module")
def worker(bundle: Path) -> Worker:
    made = Worker(
        ModelToLoad(str(bundle), "cpu", 1, "onnxruntime", None, None, RunOptions(), load(bundle).bundle.checksum, ())
    )
    assert isinstance(made.open(), WorkerFacts)
    return made


def _any(_segment: Segment) -> bool:
    return True


def _merged(worker: Worker, video: Path, destination: Path) -> MergedVideo:
    facts = worker.open()
    assert isinstance(facts, WorkerFacts)
    own = JournalledVideo(
        facts,
        video,
        identity=worker.identity,
        options=_options(destination),
        period_of=lambda height, width: _period(worker, height, width),
    )
    return MergedVideo(own, facts.hardware)


def _period(worker: Worker, height: int, width: int) -> int:
    period = worker.period(height, width)
    assert isinstance(period, int)
    return period


def _options(destination: Path) -> AnalysisOptions:
    return AnalysisOptions(batch=8, destination=destination)


def _work(worker: Worker, merged: MergedVideo, order: Callable[[list[SegmentPoses]], None]) -> int:
    """Do all segments that can be had, hand them back in another order, until none are left; how many there were."""
    done = 0
    own = merged.video
    options = replace(_options(own.files.h5.parent), batch=own.batch, decoder=own.source.decoder)
    while not merged.ended:
        outcomes = []
        while (segment := merged.take(_any)) is not None:
            outcome = worker.analyze(own.path, segment, options)
            assert isinstance(outcome, SegmentPoses)
            outcomes.append(outcome)
        assert outcomes, "nothing is left to do, and the video has not ended"
        order(outcomes)
        for outcome in outcomes:
            merged.add(outcome)
        done += len(outcomes)
    return done


def _same_as_plain(worker: Worker, bundle: Path, merged: MergedVideo, folder: Path) -> None:
    own = merged.video
    own.close()
    written = worker.write(own.path, _options(own.files.h5.parent), own.journal.frames, 1.0)
    assert not isinstance(written, Refusal), written
    analyzer = load(bundle, device="cpu", threads=1)
    plain = analyze_video(analyzer, own.path, identity=analyzer.identity(), options=_options(folder / "plain"))
    assert written.frames == plain.frames and written.csv is not None and plain.csv is not None
    assert written.h5.read_bytes() == plain.h5.read_bytes()
    assert written.csv.read_bytes() == plain.csv.read_bytes()
    assert sorted(path.name for path in written.h5.parent.iterdir()) == sorted(
        p.name for p in plain.h5.parent.iterdir()
    )


@pytest.mark.parametrize("seed", range(4))
def test_segments_in_any_order_make_the_files_of_one_machine(
    seed: int, worker: Worker, bundle: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "a.mp4", [number % 240 for number in range(203)])
    merged = _merged(worker, video, tmp_path / "shared")
    assert _work(worker, merged, random.Random(seed).shuffle) == 5
    assert merged.read_through is None
    _same_as_plain(worker, bundle, merged, tmp_path)


def test_an_interrupted_video_goes_on_where_its_journal_ends(worker: Worker, bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [number % 240 for number in range(203)])
    merged = _merged(worker, video, tmp_path / "shared")
    options = replace(_options(tmp_path / "shared"), decoder="opencv")
    first, second, third = merged.take(_any), merged.take(_any), merged.take(_any)
    for segment in (third, first):
        assert segment is not None
        outcome = worker.analyze(video, segment, options)
        assert isinstance(outcome, SegmentPoses)
        merged.add(outcome)
    assert second is not None and merged.video.journal.frames == LENGTH
    merged.video.close()
    again = _merged(worker, video, tmp_path / "shared")
    assert again.video.resumed_at == LENGTH
    _work(worker, again, list.reverse)
    assert again.read_through is None
    _same_as_plain(worker, bundle, again, tmp_path)


def test_a_segment_whose_worker_died_is_given_to_another(worker: Worker, bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [number % 240 for number in range(203)])
    merged = _merged(worker, video, tmp_path / "shared")
    lost, also = merged.take(_any), merged.take(_any)
    assert lost is not None and also is not None
    merged.give_back(also)
    merged.give_back(lost)
    assert merged.take(_any) == lost
    merged.give_back(lost)
    _work(worker, merged, lambda outcomes: None)
    _same_as_plain(worker, bundle, merged, tmp_path)


@pytest.mark.parametrize("damaged", [(50,), (3, 100, 101), (150,)])
def test_a_damaged_video_is_read_through_from_where_it_no_longer_fits(
    damaged: tuple[int, ...], worker: Worker, bundle: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "a.avi", [number % 240 for number in range(203)], codec="MJPG")
    for number in damaged:
        damage_avi_frame(video, number)
    merged = _merged(worker, video, tmp_path / "shared")
    _work(worker, merged, random.Random(1).shuffle)
    # The segment with the first damaged frame ends one frame late.
    assert merged.read_through == (damaged[0] // LENGTH + 1) * LENGTH
    _same_as_plain(worker, bundle, merged, tmp_path)


def test_what_cannot_be_sought_at_all_is_read_through(worker: Worker, bundle: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", [number % 240 for number in range(203)])
    merged = _merged(worker, video, tmp_path / "shared")
    first, second = merged.take(_any), merged.take(_any)
    assert first is not None and second is not None
    merged.cannot_seek(second)
    merged.give_back(first)
    assert merged.read_through is None
    _work(worker, merged, lambda outcomes: None)
    assert merged.read_through == LENGTH
    _same_as_plain(worker, bundle, merged, tmp_path)


def test_a_journal_that_another_machine_does_not_see_whole_is_refused(worker: Worker, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(100))
    merged = _merged(worker, video, tmp_path / "shared")
    _work(worker, merged, lambda outcomes: None)
    merged.video.close()
    refused = worker.write(video, _options(tmp_path / "shared"), 101, 1.0)
    assert isinstance(refused, Refusal) and "100 of 101 frames on another machine" in refused.sentence
    other = worker.write(video, replace(_options(tmp_path / "shared"), batch=4), 100, 1.0)
    assert isinstance(other, Refusal) and "another analysis has taken this journal's place" in other.sentence
    assert ResultFiles.of(video, worker.identity.scorer, tmp_path / "shared").partial.exists()
