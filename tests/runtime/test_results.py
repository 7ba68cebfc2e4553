"""Result files against those that DeepLabCut wrote, and reading them back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tables

from rigpose.errors import ResultError
from rigpose.files.results import (
    ResultFiles,
    Results,
    animal_columns,
    count_rows,
    image_columns,
    read_results,
    video_columns,
    whole_file,
    write_image_tables,
    write_table,
    write_video_tables,
)
from rigpose.videos.metadata import read_meta, write_meta

KEYPOINTS = ("nose", "tail")


@pytest.fixture
def deeplabcut_h5(golden: Path) -> Path:
    folder = golden / "snapshots" / "openfield_resnet_50" / "deeplabcut_output"
    return next(folder.glob("*.h5"))


def _write(folder: Path, frames: list[Any], *, save_csv: bool = True) -> ResultFiles:
    files = ResultFiles.of(folder / "mouse.mp4", "DLC_x")
    write_video_tables(files, frames, columns=video_columns("DLC_x", KEYPOINTS), save_csv=save_csv)
    return files


def _nodes(path: Path) -> dict[str, dict[str, str]]:
    """Every node with its class, layout and attributes.

    An index of the rows, which DeepLabCut's have, would hold the time at which it was made, so that the same poses were
    other bytes.
    """
    found = {}
    with tables.open_file(str(path)) as file:
        for node in file.walk_nodes("/"):
            attributes = {name: repr(node._v_attrs[name]) for name in node._v_attrs._f_list("all")}
            layout = ""
            if isinstance(node, tables.Table):
                layout = f"{node.description!r} {node.chunkshape} {node.filters!r}"
            found[node._v_pathname] = {"class": type(node).__name__, "layout": layout, **attributes}
    return found


def test_the_files_are_those_that_deeplabcut_writes_for_the_same_numbers(deeplabcut_h5: Path, tmp_path: Path) -> None:
    theirs = read_results(deeplabcut_h5)
    animals = np.concatenate([theirs.xy, theirs.score[..., None]], axis=-1)
    files = ResultFiles.of(tmp_path / "clip120.mp4", theirs.scorer)
    columns = video_columns(theirs.scorer, theirs.keypoints)
    write_video_tables(files, animals, columns=columns, save_csv=True)

    assert files.h5.name == deeplabcut_h5.name
    assert files.csv.read_bytes() == deeplabcut_h5.with_suffix(".csv").read_bytes()
    assert _nodes(files.h5) == _nodes(deeplabcut_h5)
    pd.testing.assert_frame_equal(_frame(files.h5), _frame(deeplabcut_h5))


def test_the_same_poses_are_the_same_bytes_whenever_they_are_written(tmp_path: Path) -> None:
    animals = [np.full((1, 2, 3), number, np.float32) for number in range(300)]
    first = _write(tmp_path / "now", animals).h5.read_bytes()
    # HDF5 counts its times in seconds.
    time.sleep(1.1)
    assert _write(tmp_path / "later", animals).h5.read_bytes() == first


def _frame(path: Path) -> pd.DataFrame:
    return pd.DataFrame(pd.read_hdf(path, "df_with_missing"))


def test_a_frame_without_animal_and_a_lost_frame_are_empty_rows(tmp_path: Path) -> None:
    animal = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    half = animal.copy()
    half[0, 1] = np.nan
    files = _write(tmp_path, [animal, np.empty((0, 2, 3), np.float32), None, half])
    for path in (files.h5, files.csv):
        found = read_results(path)
        assert found.keypoints == KEYPOINTS and found.scorer == "DLC_x" and len(found.individuals) == 1
        np.testing.assert_array_equal(found.xy[0], animal[..., :2])
        assert np.isnan(found.xy[1:3]).all() and np.isnan(found.score[1:3]).all()
        np.testing.assert_array_equal(found.score[3], [[2, np.nan]])
    assert files.csv.read_text().splitlines()[4] == "1,,,,,,"
    assert count_rows(files.h5) == 4


def test_a_long_table_written_in_blocks_is_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = list(np.random.default_rng(0).random((100, 1, 2, 3), dtype=np.float32))
    whole = _write(tmp_path / "whole", frames)
    monkeypatch.setattr("rigpose.files.results.ROWS_AT_A_TIME", 7)
    blocks = _write(tmp_path / "blocks", frames)
    assert blocks.csv.read_bytes() == whole.csv.read_bytes()
    assert _nodes(blocks.h5) == _nodes(whole.h5)
    pd.testing.assert_frame_equal(_frame(blocks.h5), _frame(whole.h5))


def test_without_csv_an_older_csv_does_not_stay(tmp_path: Path) -> None:
    frames = [np.zeros((1, 2, 3), np.float32)]
    assert _write(tmp_path, frames).csv.exists()
    files = _write(tmp_path, frames, save_csv=False)
    assert [path.name for path in tmp_path.iterdir()] == [files.h5.name]


def test_a_table_with_individuals_is_read_and_its_minus_one_is_missing(tmp_path: Path) -> None:
    columns = image_columns("DLC_x", ["a", "b"], KEYPOINTS)
    values = np.arange(24, dtype=np.float32).reshape(2, 12)
    values[1, 6:] = -1
    path = tmp_path / "image_predictions_DLC_x.h5"
    write_image_tables(path, pd.DataFrame(values, ["/1.png", "/2.png"], columns), save_csv=True)
    for name in (path, path.with_suffix(".csv")):
        found: Results = read_results(name)
        assert found.individuals == ("a", "b")
        np.testing.assert_array_equal(found.xy[0, 1, 0], [6, 7])
        assert np.isnan(found.xy[1, 1]).all() and np.isnan(found.score[1, 1]).all()
        assert found.score[1, 0, 1] == 17


def test_keypoints_that_only_some_individuals_have_are_missing_in_the_others(tmp_path: Path) -> None:
    columns = pd.MultiIndex.from_tuples(
        [("s", "a", "nose", c) for c in ("x", "y", "likelihood")]
        + [("s", "b", "tail", c) for c in ("x", "y", "likelihood")],
        names=["scorer", "individuals", "bodyparts", "coords"],
    )
    path = tmp_path / "t.h5"
    pd.DataFrame(np.ones((1, 6)), columns=columns).to_hdf(path, key="tracks", format="table")
    found = read_results(path)
    assert found.keypoints == ("nose", "tail")
    np.testing.assert_array_equal(found.score, [[[1, np.nan], [np.nan, 1]]])


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    for name in ("a.h5", "a.csv"):
        with pytest.raises(ResultError, match="there is no such result file"):
            read_results(tmp_path / name)
        (tmp_path / name).write_text("nonsense\n1\n2\n")
        with pytest.raises(ResultError, match="not a table of poses"):
            read_results(tmp_path / name)


def _break_half_way(path: Path) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent and not path.exists()
        raise RuntimeError("half way")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        _break_half_way(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_metadata_comes_back_and_holds_no_class(tmp_path: Path) -> None:
    path = tmp_path / "a_meta.pickle"
    write_meta(path, {"Scorer": "s", "pytorch-config": {"a": [1, 2.5, None, True]}, "frame_dimensions": (4, 3)})
    assert read_meta(path) == {
        "Scorer": "s", "pytorch-config": {"a": [1, 2.5, None, True]}, "frame_dimensions": (4, 3)
    }  # fmt: skip


def test_more_columns_than_hdf5_can_name_are_one_sentence_and_leave_no_file(tmp_path: Path) -> None:
    columns = animal_columns("DLC_x", [f"animal{number}" for number in range(1000)], ("nose", "tail"))
    with pytest.raises(ResultError, match="more columns than HDF5 can name: then ask for fewer animals"):
        write_table(tmp_path / "a.h5", [np.zeros(len(columns))], columns=columns, save_csv=True)
    assert not list(tmp_path.iterdir())
