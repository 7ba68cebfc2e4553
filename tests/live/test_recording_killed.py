"""A recording whose process was killed: what is there can be played, read and finished, up to its last second."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from live_recordings import SCORER, captured, killed_in_the_middle, number_in, numbers_in, one_mouse, recorded

from rigpose.files.results import read_results
from rigpose.live.recording.finish import finish
from rigpose.live.recording.fragments import cut_torn_fragment
from rigpose.live.recording.read import read_recording
from rigpose.live.recording.side_car import read_lines

SECOND = 1.0


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[int, float]]]:
    folder = tmp_path_factory.mktemp("killed")
    return folder, killed_in_the_middle(folder, seconds=2.2)


@pytest.mark.parametrize("camera", ["top", "side"])
def test_no_more_than_a_second_is_lost(killed, camera) -> None:
    folder, last = killed
    recording = read_recording(folder, camera)
    number, exposed = last[camera]
    # The side-car, the video and the poses each reach into the last second before the kill.
    assert recording.exposed[-1] > exposed - SECOND
    assert recording.found[recording.inferred][-1] > exposed - SECOND
    assert recording.video is not None
    shown = numbers_in(recording.video)
    assert recording.exposed[len(shown) - 1] > exposed - SECOND
    # Nothing is between: the frames are those that were captured, from the first on.
    assert recording.number.tolist() == list(range(1, len(recording) + 1))
    assert shown == list(range(1, len(shown) + 1))
    assert len(recording) >= len(shown) > 100 and len(recording) <= number + 1


def test_the_video_plays_in_pyav_and_opencv_knows_its_length(killed) -> None:
    recording = read_recording(killed[0], "top")
    with av.open(str(recording.video)) as container:
        frames = list(container.decode(video=0))
    assert [number_in(frame.to_ndarray(format="bgr24")) for frame in frames] == list(range(1, len(frames) + 1))
    # Frames have their own times: a tick of the video is 1/90000 s.
    times = np.array([float(frame.pts * frame.time_base) for frame in frames])
    np.testing.assert_allclose(times, recording.exposed[: len(frames)] - recording.exposed[0], atol=1 / 90_000)
    assert cv2.VideoCapture(str(recording.video)).get(cv2.CAP_PROP_FRAME_COUNT) == len(frames)


def test_finish_makes_the_table(killed) -> None:
    folder, _ = killed
    before = {camera: read_recording(folder, camera).poses for camera in ("side", "top")}
    finished = finish(folder)
    assert [done.camera for done in finished] == ["side", "top"]
    for done in finished:
        assert not done.whole and done.dropped == 0
        assert done.rows >= done.video_frames > 100
        assert done.table is not None and done.table.name.endswith(f"{SCORER}.h5")
        table, recording = read_results(done.table), read_recording(folder, done.camera)
        assert len(table.xy) == done.rows == len(recording)
        inferred = recording.number % 3 == 0
        # Within a second, which had at most 100 frames, a pose may be missing whose frame was written.
        assert (recording.inferred == inferred)[:-100].all()
        assert done.poses == recording.inferred.sum()
        rows = np.flatnonzero(recording.inferred)
        np.testing.assert_array_equal(table.xy[rows, 0, 0, 0], recording.number[rows])
        assert np.isnan(np.delete(table.xy, rows, axis=0)).all()
        np.testing.assert_array_equal(recording.poses, before[done.camera])
    assert finish(folder) == finished


def test_the_side_car_says_in_the_end_which_frames_the_video_has(killed) -> None:
    folder, _ = killed
    for done in finish(folder):
        lines = list(read_lines(done.side_car))
        assert [line.video_index for line in lines if line.video_index >= 0] == list(range(done.video_frames))
        assert [line.state for line in lines[done.video_frames :]] == ["no picture"] * (done.rows - done.video_frames)
        assert [line.pose_row for line in lines if line.pose_row != -1] == list(range(done.poses))


@pytest.mark.parametrize("part", ["side_car", "poses", "video"])
def test_a_piece_that_is_not_whole_is_cut_off(tmp_path: Path, part: str) -> None:
    files = recorded(tmp_path, range(300)).files
    path = getattr(files, part)
    text = files.side_car.read_text()
    files.side_car.write_text(text[: text.index('# {"end"')])  # as if it had not been closed
    data = path.read_bytes()
    # The end of a video is a fragment of half a second; there is an index of fragments after it.
    cut = data.rindex(b"mfra") - 100 if part == "video" else len(path.read_bytes()) - 7
    path.write_bytes(data[:cut])
    (done,) = finish(tmp_path)
    assert not done.whole
    recording = read_recording(tmp_path)
    assert len(recording) == done.rows == (299 if part == "side_car" else 300)
    assert done.poses == (99 if part == "poses" else 100)
    assert numbers_in(files.video) == list(range(done.video_frames))
    assert cv2.VideoCapture(str(files.video)).get(cv2.CAP_PROP_FRAME_COUNT) == done.video_frames
    assert done.video_frames == 300 if part != "video" else 249 <= done.video_frames < 300
    assert done.table is not None
    assert len(read_results(done.table).xy) == 300  # of the side-car's last frame there is a picture


def test_a_whole_video_is_left_as_it_is(tmp_path: Path) -> None:
    video = recorded(tmp_path, range(120)).files.video
    data = video.read_bytes()
    assert cut_torn_fragment(video) == 0
    assert video.read_bytes() == data


def test_killed_before_the_first_frame(tmp_path: Path) -> None:
    files = recorded(tmp_path, range(0)).files
    (done,) = finish(tmp_path)
    assert (done.rows, done.video_frames, done.poses, done.table, done.video) == (0, 0, 0, None, None)
    assert len(read_recording(tmp_path)) == 0 and read_recording(tmp_path).poses.shape == (0, 1, 3, 3)
    assert not files.video.exists()


def test_poses_of_frames_that_were_dropped_have_no_row(tmp_path: Path) -> None:
    made = recorded(tmp_path, range(10), every=1)
    text = made.files.side_car.read_text().splitlines(keepends=True)
    place = next(i for i, line in enumerate(text) if line.startswith("4,4,4,"))
    text[place] = "-1,-1,4,,,,,,dropped\n"
    for later in range(place + 1, place + 6):
        row = later - place + 3
        text[later] = text[later].replace(f"{row + 1},{row + 1},", f"{row},{row},", 1)
    made.files.side_car.write_text("".join(text))
    recording = read_recording(tmp_path)
    assert recording.dropped.tolist() == [4]
    assert recording.poses[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert one_mouse(captured(4)).poses.xy[0, 0, 0] == 4
