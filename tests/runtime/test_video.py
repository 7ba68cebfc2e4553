"""Decoding: order, time stamps, damage and sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_video import HEIGHT, WIDTH, damage_avi_frame, draw_frame, write_video

from rigpose.errors import ConfigError, MediaError
from rigpose.videos.video import Crop, Video, lost_frames


def test_frames_come_in_order_with_the_time_at_which_each_is_shown(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(30))
    with Video(path) as video:
        assert (video.height, video.width, video.frames_reported) == (HEIGHT, WIDTH, 30)
        frames = list(video.frames())
    assert [frame.index for frame in frames] == list(range(30))
    # 25 frames per second: the time belongs to the frame itself, not to the one before or after.
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(30) * 40.0, atol=1e-3)
    for number, frame in enumerate(frames):
        # The codec blurs by a few grey levels; a wrong frame differs by 210 in two cells.
        assert np.abs(frame.image.astype(int) - draw_frame(number)).max() < 60


def test_starting_later_gives_the_frames_of_a_whole_run(golden: Path) -> None:
    path = golden / "snapshots" / "openfield_resnet_50" / "clip120.mp4"
    with Video(path) as video:
        whole = list(video.frames())
    with Video(path) as video:
        late = list(video.frames(start=77))
    assert [frame.index for frame in late] == list(range(77, 120))
    for expected, frame in zip(whole[77:], late, strict=True):
        assert frame.time == expected.time
        np.testing.assert_array_equal(frame.image, expected.image)


def test_a_crop_cuts_the_frames_and_must_lie_inside(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(3))
    with Video(path) as whole, Video(path, crop=Crop(8, 40, 16, 64)) as cropped:
        assert (cropped.height, cropped.width) == (48, 32)
        for expected, frame in zip(whole.frames(), cropped.frames(), strict=True):
            np.testing.assert_array_equal(frame.image, expected.image[16:64, 8:40])
    with pytest.raises(ConfigError, match="leaves the frame of 160x96"):
        Video(path, crop=Crop(0, 161, 0, 96))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "0,10,0,-5"])
def test_a_crop_that_is_not_four_whole_numbers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="x1,x2,y1,y2"):
        Crop.parse(text)
    assert Crop.parse("0, 320,0,240") == Crop(0, 320, 0, 240)


def test_decoding_goes_on_after_a_damaged_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", range(30), codec="MJPG")
    damage_avi_frame(path, 12)
    with Video(path) as video:
        times = [frame.time for frame in video.frames()]
        assert len(times) == 29
        assert lost_frames(times, frames_per_second=video.frames_per_second) == (12,)


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"missing\.mp4: there is no such video"):
        Video(tmp_path / "missing.mp4")
    (tmp_path / "text.mp4").write_bytes(b"not a video " * 100)
    with pytest.raises(MediaError, match=r"text\.mp4: OpenCV cannot open this"):
        Video(tmp_path / "text.mp4")


def test_a_video_without_a_decodable_frame_is_named(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", range(3), codec="MJPG")
    for number in range(3):
        damage_avi_frame(path, number)
    with pytest.raises(MediaError, match=r"a\.avi: "):
        Video(path)


def test_gaps_between_times_name_the_lost_frames() -> None:
    kept = [0, 1, 4, 5, 6, 9]
    times = [number * 1000 / 30 for number in kept]
    assert lost_frames(times, frames_per_second=30) == (2, 3, 7, 8)
    assert lost_frames(times[:2], frames_per_second=30) == ()


def test_a_variable_frame_rate_names_nothing() -> None:
    assert lost_frames([0, 33, 60, 110, 130], frames_per_second=30) is None
    assert lost_frames([0, 33.3, 33.3, 66.7], frames_per_second=30) is None
    assert lost_frames([0, 40], frames_per_second=0) is None


def test_a_slightly_wrong_rate_does_not_drift_into_a_gap() -> None:
    # Ten minutes at a rate that the container states 0.1 % too high.
    times = np.arange(18000) * 1000 / 30
    assert lost_frames(times, frames_per_second=30.03) == ()
