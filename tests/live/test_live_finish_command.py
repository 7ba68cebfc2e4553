"""``rigpose live finish`` as it is typed, on what a killed ``rigpose live`` left behind."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_commands import SMALL, rigpose, rigpose_elsewhere
from live_poses import MOUSE
from live_recordings import SCORER, captured, recorder

from rigpose.files.results import read_results
from rigpose.live.faults import LiveError
from rigpose.live.recording.recording_files import RecordingFiles

PATIENCE = 120.0
"""For a busy machine; the process is killed as soon as there is enough [s]."""
ENOUGH = 250
"""Frames whose times are on the disk: two and a half seconds, of which the last one may be lost."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The folder, and what ``live finish`` ended with while it was still being recorded."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    report = folder.with_name("report.html")
    side_car = folder / "simulated_frames.csv"
    with rigpose_elsewhere(
        "live", "--source", SMALL, "--record", folder, "--seconds", "600", "--report", report
    ) as process:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and process.poll() is None:
            if side_car.is_file() and len(side_car.read_bytes().splitlines()) > ENOUGH:
                break
            time.sleep(0.05)
        assert process.poll() is None
        meanwhile = rigpose("live", "finish", folder)
    assert not report.exists() and not list(folder.glob("*.h5"))
    return folder, meanwhile


def test_a_recording_that_goes_on_is_left_alone(killed: tuple[Path, int]) -> None:
    assert killed[1] == 1


def test_what_was_killed_gets_its_table(killed: tuple[Path, int], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = killed
    assert rigpose("live", "finish", folder) == 0
    said = capsys.readouterr().out
    table = read_results(folder / "simulateddrawn_animals.h5")
    found = np.isfinite(table.xy[..., 0]).any(axis=(1, 2))
    assert len(table.xy) >= ENOUGH / 2 and found.any()
    shown = cv2.VideoCapture(str(folder / "simulated.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)
    assert 0 < shown <= len(table.xy)
    assert f"simulated: {len(table.xy)} frames recorded" in said
    assert "was not closed in order" in said and f"wrote {folder / 'simulateddrawn_animals.h5'}" in said
    before = (folder / "simulateddrawn_animals.h5").read_bytes()
    assert rigpose("live", "finish", folder, "--csv") == 0
    assert capsys.readouterr().out == said and (folder / "simulateddrawn_animals.h5").read_bytes() == before
    assert len(read_results(folder / "simulateddrawn_animals.csv").xy) == len(table.xy)


def test_frames_that_the_disk_could_not_take_end_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = recorder(tmp_path, spec=MOUSE, memory=1)  # one frame has room, and those that come before it is written none
    made.open()
    for number in range(200):
        with suppress(LiveError):  # it says so at once, too
            made.offer(captured(number, noise=True))
    made.close()
    assert made.counts.dropped
    assert rigpose("live", "finish", tmp_path) == 1
    assert (
        f"{made.counts.dropped} frames are not in it, as disk or processor could not follow" in capsys.readouterr().out
    )
    assert RecordingFiles.of(tmp_path, "top").tables(SCORER).h5.is_file()


@pytest.mark.parametrize("folder", ["nothere", "."])
def test_where_there_is_no_recording_it_says_so(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rigpose("live", "finish", folder) == 1
    said = capsys.readouterr().err
    assert said == f"rigpose live finish: {folder}: there is no recording in it; name the folder of a recorded run.\n"
    assert not list(tmp_path.iterdir())


def test_both_words_are_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("fit", "finish"):
        assert rigpose("live", word) == 2
        assert f"rigpose live {word}: error: the following arguments are required" in capsys.readouterr().err
        assert rigpose("live", word, "--help") == 0
        assert f"usage: rigpose live {word} " in capsys.readouterr().out
    assert rigpose("live", "--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "rigpose live fit RECORDING" in said and "rigpose live finish FOLDER" in said
