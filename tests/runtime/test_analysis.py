"""A video through the whole analysis, with a real session that reads frame numbers from pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from drawn_video import analyzer, damage_avi_frame, numbers_in, write_video

from rigpose.errors import MediaError
from rigpose.files.results import read_results
from rigpose.videos.analysis import AnalysisOptions, VideoResult, analyze_video, analyze_videos, find_videos
from rigpose.videos.metadata import ResultIdentity, read_meta
from rigpose.videos.video import Crop

IDENTITY = ResultIdentity("DLC_Drawn", "0123abcd", {"net_type": "resnet_50"}, {"num_joints": 2})


def _analyze(video: Path, **options) -> VideoResult:
    return analyze_video(analyzer(), video, identity=IDENTITY, options=AnalysisOptions(**options))


def test_row_i_is_frame_i(tmp_path: Path) -> None:
    result = _analyze(write_video(tmp_path / "a.mp4", range(100)))
    assert result.frames == 100 and result.warnings == () and not result.skipped
    assert result.h5 == tmp_path / "aDLC_Drawn.h5"
    found = read_results(result.h5)
    assert numbers_in(found.xy) == list(range(100))
    # The second keypoint says where in its batch each frame was.
    assert found.xy[:, 0, 1, 0].tolist() == [i % 8 for i in range(100)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.mp4", "aDLC_Drawn.csv", "aDLC_Drawn.h5", "aDLC_Drawn_meta.pickle",
    ]  # fmt: skip


def test_the_metadata_has_the_fields_that_tools_read(tmp_path: Path) -> None:
    result = _analyze(write_video(tmp_path / "a.mp4", range(10)), batch=4)
    meta = read_meta(tmp_path / "aDLC_Drawn_meta.pickle")
    assert meta is not None
    assert meta["Scorer"] == "DLC_Drawn" and meta["nframes"] == 10 and meta["batch_size"] == 4
    assert meta["fps"] == 25 and meta["frame_dimensions"] == (160, 96)
    assert meta["pytorch-config"] == {"net_type": "resnet_50"}
    assert meta["DLC-model-config file"] == {"num_joints": 2}
    assert meta["cropping"] is False and meta["cropping_parameters"] == [0, 160, 0, 96]
    assert meta["rigpose"]["frames_reported"] == meta["rigpose"]["frames_decoded"] == 10
    assert meta["rigpose"]["frames_per_second"] == result.frames_per_second


def test_a_whole_result_is_left_alone_unless_overwriting(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(10))
    first = _analyze(video)
    stamp = first.h5.stat().st_mtime_ns
    again = _analyze(video)
    assert again.skipped and again.frames == 10 and first.h5.stat().st_mtime_ns == stamp
    assert not _analyze(video, overwrite=True).skipped
    assert first.h5.stat().st_mtime_ns > stamp


def test_a_journal_left_behind_by_a_crash_at_the_very_end_is_tidied_up(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(10))
    result = _analyze(video)
    leftover = tmp_path / "aDLC_Drawn.partial"
    leftover.write_bytes(b"old")
    os.utime(leftover, ns=(0, result.h5.stat().st_mtime_ns - 1))
    assert _analyze(video).skipped
    assert not leftover.exists()


def test_results_can_go_to_a_new_folder(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(10))
    result = _analyze(video, destination=tmp_path / "new" / "folder", save_csv=False)
    assert result.csv is None and result.h5.parent == tmp_path / "new" / "folder"
    assert len(list(result.h5.parent.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.mp4"]


def test_coordinates_of_a_cropped_analysis_stay_in_the_crop(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(20, 30))
    result = _analyze(video, cropping=Crop(16, 160, 8, 96))
    found = read_results(result.h5)
    # Number 25 is the cell in row 1, column 5, whose centre is (44, 12) in the frame.
    np.testing.assert_array_equal(found.xy[5, 0, 0], [44 - 16, 12 - 8])
    meta = read_meta(tmp_path / "aDLC_Drawn_meta.pickle")
    assert meta is not None
    assert meta["cropping"] is True and meta["cropping_parameters"] == [16, 160, 8, 96]


def test_damaged_frames_have_empty_rows_and_are_named(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", range(60), codec="MJPG")
    for number in (17, 18, 40):
        damage_avi_frame(video, number)
    result = _analyze(video)
    assert result.frames == 60
    assert numbers_in(read_results(result.h5).xy) == [-1 if i in {17, 18, 40} else i for i in range(60)]
    assert result.warnings == (
        "a.avi: 3 of 60 frames are damaged and have empty rows, so that row i stays camera frame i: 17, 18, 40.",
    )
    meta = read_meta(tmp_path / "aDLC_Drawn_meta.pickle")
    assert meta is not None
    assert meta["rigpose"]["missing_frames"] == [17, 18, 40] and meta["nframes"] == 60


def test_a_bad_video_does_not_stop_the_others(tmp_path: Path) -> None:
    write_video(tmp_path / "b.mp4", range(10))
    (tmp_path / "a.mp4").write_bytes(b"no video")
    write_video(tmp_path / "c.mp4", range(12))
    report = analyze_videos(analyzer(), [tmp_path, tmp_path / "missing.mp4"], identity=IDENTITY)
    assert [(result.video.name, result.frames) for result in report.results] == [("b.mp4", 10), ("c.mp4", 12)]
    assert [video.name for video, _ in report.failures] == ["a.mp4", "missing.mp4"]
    assert all(sentence.endswith(".") and name.name in sentence for name, sentence in report.failures)


def test_a_folder_gives_its_videos_but_not_the_drawn_ones(tmp_path: Path) -> None:
    for name in ("b.AVI", "a.mp4", "aDLC_x_p60_labeled.mp4", "aDLC_x_full.mp4", "notes.txt", "d.mkv"):
        (tmp_path / name).touch()
    assert [path.name for path in find_videos(tmp_path)] == ["a.mp4", "b.AVI", "d.mkv"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="no video in this folder"):
        find_videos(tmp_path / "empty")
