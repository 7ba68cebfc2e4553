"""Pickles of unknown origin, bare and inside HDF5 files, never run anything."""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import tables

from rigpose.errors import ProjectError, ResultError
from rigpose.files.pickles import Stranger, load_among_strangers, load_arrays, only_arrays_in_tables, read_hdf
from rigpose.files.results import ResultFiles, count_rows, read_results, video_columns, write_video_tables
from rigpose.videos.metadata import read_meta


class Program:
    """Pickles to making a folder: what a hostile file does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def _result(folder: Path) -> ResultFiles:
    files = ResultFiles.of(folder / "mouse.mp4", "DLC_x")
    animals = [np.ones((1, 2, 3), np.float32)] * 3
    columns = video_columns("DLC_x", ("nose", "tail"))
    write_video_tables(files, animals, columns=columns, save_csv=False)
    return files


def _hide_in_attribute(h5: Path, node: str, name: str, target: Path) -> None:
    with tables.open_file(str(h5), "a") as file:
        # Straight into the file, for PyTables keeps its own attributes from being written.
        file.get_node(node)._v_attrs._g__setattr(name, cast(Any, Program(target)))


@pytest.mark.parametrize(
    ("node", "name"),
    [("/df_with_missing", "encoding"), ("/df_with_missing", "non_index_axes"), ("/df_with_missing/table", "TITLE")],
)
def test_a_program_in_a_result_file_is_named_and_never_run(node: str, name: str, tmp_path: Path) -> None:
    h5 = _result(tmp_path).h5
    _hide_in_attribute(h5, node, name, tmp_path / "ran")
    with pytest.raises(ResultError, match=r"mouseDLC_x\.h5 asks for \w+\.mkdir, which .* could run a program"):
        read_results(h5)
    assert not (tmp_path / "ran").exists()
    # Without the guard the same file runs its program, so this test can fail.
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        pd.read_hdf(h5)
    (tmp_path / "ran").rmdir()


def test_counting_rows_runs_nothing_either(tmp_path: Path) -> None:
    h5 = _result(tmp_path).h5
    assert count_rows(h5) == 3
    _hide_in_attribute(h5, "/df_with_missing/table", "TITLE", tmp_path / "ran")
    with contextlib.suppress(ResultError):
        count_rows(h5)
    assert not (tmp_path / "ran").exists()


def test_a_program_in_metadata_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "a_meta.pickle"
    path.write_bytes(pickle.dumps({"data": Program(tmp_path / "ran")}))
    with pytest.raises(ResultError, match=r"a_meta\.pickle is damaged or no metadata"):
        read_meta(path)
    path.write_bytes(pickle.dumps({"data": {"fps": 30.0, "evil": [Program(tmp_path / "ran")]}}))
    meta = read_meta(path)
    assert meta is not None and meta["fps"] == 30.0 and isinstance(meta["evil"][0], Stranger)
    assert not (tmp_path / "ran").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_of_unknown_classes_become_strangers_among_plain_values(protocol: int) -> None:
    class_of_many_items = type("Many", (list,), {"__module__": __name__})
    content = {"path": Path("/a/b"), "rate": np.float32(2.5), "xy": np.arange(6).reshape(2, 3), "none": None}
    found = load_among_strangers(pickle.dumps(content, protocol))
    assert isinstance(found["path"], Stranger) and found["rate"] == 2.5 and found["none"] is None
    np.testing.assert_array_equal(found["xy"], content["xy"])
    globals()["Many"] = class_of_many_items
    assert isinstance(load_among_strangers(pickle.dumps(class_of_many_items("abc"), protocol)), Stranger)


def test_metadata_that_deeplabcut_wrote_is_read(golden: Path) -> None:
    folder = golden / "snapshots" / "openfield_resnet_50" / "deeplabcut_output"
    meta = read_meta(next(folder.glob("*_meta.pickle")))
    assert meta is not None
    assert meta["nframes"] == 120 and meta["frame_dimensions"] == (640, 480) and meta["cropping"] is False
    assert meta["pytorch-config"]["metadata"]["bodyparts"] == meta["bodyparts"]


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps({"a": 1}), pickle.dumps({"data": [1] * 300})[:-40]]
)
def test_damaged_metadata_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    assert read_meta(tmp_path / "a_meta.pickle") is None
    (tmp_path / "a_meta.pickle").write_bytes(content)
    with pytest.raises(ResultError, match=r"a_meta\.pickle is damaged or no metadata of an analysis; run"):
        read_meta(tmp_path / "a_meta.pickle")


def test_a_refusal_is_the_error_that_the_caller_speaks_of(tmp_path: Path) -> None:
    content = pickle.dumps(Program(tmp_path / "ran"))
    for error in (ProjectError, ResultError):
        with pytest.raises(error, match="mkdir"):
            load_arrays(content, tmp_path / "x", error=error)


def test_the_guard_ends_as_it_began_even_inside_another(tmp_path: Path) -> None:
    from tables import atom, attributeset

    modules: list[Any] = [atom, attributeset]
    h5 = _result(tmp_path).h5
    with only_arrays_in_tables(h5, error=ResultError):
        outer = [module.pickle for module in modules]
        assert pickle not in outer
        read_hdf(h5, error=ResultError)
        assert [module.pickle for module in modules] == outer
    assert [module.pickle for module in modules] == [pickle, pickle]


def test_threads_that_read_at_the_same_time_stay_guarded(tmp_path: Path) -> None:
    good = _result(tmp_path / "good").h5
    evil = _result(tmp_path / "evil").h5
    _hide_in_attribute(evil, "/df_with_missing", "encoding", tmp_path / "ran")
    refusals: list[str] = []
    rows: list[int] = []

    def read(path: Path) -> None:
        try:
            rows.append(len(read_hdf(path, error=ResultError)))
        except ResultError as error:
            refusals.append(str(error))

    def read_often(path: Path) -> None:
        for _ in range(10):
            read(path)

    threads = [threading.Thread(target=read_often, args=(path,)) for path in (good, evil, good, evil)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows == [3] * 20
    assert len(refusals) == 20 and all("evil" in sentence for sentence in refusals)
    assert not (tmp_path / "ran").exists()
