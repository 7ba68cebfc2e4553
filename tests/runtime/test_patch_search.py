"""One animal of a top-down network without a detector, in videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_networks import CROPS, SEVERAL, WHOLE, Spots, animal, drawn, round_trip

from rigpose.analyzers.patch_search import PatchSearch, PatchSearchAnalyzer
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.analyzers.tracking_crop import DynamicCrop
from rigpose.arrays import Array, Frames
from rigpose.errors import ConfigError
from rigpose.files.results import read_results
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.poses import Poses
from rigpose.videos.analysis import AnalysisOptions, analyze_video
from rigpose.videos.journal import Journal
from rigpose.videos.metadata import ResultIdentity, read_meta

HALF_A_PIXEL = 0.5


def searching(search: PatchSearch | None = None) -> tuple[PatchSearchAnalyzer, Spots]:
    session = Spots()
    return PatchSearchAnalyzer(CropAnalyzer(CROPS, session, batch=32), search or PatchSearch()), session


@given(
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
    columns=st.integers(1, 6),
    rows=st.integers(1, 6),
    overlap=st.integers(0, 120),
)
def test_patches_cover_the_frame_and_share_their_overlap(
    width: int, height: int, columns: int, rows: int, overlap: int
) -> None:
    patches = PatchSearch(columns, rows, overlap=overlap).patches(height, width)
    assert patches.shape == (columns * rows, 4)
    for axis, side, count in ((0, width, columns), (1, height, rows)):
        length = patches[0, 2 + axis]
        assert (patches[:, 2 + axis] == length).all()
        begins = np.unique(patches[:, axis])
        assert len(begins) == count
        shared = length - np.diff(begins)
        # float32 holds places up to 2000 px to 0.0002 px.
        np.testing.assert_allclose(shared, min(overlap, side / 2), atol=1e-3)
        np.testing.assert_allclose((begins[0], begins[-1] + length), (0, side), atol=1e-3)


def test_an_animal_as_large_as_the_overlap_lies_wholly_in_one_patch() -> None:
    x, y, width, height = PatchSearch().patches(480, 640).T
    for left in np.linspace(0, 640 - 50, 60):
        for top in np.linspace(0, 480 - 50, 60):
            inside = (x <= left) & (left + 50 <= x + width) & (y <= top) & (top + 50 <= y + height)
            assert inside.any()


def test_frames_that_do_not_follow_each_other_are_each_searched() -> None:
    places = [(40, 40), (280, 60), None, (160, 200)]
    analyzer, session = searching()
    frames = drawn(places)
    frames[1] = drawn([places[1]], 200, 400)[0]
    found = analyzer.predict(frames)
    for place, poses in zip(places, found, strict=True):
        assert len(poses) == (place is not None)
        if place is not None:
            assert np.abs(poses.xy[0] - animal(place)).max() <= HALF_A_PIXEL
    # Four frames of six patches, and a closer look at the three with an animal.
    assert [shape[0] for shape in session.shapes] == [24, 3]
    [alone] = analyzer.predict(frames[0])
    np.testing.assert_array_equal(alone.xy, found[0].xy)


class HalfSure(Spots):
    """Shows that the surest patch wins: an animal at the right scores more."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = super().run(inputs)
        found["keypoints"][..., 2] *= inputs["frames"].max(axis=(1, 2, 3))[:, None] / 255
        return found


def test_the_patch_with_the_best_mean_score_wins() -> None:
    dim, bright = drawn([(40, 60), (270, 180)])
    frame = np.maximum(dim // 2, bright)
    analyzer = PatchSearchAnalyzer(CropAnalyzer(CROPS, HalfSure()), PatchSearch())
    [poses] = analyzer.predict(frame)
    assert np.abs(poses.xy[0] - animal((270, 180))).max() <= HALF_A_PIXEL
    assert poses.animal_score is not None
    np.testing.assert_allclose(poses.animal_score, poses.score.mean(axis=1))


def as_the_pipeline_runs_it(analyzer: PatchSearchAnalyzer, frames: Frames, batch: int) -> list[Poses]:
    run = analyzer.run_of(*frames.shape[1:3])
    assert batch % run.period == 0
    return [poses for at in range(0, len(frames), batch) for poses in run.poses(run.infer(frames[at : at + batch]))]


@pytest.mark.parametrize("batch", [4, 8, 24])
def test_stretches_in_step_are_stretches_one_after_the_other(batch: int) -> None:
    frames = np.stack(drawn([*round_trip(11), None, None, *round_trip(9)]))
    search = PatchSearch(search_every=4)
    analyzer, session = searching(search)
    found = as_the_pipeline_runs_it(analyzer, frames, batch)
    right = as_the_pipeline_runs_it(searching(search)[0], frames, 4)
    assert {len(poses) for poses in right} == {0, 1}
    for ours, other in zip(found, right, strict=True):
        for name in ("xy", "score", "animal_score", "boxes"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(other, name))
    # The beginnings of all stretches of a batch are searched together, at most 32 crops at a time.
    assert session.shapes[0][0] == min(6 * min(batch // 4, 6), 32)


IDENTITY = ResultIdentity("DLC_Spots", "0123abcd", {"net_type": "x"}, {"num_joints": 2})


def _crash_after(calls: int, original: Callable) -> Callable:
    done = 0

    def function(*args: object, **kwargs: object) -> object:
        nonlocal done
        if done == calls:
            raise KeyboardInterrupt
        done += 1
        return original(*args, **kwargs)

    return function


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_an_interrupted_analysis_ends_with_the_bytes_of_a_whole_one(
    batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [*round_trip(14), None, *round_trip(14)]
    video = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"FFV1"), 25, (320, 240))
    for frame in drawn(places):
        writer.write(frame)
    writer.release()

    def analysed(**options):
        analyzer, _ = searching(PatchSearch(search_every=6))
        return analyze_video(analyzer, video, identity=IDENTITY, options=AnalysisOptions(batch=10, **options))

    whole = analysed(destination=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", _crash_after(batches, Journal.append))
        with pytest.raises(KeyboardInterrupt):
            analysed()
    result = analysed()
    # Of 10 frames at a time the next multiple of 6.
    assert result.resumed_at == 12 * batches and result.frames == len(places)
    assert result.csv is not None and whole.csv is not None
    assert result.csv.read_bytes() == whole.csv.read_bytes()
    meta = read_meta(tmp_path / "aDLC_Spots_meta.pickle")
    assert meta is not None and meta["rigpose"]["options"]["patch_search"]["search_every"] == 6
    found = read_results(result.h5)
    assert np.isnan(found.xy[14]).all()  # nobody there
    right = np.array([animal(place) for place in places if place is not None])
    assert np.abs(np.delete(found.xy, 14, axis=0)[:, 0] - right).max() <= HALF_A_PIXEL


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"columns": 0}, "search patches: 0 x 2 of them make no sense"),
        ({"columns": 9, "rows": 9}, "give 1 to 64 in all"),
        ({"overlap": -1}, "search overlap: -1 px"),
        ({"min_score": 0}, "search score: 0 is no score"),
        ({"min_score": float("nan")}, "search score: nan is no score"),
        ({"least_side": 0}, "search side: a box of 0 px"),
        ({"misses": 0}, "search misses: 0 frames"),
        ({"search_every": 101}, "in memory at once"),
    ],
)
def test_values_without_sense_are_refused(values: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        PatchSearch(**values)


def test_a_model_of_several_animals_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"finds one animal, and the model is of 3 \(ann, bob, cat\)"):
        PatchSearchAnalyzer(CropAnalyzer(SEVERAL, Spots()), PatchSearch())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_animals": 2}, "max_animals: search patches finds one animal"),
        ({"same_animal": 0.9}, "same_animal: search patches finds one animal"),
        ({"detect_every": 3}, "detect_every: a model of the task top_down has no detector"),
        ({"detector_cutoff": 0.3}, "detector_cutoff: a model of the task top_down has no detector"),
        ({"dynamic_crop": DynamicCrop()}, "crop dynamic: search patches already follows"),
        ({"grouping": {"luck": 1}}, "grouping.luck: the task top_down has no parameters"),
    ],
)
def test_choices_that_a_search_does_not_have_are_one_sentence(options: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        RunOptions(patch_search=PatchSearch(), **options).search(CROPS)


def test_a_search_is_for_top_down_models_without_a_detector() -> None:
    options = RunOptions(patch_search=PatchSearch())
    assert options.search(CROPS) == PatchSearch() and RunOptions().search(SEVERAL) is None
    assert replace(options, max_animals=1).search(CROPS) == PatchSearch()
    with pytest.raises(ConfigError, match="search patches: a pair's detector finds the animals"):
        options.detector(DetectorSpec(2))
    with pytest.raises(ConfigError, match="search patches: finds the animal of a top-down model, and this one is of"):
        options.frame_model(WHOLE)
    conditional = ModelSpec("conditional_top_down", "x", ("head", "tail"), crop=CROPS.crop)
    with pytest.raises(ConfigError, match="this one is of the task conditional_top_down"):
        options.rough_poses(WHOLE, conditional)
