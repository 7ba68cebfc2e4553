"""A region that follows one animal: what it sees is what the whole frame showed, and what it loses is found again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from rigpose.analyzers.analyzer import Analyzer
from rigpose.analyzers.tracking_crop import GRID, DynamicCrop, SearchRegions, TrackingAnalyzer, region_side
from rigpose.arrays import Array, Floats, Frames
from rigpose.errors import ConfigError
from rigpose.files.results import read_results
from rigpose.models.model_spec import ModelSpec, PafGrouping
from rigpose.models.preprocess import InputSpec, plan
from rigpose.poses import Poses
from rigpose.videos.analysis import AnalysisOptions, VideoResult, analyze_video
from rigpose.videos.journal import Journal
from rigpose.videos.metadata import ResultIdentity, read_meta
from rigpose.videos.video import Crop

HEIGHT, WIDTH = 210, 300  # multiples of nothing that a network likes
CELL = 16
SPEC = ModelSpec("single_animal", "cells", ("head", "tail"))
SMALL = DynamicCrop(size=(100, 90), margin=4)
"""Regions of 108 x 114 px in frames of 300 x 210."""


class Cells:
    """A network of a sort with a stride of 16: each keypoint is the centre of the cell where its colour is strongest.

    So it says other places where a region does not begin on its grid.
    """

    device = "cpu"

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        frames = inputs["frames"]
        assert frames.flags.c_contiguous
        self.shapes.append(frames.shape[:3])
        count, height, width, _ = frames.shape
        # A border of zeros, as networks pad.
        padded = np.zeros((count, -(-height // CELL) * CELL, -(-width // CELL) * CELL, 2))
        padded[:, :height, :width] = frames[..., :2]
        cells = padded.reshape(count, padded.shape[1] // CELL, CELL, -1, CELL, 2).mean(axis=(2, 4))
        keypoints = np.empty((count, 2, 3), np.float32)
        for b in range(count):
            for k in range(2):
                row, column = np.unravel_index(cells[b, ..., k].argmax(), cells.shape[1:3])
                keypoints[b, k] = (column + 0.5) * CELL, (row + 0.5) * CELL, cells[b, row, column, k] > 0
        return {"keypoints": keypoints}

    @property
    def whole(self) -> int:
        """Frames that were looked at as a whole."""
        largest = max(shape[1] for shape in self.shapes)
        return sum(shape[0] for shape in self.shapes if shape[1] == largest)


def drawn(places: Sequence[tuple[float, float] | None], *, tails: Sequence[bool] | None = None) -> Frames:
    """Frames with an animal at x, y, or none; its head is blue, and its green tail, 14 px below, may be hidden."""
    frames = np.zeros((len(places), HEIGHT, WIDTH, 3), np.uint8)
    for t, place in enumerate(places):
        if place is None:
            continue
        x, y = map(int, place)
        frames[t, y : y + 6, x : x + 6, 0] = 250
        if tails is None or tails[t]:
            frames[t, y + 14 : y + 20, x : x + 6, 1] = 250
    return frames


def tour(count: int) -> list[tuple[float, float]]:
    """Along a curve that touches all four sides of the frame."""
    angle = np.linspace(0, 2 * np.pi, count)
    x, y = (WIDTH - 6) * (1 + np.cos(angle)) / 2, (HEIGHT - 20) * (1 + np.sin(angle)) / 2
    return list(zip(x.tolist(), y.tolist(), strict=True))


def following(crop: DynamicCrop = SMALL, *, spec: ModelSpec = SPEC) -> tuple[TrackingAnalyzer, Cells]:
    session = Cells()
    return TrackingAnalyzer(Analyzer(spec, session), crop), session


def followed(analyzer: TrackingAnalyzer, frames: Frames, *, batch: int | None = None) -> list[Poses]:
    """As the pipeline runs it."""
    run = analyzer.run_of(*frames.shape[1:3])
    batch = batch or -(-len(frames) // run.period) * run.period
    assert batch % run.period == 0
    found: list[Poses] = []
    for start in range(0, len(frames), batch):
        slots = np.empty((len(frames[start : start + batch]), *run.slot_size, 3), np.uint8)
        for frame, slot in zip(frames[start:], slots, strict=False):
            run.write(frame, out=slot)
        found += run.poses(run.infer(slots))
    return found


def same(found: Sequence[Poses], right: Sequence[Poses]) -> None:
    for ours, other in zip(found, right, strict=True):
        np.testing.assert_array_equal(ours.to_array(), other.to_array())


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, input=InputSpec(multiple_of=32)),
        replace(SPEC, input=InputSpec(longest_side=450)),
        replace(SPEC, input=InputSpec(longest_side=240, multiple_of=32)),
    ],
    ids=["as it is", "padded", "enlarged", "made smaller and padded"],
)
def test_in_all_of_the_frame_the_region_shows_what_the_whole_frame_shows(spec: ModelSpec) -> None:
    frames = drawn(tour(90))
    analyzer, session = following(spec=spec)
    found = followed(analyzer, frames)
    same(found, analyzer.analyzer.predict(frames))
    # The beginnings of the stretches, and no other frame: two shapes, whatever the place.
    session.shapes.clear()
    followed(analyzer, frames)
    assert session.whole == 3 and len({shape[1:] for shape in session.shapes}) == 2


def test_a_region_that_began_elsewhere_would_say_other_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the grid the drawn network is wrong, so that the test above shows something."""
    monkeypatch.setattr("rigpose.analyzers.tracking_crop.GRID", 1)
    frames = drawn(tour(30))
    analyzer, _ = following()
    found, right = followed(analyzer, frames), analyzer.analyzer.predict(frames)
    assert max(np.abs(a.xy - b.xy).max() for a, b in zip(found, right, strict=True)) > 1


def test_maps_of_a_strided_network_are_those_of_the_whole_frame_away_from_the_regions_border() -> None:
    """Five convolutions of stride 2 see 63 px, so that cells one from the border are the whole frame's."""
    random = np.random.default_rng(3)
    kernels = [random.normal(size=(1 if last else 4, 3 if first else 4, 3, 3)).astype(np.float32) / 4
               for first, last in ((True, False), *((False, False),) * 3, (False, True))]  # fmt: skip
    names = ["planes", *(f"map{i}" for i in range(5))]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [names[i], f"kernel{i}"], [names[i + 1]], strides=[2, 2], pads=[1, 1, 1, 1])
            for i in range(5)
        ],
        "strided",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("map4", TensorProto.FLOAT, [1, 1, "y", "x"])],
        [numpy_helper.from_array(kernel, f"kernel{i}") for i, kernel in enumerate(kernels)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def seen(part: Floats) -> Floats:
        (maps,) = session.run(None, {"planes": np.ascontiguousarray(part)})
        return np.asarray(maps)[0, 0]

    picture = random.random((1, 3, HEIGHT, WIDTH)).astype(np.float32)
    whole = seen(picture)
    high, wide = region_side(HEIGHT, 140), region_side(WIDTH, 130)
    for x, y in ((0, 0), (32, 64), (160, 64)):
        rows, columns = slice(y // 32, None), slice(x // 32, None)
        part = seen(picture[..., y : y + high, x : x + wide])
        expected = whole[rows, columns][: part.shape[0], : part.shape[1]]
        inside = np.ones(part.shape, bool)
        # At the frame's own sides the region is padded as the frame is, and there is no border to keep away from.
        for axis, (at, side, all_of_it) in enumerate(((y, high, HEIGHT), (x, wide, WIDTH))):
            cut = np.moveaxis(inside, axis, 0)
            cut[:1] &= at == 0
            cut[-1:] &= at + side == all_of_it
        assert inside.sum() >= inside.size / 3
        np.testing.assert_allclose(part[inside], expected[inside], rtol=1e-4, atol=1e-6)  # sums in another order
    off_the_grid = seen(picture[..., 48 : 48 + high, 48 : 48 + wide])
    assert np.abs(off_the_grid[1:3, 1:3] - whole[2:4, 2:4]).max() > 0.01


@given(side=st.integers(1, 3000), asked=st.none() | st.floats(1, 4000))
def test_the_last_place_of_a_region_ends_where_the_frame_ends(side: int, asked: float | None) -> None:
    ours = region_side(side, asked)
    wanted = math.ceil(max(side / 2, 128) if asked is None else asked)
    assert (side - ours) % GRID == 0 and ours <= side
    assert ours == side if wanted > side else wanted <= ours < wanted + GRID


def test_half_of_the_frame_is_the_default() -> None:
    assert SearchRegions(DynamicCrop(), plan(InputSpec(), 480, 640)).size == (256, 320)
    # In frames that a network sees at half their size, sizes and margins of frame px are halved.
    halved = plan(InputSpec(longest_side=320), 480, 640)
    assert SearchRegions(DynamicCrop(size=(256, 192)), halved).size == (112, 128)


def test_a_frame_no_larger_than_the_region_is_always_whole() -> None:
    analyzer, session = following(DynamicCrop(size=(400, 400)))
    frames = drawn(tour(20))
    same(followed(analyzer, frames), analyzer.analyzer.predict(frames))
    assert session.whole == 40  # nothing was looked at twice


def test_an_animal_that_jumps_is_found_in_the_same_frame() -> None:
    frames = drawn([(20, 20)] * 6 + [(250, 150)] * 6)
    analyzer, session = following()
    found = followed(analyzer, frames)
    assert session.whole == 2
    same(found, analyzer.analyzer.predict(frames))


def test_without_an_animal_every_frame_is_whole_until_it_is_back() -> None:
    frames = drawn([(20, 20)] * 4 + [None] * 5 + [(200, 100)] * 4)
    analyzer, session = following()
    found = followed(analyzer, frames)
    # The first, those without it, and the one in which it is back; the region was looked into once in vain.
    assert session.whole == 1 + 5 + 1
    assert sum(shape[0] for shape in session.shapes) == len(frames) + 1
    same(found, analyzer.analyzer.predict(frames))


def test_an_animal_of_one_sure_keypoint_is_lost_until_it_shows_another() -> None:
    shown = [t not in (4, 5, 6, 7) for t in range(12)]
    analyzer, session = following()
    found = followed(analyzer, drawn([(40, 40)] * 12, tails=shown))
    # The first, those without it, and the one in which it is back.
    assert session.whole == 1 + 4 + 1
    assert [poses.score[0, 1] > 0 for poses in found] == shown


def of(*keypoints: tuple[float, float, float]) -> Poses:
    return Poses.from_array(np.array([keypoints], np.float32))


REGIONS = SearchRegions(DynamicCrop(size=(128, 128), margin=10), plan(InputSpec(), 480, 640))


@pytest.mark.parametrize(
    ("last", "before", "corner"),
    [
        (of((300, 200, 0.9), (320, 240, 0.9)), None, (256, 160)),
        (of((300, 200, 0.9), (320, 240, 0.9)), of((280, 200, 1), (300, 240, 1)), (256, 160)),
        (of((300, 200, 0.9), (320, 240, 0.9)), of((260, 210, 1), (280, 250, 1)), (288, 160)),
        # Up to the frame's corners.
        (of((3, 2, 0.9), (8, 9, 0.9)), None, (0, 0)),
        (of((639, 470, 0.9), (620, 479, 0.9)), of((600, 470, 0.9), (580, 479, 0.9)), (512, 352)),
        # Two sure ones say where it is, whatever the others do.
        (of((300, 200, 0.9), (320, 240, 0.5), (10, 10, 0.49), (np.nan, np.nan, np.nan)), None, (256, 160)),
        # Lost: one sure one, or none.
        (of((300, 200, 0.9), (320, 240, 0.49)), None, None),
        (of((np.nan, np.nan, np.nan), (320, 240, 0.9)), None, None),
        # A lost animal has no velocity.
        (of((300, 200, 0.9), (320, 240, 0.9)), of((1, 1, 0.1), (2, 2, 0.1)), (256, 160)),
        # Too large for the region with its margins, but not at the frame's own side.
        (of((250, 200, 0.9), (360, 240, 0.9)), None, None),
        (of((0, 200, 0.9), (110, 240, 0.9)), None, (0, 160)),
    ],
)
def test_where_to_look_next(last: Poses, before: Poses | None, corner: tuple[int, int] | None) -> None:
    assert REGIONS.next(last, before) == corner


def test_a_model_of_one_keypoint_follows_that_one() -> None:
    assert REGIONS.next(of((300, 200, 0.5))) == (224, 128)
    assert REGIONS.next(of((300, 200, 0.4))) is None


def test_what_is_seen_at_the_regions_own_border_is_not_believed() -> None:
    last = of((300, 200, 0.9), (320, 240, 0.9))
    corner = (256, 160)
    assert REGIONS.found(last, corner, last)
    for x, y, inside in ((266, 200, True), (265, 200, False), (320, 278, True), (320, 279, False), (374, 200, True)):
        assert REGIONS.found(of((x, y, 0.9), (320, 240, 0.9)), corner, last) is inside
    # The frame's own border is none.
    assert REGIONS.found(of((0, 0, 0.9), (20, 20, 0.9)), (0, 0), last)
    # All that was sure must be sure again; more may become sure.
    assert not REGIONS.found(of((300, 200, 0.9), (320, 240, 0.4)), corner, last)
    third = of((300, 200, 0.9), (320, 240, 0.9), (310, 220, 0.1))
    seen = of((300, 200, 0.9), (320, 240, 0.9), (310, 220, 0.9))
    assert REGIONS.found(seen, corner, third) and not REGIONS.found(third, corner, seen)


def test_a_fast_animal_is_followed_by_its_velocity() -> None:
    """Over 40 px per frame it leaves a region of 108 px that is left where it was, every time."""
    frames = drawn([(4 + 40 * t if t < 7 else 4 + 40 * (13 - t), 90) for t in range(14)])
    analyzer, session = following(replace(SMALL, margin=20))
    same(followed(analyzer, frames), analyzer.analyzer.predict(frames))
    # Found anew: the first, the second, whose velocity nobody knows, and where it turns round.
    assert session.whole - len(frames) <= 5


@pytest.mark.parametrize("batch", [4, 8, 24])
def test_stretches_in_step_are_stretches_one_after_the_other(batch: int) -> None:
    frames = drawn([*tour(11), None, None, *tour(10)])
    one, _ = following(replace(SMALL, search_every=4))
    several, session = following(replace(SMALL, search_every=4))
    same(followed(several, frames, batch=batch), followed(one, frames, batch=4))
    # The beginnings of all stretches of a batch are one batch of the graph.
    assert session.shapes[0] == (min(batch // 4, 6), HEIGHT, WIDTH)


def test_frames_that_do_not_follow_each_other_are_looked_at_as_a_whole() -> None:
    analyzer, session = following()
    analyzer.predict(drawn(tour(5)))
    assert session.shapes == [(5, HEIGHT, WIDTH)]


IDENTITY = ResultIdentity("DLC_Cells", "0123abcd", {"net_type": "x"}, {"num_joints": 2})


def filmed(path: Path, frames: Frames) -> Path:
    """A video without loss."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (WIDTH, HEIGHT))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def analysed(video: Path, analyzer: TrackingAnalyzer | Analyzer | None = None, **options) -> VideoResult:
    analyzer = analyzer or following(replace(SMALL, search_every=6))[0]
    return analyze_video(analyzer, video, identity=IDENTITY, options=AnalysisOptions(**options))


class _CrashError(Exception):
    pass


def _crash_after(calls: int, original: Callable) -> Callable:
    done = 0

    def function(*args: object, **kwargs: object) -> object:
        nonlocal done
        if done == calls:
            raise _CrashError
        done += 1
        return original(*args, **kwargs)

    return function


@pytest.mark.parametrize("batches", range(4))
def test_an_interrupted_analysis_ends_with_the_bytes_of_a_whole_one(
    batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = filmed(tmp_path / "a.avi", drawn([*tour(20), None, *tour(20)]))
    whole = analysed(video, batch=10, destination=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", _crash_after(batches, Journal.append))
        with pytest.raises(_CrashError):
            analysed(video, batch=10)
    result = analysed(video, batch=10)
    # Of 10 frames at a time the next multiple of 6.
    assert result.resumed_at == 12 * batches and result.frames == 41
    assert result.csv is not None and whole.csv is not None
    assert result.csv.read_bytes() == whole.csv.read_bytes()
    np.testing.assert_array_equal(read_results(result.h5).xy, read_results(whole.h5).xy)
    meta = read_meta(tmp_path / "aDLC_Cells_meta.pickle")
    assert meta is not None
    assert meta["rigpose"]["options"]["dynamic_crop"] == {
        "min_score": 0.5, "margin": 4, "size": [100, 90], "search_every": 6,
    }  # fmt: skip
    # A result of whole frames is another one, and the other way round.
    assert [len(analysed(video, Analyzer(SPEC, Cells())).warnings), len(analysed(video).warnings)] == [1, 0]


def test_the_region_follows_inside_a_part_of_the_frames(tmp_path: Path) -> None:
    """An animal that stands still is found in the region in every frame, in px of the part."""
    video = filmed(tmp_path / "a.avi", drawn([(210, 120)] * 20))
    analyzer, session = following(replace(SMALL, search_every=20))
    result = analysed(video, analyzer, cropping=Crop(70, 300, 40, 210))
    assert session.shapes[0] == (1, 170, 230)
    assert session.shapes[1:] == [(1, 106, 102)] * 19
    xy = read_results(result.h5).xy[:, 0]
    # Cells of the part, whose corner is at (70, 40): none is further than half a cell and half an animal off.
    np.testing.assert_allclose(xy[:, 0], np.broadcast_to([213 - 70, 123 - 40], (20, 2)), atol=CELL / 2 + 3)
    np.testing.assert_array_equal(xy, np.broadcast_to(xy[0], xy.shape))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"min_score": 0.0}, "crop score: 0 is no score"),
        ({"min_score": 1.5}, "crop score: 1.5"),
        ({"margin": -1}, "crop margin: -1 px"),
        ({"size": (63, 200)}, "crop size: 63 x 200 px leaves no room"),
        ({"size": (100, 100), "margin": 50}, "more than twice the crop margin of 50"),
        ({"search_every": 0}, "search_every: 0 is not from 1"),
        ({"search_every": 101}, "in memory at once"),
    ],
)
def test_values_without_sense_are_refused(options: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        DynamicCrop(**options)


def test_a_model_of_several_animals_is_refused() -> None:
    several = ModelSpec("paf", "x", ("a", "b"), ("one", "two"), grouping=PafGrouping(((0, 1),), max_animals=2))
    with pytest.raises(ConfigError, match="follows one animal, and the model is of the task paf"):
        TrackingAnalyzer(Analyzer(several, Cells()), DynamicCrop())
    with pytest.raises(ConfigError, match="door is no keypoint of the animal"):
        TrackingAnalyzer(Analyzer(replace(SPEC, unique_keypoints=("door",)), Cells()), DynamicCrop())
