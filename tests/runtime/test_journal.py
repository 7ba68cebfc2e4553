"""The journal: what it keeps, what it cuts, and when it starts anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rigpose.errors import ResultError
from rigpose.files.pose_layout import PoseLayout
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import ModelSpec, PafGrouping
from rigpose.poses import Poses
from rigpose.videos.journal import FrameRecord, Journal, JournalHeader

EVERYTHING = PoseLayout(("nose", "tail"), ("food",), animal_score=True, told_apart=("a", "b", "c"), boxes=True)
HEADER = JournalHeader("abc", "cpu", "a.mp4", 1000, 1, None, 4, EVERYTHING, {"min_affinity": 0.1})


def _record(index: int) -> FrameRecord:
    rng = np.random.default_rng(index)
    count = index % 4
    animals = rng.random((count, 2, 3), dtype=np.float32)
    animals[:, 1] = np.nan
    poses = Poses(
        xy=animals[..., :2],
        score=animals[..., 2],
        animal_score=rng.random(count, dtype=np.float32),
        identity=rng.permutation([-1, 0, 1, 2])[:count],
        identity_scores=rng.random((count, 2, 3), dtype=np.float32),
        unique=rng.random((1, 3), dtype=np.float32),
        boxes=rng.random((count, 4), dtype=np.float32),
    )
    return FrameRecord(index, index * 40.0, poses)


def _write(path: Path, count: int, header: JournalHeader = HEADER) -> None:
    with Journal(path, header) as journal:
        journal.append([_record(index) for index in range(journal.frames, count)])


def _check(journal: Journal, count: int) -> None:
    records = list(journal.records())
    assert [record.index for record in records] == list(range(count))
    for index, record in enumerate(records):
        assert record.time == index * 40.0
        for name, values in vars(_record(index).poses).items():
            read = getattr(record.poses, name)
            assert read.shape == values.shape and (len(read) == 0 or read.dtype == values.dtype), name
            np.testing.assert_array_equal(read, values)


def test_records_come_back_as_they_were_with_any_number_of_animals(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", HEADER) as journal:
        journal.append([_record(0), _record(1)])
        journal.append([_record(2)])
        _check(journal, 3)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (ModelSpec("single_animal", "x", ("a",)), PoseLayout(("a",))),
        (
            ModelSpec(
                "paf",
                "x",
                ("a", "b"),
                ("one", "two"),
                ("food",),
                grouping=PafGrouping(((0, 1),), 2),
                dense={"bodypart": {}, "identity": {}},
            ),
            PoseLayout(("a", "b"), ("food",), animal_score=True, told_apart=("one", "two")),
        ),
        (
            ModelSpec("top_down", "x", ("a",), ("one", "two"), crop=CropSpec(8, 8)),
            PoseLayout(("a",), animal_score=True, boxes=True),
        ),
    ],
)
def test_a_layout_follows_from_the_model(spec: ModelSpec, expected: PoseLayout) -> None:
    assert PoseLayout.of(spec) == expected


def test_what_a_frame_without_animals_need_not_have_is_there_when_it_is_read() -> None:
    data = EVERYTHING.pack(Poses.empty(2))
    assert len(data) == 4 * EVERYTHING.frame_values
    read = EVERYTHING.unpack(data, 0)
    assert read.identity_scores is not None and read.identity_scores.shape == (0, 2, 3)
    assert read.boxes is not None and read.boxes.shape == (0, 4)
    assert read.unique is not None and np.isnan(read.unique).all()


@pytest.mark.parametrize("lacking", ["animal_score", "identity", "identity_scores", "boxes"])
def test_poses_that_are_not_as_the_layout_says_are_never_written(lacking: str) -> None:
    with pytest.raises(ValueError, match=lacking):
        EVERYTHING.pack(dataclasses.replace(_record(2).poses, **{lacking: None}))
    with pytest.raises(ValueError, match="animal_score: 2 values"):
        PoseLayout(("nose", "tail")).pack(dataclasses.replace(_record(2).poses, unique=None))
    with pytest.raises(ValueError, match="unique: 3 values"):
        PoseLayout(("nose", "tail")).pack(_record(0).poses)


def test_it_continues_at_a_whole_batch(tmp_path: Path) -> None:
    _write(tmp_path / "j", 11)
    with Journal(tmp_path / "j", HEADER) as journal:
        assert journal.resumed_at == journal.frames == 8
        _check(journal, 8)
        journal.append([_record(8)])
        _check(journal, 9)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10_000))
def test_a_file_cut_at_any_byte_loses_only_what_was_cut(cut: int, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    _write(path, 12)
    whole = path.read_bytes()
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    with Journal(path, HEADER) as journal:
        kept = journal.frames
        assert kept % 4 == 0
        _check(journal, kept)
    with Journal(path, HEADER) as journal:
        journal.append([_record(index) for index in range(kept, 12)])
    assert path.read_bytes() == whole


def test_damage_inside_ends_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "j"
    _write(path, 12)
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    with Journal(path, HEADER) as journal:
        assert journal.frames == 8
        _check(journal, 8)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"video_bytes": 999},
        {"video_modified": 2},
        {"crop": "0,9,0,9"},
        {"batch": 2},
        {"settings": {"min_affinity": 0.2}},
        {"settings": {}},
        {"layout": dataclasses.replace(EVERYTHING, unique=("water",))},
        {"version": 1},
    ],
)
def test_another_model_video_or_setting_starts_anew(tmp_path: Path, change: dict) -> None:
    _write(tmp_path / "j", 8)
    with Journal(tmp_path / "j", dataclasses.replace(HEADER, **change)) as journal:
        assert journal.frames == 0 and journal.discarded
        assert list(journal.records()) == []
    with Journal(tmp_path / "j", dataclasses.replace(HEADER, **change)) as journal:
        assert not journal.discarded


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultError, match=r"j: cannot be written \((File exists|Not a directory)"):
        Journal(tmp_path / "file" / "j", HEADER)


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", HEADER) as journal:
        journal.remove()
    assert list(tmp_path.iterdir()) == []
