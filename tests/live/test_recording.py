"""Recording: row i is frame i, every frame is accounted for, and no disk holds up a camera."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from live_poses import MICE, MOUSE, found_of, pose_at, poses_of
from live_recordings import SCORER, captured, numbered, numbers_in, one_mouse, recorded, recorder, same_modules
from live_stand_ins import StubFinder

from rigpose.errors import ConfigError, MissingExtraError
from rigpose.files.results import read_results
from rigpose.live.faults import FaultKind, LiveError
from rigpose.live.recording import frame_log
from rigpose.live.recording.animal_places import AnimalPlaces
from rigpose.live.recording.codecs import CODECS, codec_named
from rigpose.live.recording.finish import finish
from rigpose.live.recording.read import read_recording
from rigpose.live.recording.recorder import Recorder
from rigpose.live.recording.recording_files import new_run_folder
from rigpose.live.recording.side_car import FrameLine, SideCar, SideCarHeader, read_lines
from rigpose.live.recording.video_writer import VideoWriter, frames_in
from rigpose.live.running.loop import LiveRun
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.sources.simulated import SimulatedCamera
from rigpose.live.status import RunState, RunStatus
from rigpose.poses import Poses
from rigpose.videos.labelled_video import label_video


@pytest.mark.parametrize("codec", ["h264", "mjpeg", "lossless"])
@pytest.mark.parametrize("grey", [False, True])
def test_row_is_frame(tmp_path: Path, codec: str, *, grey: bool) -> None:
    made = recorded(tmp_path, range(6, 76), codec=codec, grey=grey)
    assert numbers_in(made.files.video) == list(range(6, 76))
    done = made.finish(save_csv=True)
    assert done.whole and (done.rows, done.video_frames, done.dropped, done.faults) == (70, 70, 0, ())
    assert done.table is not None
    for table in (read_results(done.table), read_results(done.table.with_suffix(".csv"))):
        numbers = np.arange(6, 76)
        inferred = numbers % 3 == 0
        np.testing.assert_array_equal(table.xy[inferred, 0, 0], np.stack([numbers, numbers + 0.5], 1)[inferred])
        assert np.isnan(table.xy[~inferred]).all() and np.isnan(table.score[~inferred]).all()
    assert cv2.VideoCapture(str(made.files.video)).get(cv2.CAP_PROP_FRAME_COUNT) == 70


def test_the_side_car_opens_in_pandas_with_every_time_as_it_was(tmp_path: Path) -> None:
    made = recorded(tmp_path, range(1, 31), facts={"bundle": "mouse"}, frames_per_second=99.5)
    begun = time.time()
    made.finish()
    table = pd.read_csv(made.files.side_car, comment="#", float_precision="round_trip")
    frames = [captured(number) for number in range(1, 31)]
    assert table["number"].tolist() == list(range(1, 31))
    assert table["row"].tolist() == table["video_index"].tolist() == list(range(30))
    assert table["exposed"].tolist() == [frame.exposed for frame in frames]
    assert table["arrived"].tolist() == [frame.arrived for frame in frames]
    assert table["device_time"].tolist() == [frame.device_time for frame in frames]
    assert table["pose_row"].tolist() == [number // 3 - 1 if number % 3 == 0 else -1 for number in range(1, 31)]
    assert set(table["state"]) == {"recorded"}
    # The frames' own times are of a clock that began with the machine; both clocks were read within this test.
    since = table["wall_clock"] - table["exposed"]
    np.testing.assert_allclose(since, begun - time.perf_counter(), atol=60)
    header = read_recording(tmp_path).header
    assert (header.camera, header.scorer, header.model, header.keypoints) == ("top", SCORER, "abc", MOUSE.keypoints)
    assert header.facts == {"bundle": "mouse"} and header.frames_per_second == 99.5


def test_rigpose_label_draws_into_it(tmp_path: Path) -> None:
    made = recorded(tmp_path, range(12), every=1)
    made.finish()
    assert frames_in(label_video(made.files.video)) == 12


def test_a_size_that_is_odd_stays_as_it_is(tmp_path: Path) -> None:
    path, image = tmp_path / "odd.mp4", np.full((33, 47, 3), 200, np.uint8)
    image[:, :20] = (10, 60, 120)
    writer = VideoWriter(path, CODECS["h264"], size=(33, 47))
    writer.write(image, 0.0)
    writer.close()
    _, shown = cv2.VideoCapture(str(path)).read()
    assert shown.shape == image.shape
    assert np.abs(shown.astype(int) - image)[5:-5, 5:15].max() <= 4  # what H.264 makes of plain colours


def test_lossless_is_every_bit(tmp_path: Path) -> None:
    images = [numbered(number, noise=True) for number in range(5)]
    writer = VideoWriter(tmp_path / "v.mp4", CODECS["lossless"], size=images[0].shape[:2])
    for number, image in enumerate(images):
        image.flags.writeable = False  # nobody may write into a frame
        writer.write(image, number / 10)
    writer.close()
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    for image in images:
        np.testing.assert_array_equal(capture.read()[1], image)


def test_times_that_stand_still_or_go_back_lose_no_frame(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4", CODECS["h264"], size=numbered(0).shape[:2])
    for number, exposed in enumerate([5.0, 5.0, 4.0, 5.00001, 90.0]):
        writer.write(numbered(number), exposed)
    writer.close()
    assert numbers_in(tmp_path / "v.mp4") == [0, 1, 2, 3, 4]


def test_several_animals_keep_their_columns(tmp_path: Path) -> None:
    made = recorder(tmp_path, spec=MICE)
    made.open()
    here, there = [(1, 1), (2, 2), (3, 3)], [(11, 1), (12, 2), (13, 3)]
    results = {
        0: found_of([here, there], ids=[4, 9]),
        1: found_of([there, here], ids=[9, 4]),
        2: found_of([]),
        3: found_of([there], ids=[9]),
        5: found_of([here, there, here], ids=[4, 9, -1]),
    }
    for number in range(6):
        frame = captured(number)
        made.offer(frame)
        if number in results:
            made.send(replace(pose_at(frame.exposed, results[number]), frame=frame))
    done = made.finish()
    assert done.table is not None and done.without_place == 1
    table = read_results(done.table)
    assert table.individuals == ("a", "b")
    x = table.xy[:, :, 0, 0]
    np.testing.assert_array_equal(x, [[1, 11], [1, 11], [np.nan, np.nan], [np.nan, 11], [np.nan, np.nan], [1, 11]])
    recording = read_recording(tmp_path)
    np.testing.assert_array_equal(recording.poses[..., :2], table.xy)
    # A frame without animals was inferred, and its row is as empty as that of a frame that was not.
    assert recording.inferred.tolist() == [True, True, True, True, False, True]


def test_all_that_was_found_is_kept(tmp_path: Path) -> None:
    spec = replace(MICE, unique_keypoints=("light",))
    made = recorder(tmp_path, spec=spec)
    made.open()
    frame = captured(3)
    found = found_of([[(1, 1), (2, 2), (3, 3)], [(4, 4), (5, 5), (np.nan, np.nan)]], ids=[8, -1])
    unique = np.array([[50, 60, 0.5]], np.float32)
    animal_score = np.array([0.25, 0.75], np.float32)
    found = replace(found, poses=replace(found.poses, unique=unique, animal_score=animal_score))
    predicted = poses_of([[(1.5, 1), (2.5, 2), (3, 3)], [(4, 4), (5, 5), (6, 6)]])
    made.offer(frame)
    pose = pose_at(frame.exposed, found, triggers={"in": True, "out": False}, predicted=predicted)
    made.send(replace(pose, frame=frame))
    done = made.finish()
    ((line, record),) = read_recording(tmp_path).records()
    assert record is not None and line.number == record.number == 3
    assert record.triggers == ("in",) and record.lead == pose.lead and record.found == pose.stamps.found
    assert record.ids.tolist() == [8, -1] and record.predicted is not None
    np.testing.assert_array_equal(record.poses.to_array(), found.poses.to_array())
    np.testing.assert_array_equal(record.poses.animal_score, animal_score)
    np.testing.assert_array_equal(record.predicted.to_array(), predicted.to_array())
    assert done.table is not None
    np.testing.assert_array_equal(read_results(done.table).unique, unique[None])


def test_poses_that_say_less_than_the_model_can_are_kept(tmp_path: Path) -> None:
    """A frame that is looked at around the last poses has no scores of a detector."""
    made = recorder(tmp_path, spec=MICE)
    made.open()
    frame = captured(0)
    made.offer(frame)
    made.send(replace(pose_at(frame.exposed, found_of([[(1, 1), (2, 2), (3, 3)]])), frame=frame))
    made.close()
    ((_, record),) = read_recording(tmp_path).records()
    assert record is not None and record.poses.animal_score is not None and np.isnan(record.poses.animal_score).all()


def test_places_of_animals() -> None:
    places = AnimalPlaces(3)

    def of(*ids: int, identity: list[int] | None = None) -> list[int]:
        poses = Poses(np.zeros((len(ids), 1, 2)), np.zeros((len(ids), 1)))
        return places.of(
            replace(poses, identity=None if identity is None else np.array(identity)), np.array(ids)
        ).tolist()

    assert of(1, 0) == [1, 0]
    assert of(0, 7) == [0, 2]  # the place that nobody has had, though that of 1 is free
    assert of(8, 0) == [1, 0]  # the only one that is free; 1 has lost it
    assert of(7) == [2]
    assert of(9) == [0]  # of the two that are empty, that of 0 is empty as long as that of 8
    assert of(8, 9, 7, 10) == [1, 0, 2, -1]
    assert of(8, 9, identity=[0, -1]) == [0, 1]  # the model says who it is, and 9 has to move
    assert of() == []


def test_a_disk_that_hangs_never_holds_up_the_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, hangs = threading.Event(), threading.Event()

    class Hanging(VideoWriter):
        def write(self, image, exposed):
            hangs.set()
            assert goes_on.wait(60)
            super().write(image, exposed)

    monkeypatch.setattr(frame_log, "VideoWriter", Hanging)
    made = recorder(tmp_path, memory=20 * numbered(0).nbytes)
    made.open()
    made.offer(captured(0))
    assert hangs.wait(60)
    spent, told = [], []
    for number in [*range(1, 1000), *range(1005, 2005)]:  # the device itself dropped some
        frame = captured(number)
        begun = time.perf_counter()
        try:
            made.offer(frame)
        except LiveError as error:
            told.append(str(error))
        spent.append(time.perf_counter() - begun)
    # One in a hundred may meet another process of a busy machine; a disk takes 5 ms and more.
    assert np.percentile(spent, 99) < 0.0002
    counts = made.counts
    assert (counts.offered, counts.recorded, counts.dropped, counts.waiting) == (2000, 0, 1979, 21)
    assert len(told) == 1979 and "recording of top: frames are dropped, 1979 so far" in told[-1]
    goes_on.set()
    while made.counts.waiting:
        time.sleep(0.01)
    made.offer(captured(3000))
    made.close()
    counts = made.counts
    assert (counts.offered, counts.recorded, counts.dropped, counts.waiting) == (2001, 22, 1979, 0)
    recording = read_recording(tmp_path)
    assert numbers_in(made.files.video) == recording.number.tolist() == [*range(21), 3000]
    assert recording.dropped.tolist() == [*range(21, 1000), *range(1005, 2005)]
    done = made.finish()
    assert done.rows + done.dropped == counts.offered
    # The lines are in the order in which the frames were taken.
    assert [line.number for line in read_lines(made.files.side_car)] == [*range(1000), *range(1005, 2005), 3000]


def test_memory_has_its_limit_before_the_recorder_is_open(tmp_path: Path) -> None:
    made = recorder(tmp_path, memory=5 * numbered(0).nbytes)
    for number in range(5):
        made.offer(captured(number))
    for number in range(5, 8):
        with pytest.raises(LiveError, match=r"top_frames\.csv lists them"):
            made.offer(captured(number))
    made.open()
    made.close()
    assert read_recording(tmp_path).number.tolist() == [0, 1, 2, 3, 4]
    assert read_recording(tmp_path).dropped.tolist() == [5, 6, 7]


def test_a_full_disk_ends_the_video_and_nothing_else(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    made = recorder(tmp_path)
    made.open()
    made.files.video.symlink_to("/dev/full")
    told = []
    for number in range(200):
        frame = captured(number)
        try:
            made.offer(frame)
        except LiveError as error:
            told.append(str(error))
        while made.counts.waiting:
            time.sleep(0.001)
        made.send(one_mouse(frame))
    made.close()
    # Said with every frame from then on, as long as it is so.
    assert len(set(told)) == 1 and len(told) >= 149
    assert "No space left on device" in told[0] and str(made.files.video) in told[0]
    counts = made.counts
    assert counts.offered == counts.recorded + counts.no_picture == 200 and counts.poses == 200
    assert counts.recorded <= 51  # a fragment is half a second, written when the next frame comes
    made.files.video.unlink()
    done = made.finish()
    assert (done.rows, done.poses, done.video_frames, done.whole) == (200, 200, 0, False)
    assert done.table is not None and done.faults == (told[0],)
    assert read_results(done.table).xy[:, 0, 0, 0].tolist() == list(range(200))
    assert {line.state for line in read_lines(made.files.side_car)} == {"no picture"}


_LITTLE_ROOM = """
import resource, sys
from contextlib import suppress
from pathlib import Path
from live_stand_ins import StubFinder
from live_recordings import captured, one_mouse, recorder
from rigpose.live.faults import FaultKind, LiveError
from rigpose.live.running.loop import LiveRun
made = recorder(Path(sys.argv[1]), codec="lossless")
made.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 21, resource.RLIM_INFINITY))
for number in range(300):
    frame = captured(number, noise=True)
    with suppress(LiveError):
        made.offer(frame)
    made.send(one_mouse(frame))
print(made.faults)
with suppress(LiveError):
    made.close()
print(made.faults)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit of their size")
def test_what_was_in_the_video_when_the_room_was_used_up_stays(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _LITTLE_ROOM, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=120, env=same_modules(),
    ).stdout  # fmt: skip
    assert "File too large" in said
    (done,) = finish(tmp_path)
    assert done.rows == 300 == done.poses and not done.whole and len(done.faults) == 1
    assert 0 < done.video_frames < 300
    assert frames_in(tmp_path / "top.mp4") == done.video_frames
    indices = [line.video_index for line in read_lines(done.side_car)]
    assert indices == [*range(done.video_frames), *[-1] * (300 - done.video_frames)]


def test_lines_wait_for_room(tmp_path: Path) -> None:
    header = SideCarHeader("top", SCORER, "", ("a",), ("b",), (), "both", "h264", "1", 0.0)
    side_car = SideCar(tmp_path / "s.csv", header)
    size = (tmp_path / "s.csv").stat().st_size
    real = side_car._file._file

    class Full:
        """Takes a part of what it is given, as a disk does that becomes full."""

        def __init__(self) -> None:
            self.room = 10

        def write(self, data) -> int:
            if not self.room:
                raise OSError(28, "No space left on device")
            written = real.write(data[: self.room])
            self.room = 0
            return written

        def __getattr__(self, name):
            return getattr(real, name)

    side_car._file._file = Full()  # type: ignore[assignment]
    for number in range(3):
        with pytest.raises(LiveError, match="No space left"):
            side_car.add(FrameLine.dropped(number))
    assert (tmp_path / "s.csv").stat().st_size == size  # no part of a line stays
    side_car._file._file = real
    side_car.sync()
    side_car.add(FrameLine.dropped(3))
    assert [line.number for line in read_lines(tmp_path / "s.csv")] == [0, 1, 2, 3]
    side_car._file._file = Full()  # type: ignore[assignment]
    with pytest.raises(LiveError, match="No space left"):
        side_car.add(FrameLine.dropped(4))
    with pytest.raises(LiveError, match="ends here"):
        side_car.note("much", "x" * (1 << 22))
    side_car._file._file = real
    side_car.sync()
    with pytest.raises(LiveError, match="ends here"):
        side_car.add(FrameLine.dropped(5))
    assert [line.number for line in read_lines(tmp_path / "s.csv")] == [0, 1, 2, 3]
    side_car.close()


def test_a_table_that_cannot_be_written_can_be_made_later(tmp_path: Path) -> None:
    made = recorded(tmp_path, range(10))
    in_the_way = tmp_path / f"top{SCORER}.writing.h5"
    in_the_way.mkdir()
    with pytest.raises(LiveError, match="could not be finished"):
        made.finish()
    in_the_way.rmdir()
    assert finish(tmp_path)[0].rows == 10
    text = made.files.tables(SCORER).csv
    assert not text.exists()
    assert finish(tmp_path, save_csv=True) == finish(tmp_path)
    assert len(read_results(text).xy) == 10


def test_a_frame_of_another_size_ends_the_video(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    made.open()
    made.offer(captured(0))
    made.offer(replace(captured(1), image=np.zeros((32, 32, 3), np.uint8)))
    with pytest.raises(LiveError, match="32x32 px came after frames of 96x64 px"):
        made.close()
    made.close()  # does nothing
    assert made.finish().rows == 2


def test_two_cameras_in_one_folder(tmp_path: Path) -> None:
    cameras = [recorder(tmp_path, camera) for camera in ("usb:0", "/dev/video1")]
    for made in cameras:
        made.open()
    for number in range(5):
        for made in cameras:  # a run offers all frames to all
            made.offer(captured(number, camera="usb:0"))
            made.send(one_mouse(captured(number, camera="usb:0")))
            if number % 2:
                made.offer(captured(100 + number, camera="/dev/video1"))
    for made in cameras:
        made.close()
    assert read_recording(tmp_path, "usb:0").number.tolist() == [0, 1, 2, 3, 4]
    assert read_recording(tmp_path, "/dev/video1").number.tolist() == [101, 103]
    assert [(done.camera, done.rows, done.poses) for done in finish(tmp_path)] == [
        ("/dev/video1", 2, 0),
        ("usb:0", 5, 5),
    ]
    with pytest.raises(LiveError, match="these cameras: /dev/video1, usb:0"):
        read_recording(tmp_path)


@pytest.mark.parametrize(("keep", "there"), [("frames", {"_frames.csv", ".mp4"}), ("poses", {"_frames.csv", ".poses"})])
def test_only_what_is_wanted_is_kept(tmp_path: Path, keep, there) -> None:
    made = recorded(tmp_path, range(6), keep=keep)
    assert {path.name.removeprefix("top") for path in tmp_path.iterdir()} == there
    done = made.finish()
    assert (done.rows, done.whole) == (6, True)
    assert (done.video is None, done.table is None) == (keep == "poses", keep == "frames")
    recording = read_recording(tmp_path)
    assert recording.inferred.sum() == (0 if keep == "frames" else 2)
    assert recording.exposed.tolist() == [captured(number).exposed for number in range(6)]


def test_no_recording_takes_the_place_of_another(tmp_path: Path) -> None:
    made = recorder(tmp_path)
    made.open()
    with pytest.raises(LiveError, match="in the hands of another"):
        recorder(tmp_path).open()
    with pytest.raises(LiveError, match="in the hands of another"):
        finish(tmp_path)
    made.close()
    before = made.files.side_car.read_bytes()
    with pytest.raises(LiveError, match="is there already"):
        recorder(tmp_path).open()
    assert made.files.side_car.read_bytes() == before
    begun = datetime(2030, 1, 2, 3, 4, 5)  # a laboratory's own time
    folders = [new_run_folder(tmp_path / "runs", begun) for _ in range(2)]
    assert [folder.name for folder in folders] == ["2030-01-02_03-04-05", "2030-01-02_03-04-05_2"]


def test_what_cannot_be_recorded_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="codec 'vp9': there is no such codec; choose one of h264"):
        recorder(tmp_path, codec="vp9")
    with pytest.raises(LiveError, match="there is no recording in it"):
        finish(tmp_path)
    (tmp_path / "top_frames.csv").write_text("hello\n")
    with pytest.raises(LiveError, match="is no recording of this version"):
        read_recording(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(LiveError, match="cannot be made"):
        recorder(tmp_path / "file" / "folder").open()
    monkeypatch.setattr(frame_log, "VideoWriter", _Broken)
    made = recorder(tmp_path / "broken")
    made.open()
    made.offer(captured(0))
    with pytest.raises(LiveError, match="the video ends here \\(ValueError: no idea\\)"):
        made.close()
    monkeypatch.setitem(sys.modules, "av.codec.context", None)
    with pytest.raises(MissingExtraError, match=r"rigpose\[live\]"):
        recorder(tmp_path / "without").open()
    poses_only = recorder(tmp_path / "poses only", keep="poses")
    poses_only.open()
    poses_only.close()


class _Broken:
    def __init__(self, *_, **__) -> None:
        raise ValueError("no idea")


def test_every_codec_is_one_of_ffmpegs() -> None:
    import av

    for name in CODECS:
        for grey in (False, True):
            codec = codec_named(name, grey=grey)
            formats = [known.name for known in av.Codec(codec.encoder, "w").video_formats or ()]
            assert codec.pixels in formats and (codec.odd is None or codec.odd in formats)


def test_a_line_that_is_damaged_in_the_middle_is_no_recording(tmp_path: Path) -> None:
    files = recorded(tmp_path, range(5)).files
    files.side_car.write_text(files.side_car.read_text().replace("\n2,2,2,", "\n2,2,two,"))
    with pytest.raises(LiveError, match="line 5 is not that of a frame"):
        read_recording(tmp_path)


PATIENT = LiveOptions(frozen_after=60, stalled_after=60, patience=60)
"""A busy machine is no fault of the recorder."""


def test_a_run_records_every_frame_and_closes_its_ledger(tmp_path: Path) -> None:
    finder = StubFinder(0.02)
    camera = SimulatedCamera("top", 160, 120, 100.0, seconds=1.0)
    made = recorder(tmp_path, spec=finder.spec)
    run = LiveRun(finder, [camera], recorders=[made], taps=[made], options=PATIENT)
    run.start()
    assert run.wait(60)
    status, counts = run.stop(), made.counts
    frames = status.cameras["top"]
    assert frames.closed and frames.captured == counts.offered == counts.recorded > 0
    assert frames.inferred == counts.poses == status.outputs[made.name].sent > 0
    assert not status.faults
    done = made.finish()
    assert done.whole and (done.rows, done.video_frames, done.poses) == (counts.offered, counts.offered, counts.poses)
    recording = read_recording(tmp_path)
    assert recording.number[recording.inferred].tolist() == [number for _, number in finder.looked]
    # The times are the run's, and poses are there after their frames.
    assert (recording.found > recording.exposed)[recording.inferred].all()


def test_a_run_goes_on_when_the_disk_is_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    finder = StubFinder()
    made = recorder(tmp_path, spec=finder.spec)
    made.open()
    made.files.video.symlink_to("/dev/full")
    run = LiveRun(
        finder, [SimulatedCamera("top", 160, 120, 100.0, seconds=1.5)], recorders=[made], taps=[made], options=PATIENT
    )
    run.start()
    assert run.wait(60)
    status = run.stop()
    (fault,) = status.faults
    assert fault.kind is FaultKind.RECORDING_FAILED and "No space left on device" in fault.sentence
    assert not fault.ends_run and status.cameras["top"].closed
    assert made.counts.poses == status.cameras["top"].inferred > 0
    made.files.video.unlink()
    assert made.finish().poses == made.counts.poses


def test_a_run_whose_frames_find_no_room_says_so_and_lists_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()

    class Hanging(VideoWriter):
        def write(self, image, exposed):
            assert goes_on.wait(60)
            super().write(image, exposed)

    monkeypatch.setattr(frame_log, "VideoWriter", Hanging)
    finder = StubFinder()
    made = recorder(tmp_path, spec=finder.spec, memory=20 * 160 * 120 * 3)
    camera = SimulatedCamera("top", 160, 120, 100.0)
    run = LiveRun(finder, [camera], recorders=[made], taps=[made], options=PATIENT)
    run.start()

    def until(state: RunState, *, dropped: int) -> RunStatus:
        end = time.monotonic() + 60
        while (status := run.status()).state is not state or made.counts.dropped < dropped:
            assert time.monotonic() < end, status
            time.sleep(0.01)
        return status

    (fault,) = until(RunState.DEGRADED, dropped=100).faults
    assert (fault.kind, fault.where) == (FaultKind.RECORDING_FAILED, "recording of top")
    assert "frames are dropped, 1 so far" in fault.sentence and not fault.ends_run
    goes_on.set()
    until(RunState.RUNNING, dropped=100)
    status, counts = run.stop(), made.counts
    assert status.cameras["top"].closed and status.cameras["top"].captured == counts.offered
    assert len(status.faults) == 1, "what is dropped in one stretch is one fault"
    recording = read_recording(tmp_path)
    assert len(recording) == counts.recorded > 20 and len(recording.dropped) == counts.dropped >= 100
    assert not set(recording.number) & set(recording.dropped)
    done = made.finish()
    assert done.video_frames == done.rows == counts.recorded and done.dropped == counts.dropped


def test_a_recorder_is_a_tap_and_an_output(tmp_path: Path) -> None:
    made: Recorder = recorder(tmp_path)
    assert made.name == "recording of top"
    made.open()
    made.open()
    made.safe()
    assert json.loads(made.files.side_car.read_text().splitlines()[0][1:])["recording"]["camera"] == "top"
    made.close()
    made.offer(captured(1))  # after the end: no part of it, and no error
    assert made.counts.offered == 0
