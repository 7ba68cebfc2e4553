"""Label files of every form that DeepLabCut and its users leave behind."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import tables
from projects_on_disk import label_table, write_project

from rigpose.errors import ProjectError
from rigpose_training.project.config import ProjectConfig, read_project_config
from rigpose_training.project.labels import merge_labels, merge_tables, read_labels


@pytest.fixture
def config(tmp_path: Path) -> ProjectConfig:
    return read_project_config(write_project(tmp_path / "single", images=3))


@pytest.fixture
def pair(tmp_path: Path) -> ProjectConfig:
    return read_project_config(write_project(tmp_path / "multi", images=3, individuals=("a", "b"), unique=("corner",)))


def save(table: pd.DataFrame, path: Path) -> Path:
    table.to_hdf(path, key="df_with_missing", mode="w")
    return path


def test_merged_labels_equal_deeplabcuts_own_file(openfield: Path, flies: Path) -> None:
    for root in (openfield, flies):
        config = read_project_config(root)
        (file,) = root.glob("training-datasets/iteration-0/*/CollectedData_*.h5")
        theirs = pd.read_hdf(file)
        assert isinstance(theirs, pd.DataFrame)
        pd.testing.assert_frame_equal(merge_tables(config), theirs)


def test_labels_are_arrays_per_animal_and_keypoint(config: ProjectConfig, pair: ProjectConfig) -> None:
    labels = merge_labels(config)
    assert labels.images == tuple(f"labeled-data/mouse/img00{i}.png" for i in range(3))
    np.testing.assert_array_equal(labels.xy[1], [[[2, 3], [4, 5]]])
    assert labels.unique_xy.shape == (3, 0, 2)
    labels = merge_labels(pair)
    np.testing.assert_array_equal(labels.xy[0], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    np.testing.assert_array_equal(labels.unique_xy[2], [[11, 12]])


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_rows_of_one_string_are_the_same_rows(config: ProjectConfig, tmp_path: Path, slash: str) -> None:
    table = label_table("mouse", 3)
    table.index = pd.Index([slash.join(row) for row in table.index])
    assert read_labels(save(table, tmp_path / "old.h5"), config).images == merge_labels(config).images


def test_the_csv_stands_in_for_a_missing_h5(pair: ProjectConfig, config: ProjectConfig) -> None:
    for project in (pair, config):
        before = merge_labels(project)
        (project.root / "labeled-data" / "mouse" / "CollectedData_me.h5").unlink()
        after = merge_labels(project)
        assert after.images == before.images
        np.testing.assert_array_equal(after.xy, before.xy)
        np.testing.assert_array_equal(after.unique_xy, before.unique_xy)


def test_the_csv_with_one_index_column_is_read(config: ProjectConfig, tmp_path: Path) -> None:
    table = label_table("mouse", 3)
    table.index = pd.Index(["/".join(row) for row in table.index])
    table.to_csv(tmp_path / "old.csv")
    np.testing.assert_array_equal(read_labels(tmp_path / "old.csv", config).xy, merge_labels(config).xy)


def test_columns_take_the_order_of_the_config(pair: ProjectConfig, tmp_path: Path) -> None:
    table = label_table("mouse", 3, ("a", "b"), ("corner",))
    mixed = save(table[table.columns[::-1]], tmp_path / "mixed.h5")
    np.testing.assert_array_equal(read_labels(mixed, pair).xy, merge_labels(pair).xy)


def test_likelihood_and_bodyparts_of_the_past_are_dropped(config: ProjectConfig, tmp_path: Path) -> None:
    table = label_table("mouse", 3)
    for part, axis in (("nose", "likelihood"), ("whisker", "x"), ("whisker", "y")):
        table[("me", part, axis)] = 0.5
    np.testing.assert_array_equal(read_labels(save(table, tmp_path / "more.h5"), config).xy, merge_labels(config).xy)


def test_a_bodypart_or_animal_without_labels_is_missing(pair: ProjectConfig, tmp_path: Path) -> None:
    table = label_table("mouse", 3, ("a",), ("corner",))
    labels = read_labels(save(table, tmp_path / "one.h5"), pair)
    assert not np.isnan(labels.xy[:, 0]).any() and np.isnan(labels.xy[:, 1]).all()


def test_half_a_label_is_no_label(config: ProjectConfig, tmp_path: Path) -> None:
    table = label_table("mouse", 3)
    table.loc[table.index[0], ("me", "nose", "x")] = np.nan
    labels = read_labels(save(table, tmp_path / "half.h5"), config)
    assert np.isnan(labels.xy[0, 0, 0]).all() and not np.isnan(labels.xy[0, 0, 1]).any()


def test_videos_are_merged_in_the_order_of_their_names(tmp_path: Path) -> None:
    config = read_project_config(write_project(tmp_path, images=2, videos=("zebra", "ant")))
    assert [image.split("/")[1] for image in merge_labels(config).images] == ["ant", "ant", "zebra", "zebra"]


def test_folders_stand_in_for_videos_that_are_not_listed(tmp_path: Path) -> None:
    root = write_project(tmp_path, images=2)
    file = root / "config.yaml"
    file.write_text(file.read_text().replace("C:\\videos\\mouse.avi", "WILL BE AUTOMATICALLY UPDATED BY DEMO CODE"))
    assert len(merge_labels(read_project_config(root))) == 2


def test_labels_of_another_scorer_are_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_project(tmp_path, images=2, videos=("mine", "yours"))
    yours = label_table("yours", 2).rename(columns={"me": "you"}, level="scorer")
    save(yours, root / "labeled-data" / "yours" / "CollectedData_me.h5")
    with caplog.at_level(logging.WARNING):
        labels = merge_labels(read_project_config(root))
    assert {image.split("/")[1] for image in labels.images} == {"mine"}
    assert "labelled by you, not me" in caplog.text


def test_a_project_without_labels_says_where_it_looked(tmp_path: Path) -> None:
    config = read_project_config(write_project(tmp_path, videos=()))
    with pytest.raises(ProjectError, match=r"labeled-data holds no CollectedData_me\.h5"):
        merge_tables(config)


def test_a_frame_labelled_twice_is_named(tmp_path: Path) -> None:
    root = write_project(tmp_path, images=2)
    table = label_table("mouse", 2)
    save(pd.concat([table, table]), root / "labeled-data" / "mouse" / "CollectedData_me.h5")
    with pytest.raises(ProjectError, match=r"mouse/img000\.png is labelled more than once"):
        merge_tables(read_project_config(root))


@pytest.mark.parametrize("name", ["bad.h5", "bad.csv"])
@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\nnot really", b"\xff\xfe\x00a,b\n1,2\n"])
def test_a_damaged_file_is_one_sentence_with_its_name(
    config: ProjectConfig, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ProjectError, match=name) as caught:
        read_labels(tmp_path / name, config)
    assert "\n" not in str(caught.value)


def test_a_truncated_h5_is_one_sentence(config: ProjectConfig, tmp_path: Path) -> None:
    whole = (config.root / "labeled-data" / "mouse" / "CollectedData_me.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ProjectError, match=r"cut\.h5 is damaged"):
        read_labels(tmp_path / "cut.h5", config)


class Program:
    """Pickles to making a folder: what a hostile file does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def hostile_files(folder: Path) -> tuple[Path, Path]:
    """Label files with a program in an attribute, and in a column of objects."""
    attribute, column = (save(label_table("mouse", 3), folder / name) for name in ("attribute.h5", "column.h5"))
    with tables.open_file(str(attribute), "a") as file:
        file.root.df_with_missing._v_attrs.encoding = cast(Any, Program(folder / "ran"))
    with tables.open_file(str(column), "a") as file:
        group = file.root.df_with_missing
        attributes = {name: group.axis1_level0._v_attrs[name] for name in ("kind", "name")}
        group.axis1_level0._f_remove()
        objects = file.create_vlarray(group, "axis1_level0", cast(Any, tables.ObjectAtom()))
        objects.append(cast(Any, Program(folder / "ran")))
        for name, value in attributes.items():
            objects._v_attrs[name] = value
    return attribute, column


def test_a_program_in_a_label_file_is_named_and_never_run(config: ProjectConfig, tmp_path: Path) -> None:
    for file in hostile_files(tmp_path):
        with pytest.raises(ProjectError, match=rf"{file.name} asks for \w+\.mkdir"):
            read_labels(file, config)
        assert not (tmp_path / "ran").exists()
    unguarded = tmp_path / "unguarded"
    unguarded.mkdir()
    # PyTables is as it was: without the guard the same files run their program, so this test can fail.
    for file in hostile_files(unguarded):
        with contextlib.suppress(TypeError, ValueError, AttributeError), pd.HDFStore(file, mode="r") as store:
            pd.read_hdf(store)
        (unguarded / "ran").rmdir()


def test_a_column_of_objects_is_read(config: ProjectConfig, tmp_path: Path) -> None:
    # Mixed rows make pandas store the index as a pickle inside the file.
    table = label_table("mouse", 2)
    table.index = pd.Index(["labeled-data/mouse/1.png", 7], dtype=object)
    with pytest.warns(pd.errors.PerformanceWarning, match="pickle object types"):
        save(table, tmp_path / "objects.h5")
    with pytest.raises(ProjectError, match="has the row '7'"):
        read_labels(tmp_path / "objects.h5", config)


def test_labels_of_the_other_kind_of_project_are_refused(config: ProjectConfig, tmp_path: Path) -> None:
    save(label_table("mouse", 3, ("a",)), tmp_path / "multi.h5")
    with pytest.raises(ProjectError, match=r"multi\.h5 has the column levels"):
        read_labels(tmp_path / "multi.h5", config)


def test_a_row_that_names_no_image_is_refused(config: ProjectConfig, tmp_path: Path) -> None:
    table = label_table("mouse", 2)
    table.index = pd.Index([0, 1])
    with pytest.raises(ProjectError, match="has the row '0'"):
        read_labels(save(table, tmp_path / "rows.h5"), config)


def test_a_coordinate_that_is_no_number_is_refused(config: ProjectConfig, tmp_path: Path) -> None:
    table = label_table("mouse", 2).astype(object)
    table.iloc[0, 0] = "left"
    table.to_csv(tmp_path / "words.csv")
    with pytest.raises(ProjectError, match=r"words\.csv holds a coordinate that is no number"):
        read_labels(tmp_path / "words.csv", config)
