"""Images into one table."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_video import CELL, analyzer, draw_frame, numbers_in

from rigpose.errors import MediaError
from rigpose.files.results import read_results
from rigpose.videos.images import ImageOptions, analyze_images, find_images


def _save(path: Path, image: np.ndarray) -> Path:
    # Through memory, as OpenCV's imwrite knows no names beyond the code page on Windows.
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def _draw_folder(folder: Path, count: int) -> None:
    for number in range(count):
        _save(folder / f"img{number:03d}.png", draw_frame(number))


def test_a_folder_gives_a_row_per_image_with_its_full_path(tmp_path: Path) -> None:
    _draw_folder(tmp_path, 11)
    result = analyze_images(analyzer(), [tmp_path], scorer="DLC_x", options=ImageOptions(batch=4))
    assert result.h5.name == "image_predictions_DLC_x.h5" and result.broken == ()
    table = pd.DataFrame(pd.read_hdf(result.h5, "predictions"))
    assert list(table.index) == [str(tmp_path / f"img{number:03d}.png") for number in range(11)]
    assert list(table.columns.names) == ["scorer", "individuals", "bodyparts", "coords"]
    assert result.csv is not None
    for path in (result.h5, result.csv):
        assert numbers_in(read_results(path).xy) == list(range(11))


def test_images_of_mixed_sizes_go_together(tmp_path: Path) -> None:
    _draw_folder(tmp_path, 3)
    cut = _save(tmp_path / "img001.png", draw_frame(1)[:, CELL:])
    result = analyze_images(analyzer(), [tmp_path], scorer="DLC_x")
    found = read_results(result.h5)
    assert result.images[1] == cut
    np.testing.assert_array_equal(found.xy[:, 0, 0], [[4, 4], [4, 4], [20, 4]])


def test_a_broken_image_has_an_empty_row_and_the_others_go_on(tmp_path: Path) -> None:
    _draw_folder(tmp_path, 6)
    (tmp_path / "img002.png").write_bytes(b"broken")
    (tmp_path / "img003.png").write_bytes(b"")
    result = analyze_images(analyzer(), [tmp_path], scorer="DLC_x", options=ImageOptions(batch=2))
    assert numbers_in(read_results(result.h5).xy) == [0, 1, -1, -1, 4, 5]
    assert result.warnings == ("2 of 6 images cannot be read and have empty rows: img002.png, img003.png.",)


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(MediaError, match="can read none of the images"):
        analyze_images(analyzer(), [tmp_path], scorer="DLC_x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="no image in this folder"):
        find_images(tmp_path / "empty")
    with pytest.raises(MediaError, match="no images were named"):
        analyze_images(analyzer(), [], scorer="DLC_x")
    assert list(tmp_path.glob("*.h5")) == []


def test_a_name_beyond_ascii_is_read(tmp_path: Path) -> None:
    image = _save(tmp_path / "Mäuse 鼠.png", draw_frame(7))
    result = analyze_images(
        analyzer(), [image], scorer="DLC_x", options=ImageOptions(destination=tmp_path / "out", save_csv=False)
    )
    assert numbers_in(read_results(result.h5).xy) == [7]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [result.h5.name]
