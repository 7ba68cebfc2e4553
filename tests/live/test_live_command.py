"""``rigpose live`` as it is typed: what it writes, says and ends with."""

from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_commands import SMALL, rigpose, rigpose_apart
from live_networks import CELL, animal, drawn, round_trip, write_spot_bundle

from rigpose.errors import ResultError
from rigpose.files.results import read_results
from rigpose.live.faults import LiveError
from rigpose.live.recording.recorder import Recorder
from rigpose.live.report import page
from rigpose.live.running.loop import LiveRun
from rigpose.live.sources.simulated import SimulatedCamera, SimulatedFaults

RULES = """
rules:
  always:
    camera: simulated
    when:
      in_polygon: {keypoint: centre, polygon: [[0, 0], [160, 0], [160, 120], [0, 120]]}
"""
CALLBACKS = """
import os, signal

def counted(pose):
    with open("counted.txt", "a") as file:
        file.write(f"{len(pose.poses)}\\n")

def hangs_up(pose):
    os.kill(os.getpid(), signal.SIGHUP)

def ends(pose):
    os.kill(os.getpid(), signal.SIGTERM)

def interrupts(pose):  # impatiently: again and again
    os.kill(os.getpid(), signal.SIGINT)

def raises(pose):
    raise ValueError("no light")
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    Path("callbacks.py").write_text(CALLBACKS)
    Path("rules.yaml").write_text(RULES)


def only_what_was_there() -> bool:
    return {path.name for path in Path().iterdir()} <= {"callbacks.py", "rules.yaml", "__pycache__"}


@pytest.fixture
def never_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_self: LiveRun) -> None:
        raise AssertionError("the run was started")

    monkeypatch.setattr(LiveRun, "start", start)


def unplugged(monkeypatch: pytest.MonkeyPatch, *, after: float) -> None:
    """The run's camera is one that goes away."""
    camera = SimulatedCamera("top", 160, 120, 100, faults=SimulatedFaults(unplug_after=after))
    monkeypatch.setattr("rigpose.commands.live_opened.open_sources", lambda *_: (camera,))


def test_nothing_typed_is_a_demonstration_with_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert rigpose("live", "--seconds", "0.4") == 0
    said = capsys.readouterr()
    assert "rigpose live: a demonstration of a simulated camera" in said.err
    assert "simulated: " in said.out and " captured = " in said.out
    assert said.out.endswith("wrote rigpose-live.html\n")
    assert "The ledger adds up" in Path("rigpose-live.html").read_text(encoding="utf-8")


def test_everything_at_once_is_written_and_acted_on(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    status = rigpose(
        "live", "--source", SMALL, "--source", SMALL, "--seconds", "1", "--triggers", "rules.yaml", "--record", "run",
        "--to", "python:callbacks.py:counted", "--to", f"zmq://127.0.0.1:{port}", "--to", f"osc://127.0.0.1:{port}",
        "--web", "--report", "out/report.html", "--summary", "out/summary.json", "--codec", "mjpeg",
    )  # fmt: skip
    said = capsys.readouterr()
    assert status == 0, said.out
    assert "web page: http://127.0.0.1:" in said.err
    told = json.loads(Path("out/summary.json").read_text())
    assert sorted(told["cameras"]) == ["simulated", "simulated-2"]
    for camera, frames in told["cameras"].items():
        assert frames["captured"] == sum(frames[fate] for fate in ("inferred", "superseded", "stale", "failed"))
        table = read_results(f"run/{camera}drawn_animals.h5")
        found = np.isfinite(table.xy[..., 0]).any(axis=(1, 2))
        assert len(table.xy) == frames["captured"] and 0 < found.sum() <= frames["inferred"]
        assert cv2.VideoCapture(f"run/{camera}.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == frames["captured"]
    assert len(Path("counted.txt").read_text().split()) == told["outputs"]["python:callbacks.py:counted"]["sent"] > 0
    _, *changes = Path("run/triggers.csv").read_text().splitlines()
    assert changes[0].startswith("always,1,rule,") and changes[-1].startswith("always,0,safe,")
    for file in ("run/simulated.mp4", "run/simulated-2_frames.csv", "run/triggers.csv", "out/report.html"):
        assert f"wrote {Path(file)}\n" in said.out
    assert f"wrote {Path('out/summary.json')}\n" in said.out


def test_a_simulated_camera_has_the_animals_and_faults_that_were_typed(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ("--source", SMALL, "--source", "simulated:320x160@100,animals=2,drop=20%,seconds=1")
    assert rigpose("live", *typed, "--seconds", "1", "--record", "run", "--summary", "s.json") == 0
    said = capsys.readouterr().out
    told = json.loads(Path("s.json").read_text())
    assert told["sources"] == dict.fromkeys(("simulated", "simulated-2"), "simulated camera")
    assert told["cameras"]["simulated-2"]["dropped_by_device"] > 0
    assert "frames never came: this machine was too busy" in said and "cable" not in said
    for camera, animals in (("simulated", 1), ("simulated-2", 2)):
        whole = np.isfinite(read_results(f"run/{camera}drawn_animals.h5").xy).astype(int).min(axis=(2, 3))
        assert set(whole.sum(axis=1).tolist()) == {0, animals}  # none in frames that gave way


def test_a_camera_that_is_unplugged_as_typed_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert rigpose("live", "--source", f"{SMALL},unplug=300ms", "--seconds", "60") == 1
    assert "simulated: the camera was unplugged" in capsys.readouterr().out


def test_a_bundle_finds_the_animal_of_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spot_bundle(tmp_path / "spots")
    places = round_trip(30)
    writer = cv2.VideoWriter("walk.avi", cv2.VideoWriter.fourcc(*"MJPG"), 50, (320, 240))
    for frame in drawn(places):
        writer.write(frame)
    writer.release()
    typed = ("--source", "walk.avi", "--device", "cpu", "--threads", "1", "--record", "run", "--unpaced")
    assert rigpose("live", "spots", *typed) == 0, capsys.readouterr()
    table = read_results("run/walk.aviDLC_spots.h5").xy[:, 0]
    assert len(table) == len(places)
    inferred = np.flatnonzero(np.isfinite(table[:, 0, 0]))
    assert len(places) - 1 in inferred  # nothing is newer than the last one
    for row in inferred:
        # The network answers with the middle of a cell; a spot on its border may count for the next one.
        assert np.abs(table[row] - animal(places[row])).max() < CELL / 2 + 3


def test_a_camera_that_is_not_there_is_one_sentence_and_no_word_of_drivers(capfd: pytest.CaptureFixture[str]) -> None:
    write_spot_bundle(Path("spots"))
    assert rigpose("live", "spots", "--source", "camera:97", "--device", "cpu", "--threads", "1") == 1
    said = capfd.readouterr().err
    assert said.startswith("rigpose live: camera97: OpenCV cannot open this camera") and said.count("\n") == 1


@pytest.mark.usefixtures("never_starts")
@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("nothere", "this is not a bundle"),
        ("rules.yaml", "a video is played with: rigpose live BUNDLE --source rules.yaml"),
        ("--source camera:0", "camera:0: needs a BUNDLE"),
        ("--source simulated --source a.mp4", "a.mp4: needs a BUNDLE"),
        ("--source simulatd", "did you mean simulated"),
        ("--source simulated:640x480@0", "0 frames per second make no sense"),
        ("--source simulated:drops=2%", "drops is no setting"),
        ("--source simulated:animals=9", "9 animals do not fit"),
        ("--source simulated --source simulated:unplug=soon", "unplug is a time in seconds"),
        ("--crop dynamic", "crop: is for a model"),
        ("--detect-every 4", "detect-every: is for a model"),
        ("--precision int8", "precision: is for a model"),
        ("--loop", "loop: is for video files"),
        ("--exposure 3", "exposure: neither"),
        ("--pixel-format Mono8", "pixel-format: GenICam and Basler"),
        ("--lead 5", "lead: nothing predicts"),
        ("--actuator 5", "actuator: nothing predicts"),
        ("--codec mjpeg", "codec: nothing is recorded"),
        ("--codec h265 --record run", "choose one of h264"),
        ("--to zmp://127.0.0.1:5555", "did you mean zmq"),
        ("--to osc://127.0.0.1:9000 --to osc://127.0.0.1:9000", "two outputs have this name"),
        ("--to serial:///dev/none?bits=lick --triggers rules.yaml", "there is no trigger rule lick"),
        ("--to python:callbacks.py:count", "did you mean counted"),
        ("--triggers none.yaml", "none.yaml: cannot be read"),
        ("--predict none.yaml", "rigpose live fit"),
        ("--report .", "report: . is a folder"),
        ("--report callbacks.py/report.html", "report: callbacks.py/report.html cannot be written"),
        ("--summary callbacks.py/x/summary.json", "summary: callbacks.py/x/summary.json cannot be written"),
        ("--report a --summary ./a", "summary: a is the report's file"),
        ("--record callbacks.py", "record: callbacks.py cannot be written"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_before_anything_starts(
    typed: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rigpose("live", *typed.split()) == 1
    said = capsys.readouterr()
    assert says in said.err and said.err.startswith("rigpose live: ") and said.err.count("\n") == 1
    assert not said.out and only_what_was_there()


@pytest.mark.usefixtures("never_starts")
@pytest.mark.parametrize(
    "typed",
    ["--seconds 0", "--seconds soon", "--size 640", "--web 0", "--web abc", "--lead 0", "--actuator -1", "--stale nan",
     "--max-age -3", "--to", "--threads 0", "--repot x", "--search patch"],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused_by_the_arguments(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rigpose("live", *typed.split()) == 2
    assert "rigpose live: error: " in capsys.readouterr().err or typed == "--repot x"


@pytest.mark.usefixtures("never_starts")
def test_no_recording_takes_the_place_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/simulated_frames.csv").touch()
    assert rigpose("live", "--record", "run") == 1
    assert "choose another folder" in capsys.readouterr().err
    Path("run/simulated_frames.csv").rename("run/triggers.csv")  # of a camera that is not in this run
    assert rigpose("live", "--record", "run", "--triggers", "rules.yaml") == 1
    assert "triggers.csv: is there already" in capsys.readouterr().err


def test_a_run_that_cannot_begin_leaves_no_recording_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert rigpose("live", "--source", SMALL, "--record", "run", "--web", port) == 1
    said = capsys.readouterr().err
    assert port in said and "Traceback" not in said
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(SimulatedCamera, "open", lambda _self: _refuse("top: is not plugged in."))
        assert rigpose("live", "--source", SMALL, "--record", "run") == 1
    assert "top: is not plugged in." in capsys.readouterr().err
    assert not Path("rigpose-live.html").exists()
    assert rigpose("live", "--source", SMALL, "--record", "run", "--seconds", "0.3") == 0


def test_a_window_needs_a_display(capsys: pytest.CaptureFixture[str]) -> None:
    if sys.platform != "linux":
        pytest.skip("windows need no DISPLAY there")
    assert rigpose("live", "--source", SMALL, "--show", "--seconds", "0.3") == 1
    assert "DISPLAY is not set" in capsys.readouterr().err


def test_a_camera_that_is_lost_ends_with_1_and_all_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unplugged(monkeypatch, after=0.5)
    typed = ("--record", "run", "--report", "r.html", "--summary", "s.json")
    assert rigpose("live", *typed, "--seconds", "60") == 1
    said = capsys.readouterr().out
    assert "top: the camera was unplugged" in said
    for name in ("run/top.mp4", "run/top_frames.csv", "run/topdrawn_animals.h5", "r.html", "s.json"):
        assert f"wrote {Path(name)}\n" in said and Path(name).stat().st_size
    assert json.loads(Path("s.json").read_text())["state"] == "faulted"


def test_an_output_that_fails_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert rigpose("live", "--source", SMALL, "--seconds", "0.5", "--to", "python:callbacks.py:raises") == 1
    assert "no light" in capsys.readouterr().out and Path("rigpose-live.html").exists()


def test_one_part_that_cannot_be_written_keeps_no_other_from_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish = Recorder.finish

    def fails_once(self: Recorder, **how: bool) -> object:
        return _refuse("disk: is full.") if self.name == "recording of simulated" else finish(self, **how)

    monkeypatch.setattr(Recorder, "finish", fails_once)
    typed = ("--source", SMALL, "--source", SMALL, "--record", "run", "--triggers", "rules.yaml", "--seconds", "0.4")
    assert rigpose("live", *typed) == 1
    said = capsys.readouterr()
    assert said.err.endswith("rigpose live: disk: is full.\n") and "The ledger adds up" in said.out
    for file in ("run/simulated-2drawn_animals.h5", "run/triggers.csv", "rigpose-live.html"):
        assert f"wrote {Path(file)}\n" in said.out and Path(file).exists()


def test_a_report_that_cannot_be_written_is_a_sentence_after_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise ResultError("report: the disk is full.")

    monkeypatch.setattr(page, "write_report", full)
    assert rigpose("live", "--source", SMALL, "--record", "run", "--seconds", "0.3") == 1
    said = capsys.readouterr()
    assert said.err.endswith("rigpose live: report: the disk is full.\n") and "wrote run" in said.out


# In processes of their own: a signal that comes too early or too late would end all tests.


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize("how", ["interrupts", "ends", "hangs_up"])
def test_a_signal_ends_the_run_in_good_order(how: str) -> None:
    typed = ("--seconds", "600", "--summary", "s.json", "--record", "run", "--to", f"python:callbacks.py:{how}")
    ended = rigpose_apart("live", "--source", SMALL, *typed, hangup=signal.SIG_DFL)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(Path("s.json").read_text())
    # It is heard within a tenth of a second; the rest is for a busy machine.
    assert told["state"] == "stopped" and told["seconds"] < 60
    assert "wrote rigpose-live.html" in ended.stdout and Path("run/simulateddrawn_animals.h5").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")
def test_nohup_stays_what_it_is() -> None:
    typed = ("--seconds", "0.5", "--summary", "s.json", "--to", "python:callbacks.py:hangs_up")
    ended = rigpose_apart("live", "--source", SMALL, *typed, hangup=signal.SIG_IGN)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(Path("s.json").read_text())["seconds"] >= 0.5


def test_a_run_goes_on_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", Gone())
    assert rigpose("live", "--source", SMALL, "--record", "run", "--seconds", "0.3") == 0
    assert Path("run/simulateddrawn_animals.h5").exists() and Path("rigpose-live.html").exists()


def test_what_was_recorded_is_fitted_and_then_predicts(capsys: pytest.CaptureFixture[str]) -> None:
    assert rigpose("live", "--source", SMALL, "--record", "run", "--seconds", "1") == 0
    capsys.readouterr()
    assert rigpose("live", "fit", "run", "--leads", "20", "40") == 0
    said = capsys.readouterr().out
    # No column is cut where the terminal is narrow.
    assert "…" not in said and "40 ms" in said and "run_motion.yaml" in said.replace("\n", "")
    predicting = ("live", "--source", SMALL, "--predict", "run_motion.yaml", "--seconds", "0.3")
    assert rigpose(*predicting, "--lead", "20") == 0
    assert rigpose(*predicting, "--actuator", "5") == 0
    assert rigpose(*predicting, "--lead", "90") == 1
    assert "judged leads of up to 40 ms" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("nothere", "nothere: is not there"),
        ("callbacks.py", "callbacks.py: is no table"),
        ("table.h5", "add --fps"),
        ("table.h5 --fps 50", "not a table of poses"),
        ("table.h5 --fps 50 --camera top", "camera: a table is of one video"),
        ("empty --fps 50", "fps: a recording knows"),
        ("empty", "cameras: none"),
        ("table.h5 --fps 50 --output empty", "output: empty is a folder"),
        ("table.h5 --fps 50 --output callbacks.py/fit.yaml", "output: callbacks.py/fit.yaml cannot be written"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(typed: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("table.h5").write_bytes(b"no table")
    assert rigpose("live", "fit", *typed.split()) == 1
    said = capsys.readouterr().err
    assert said.startswith("rigpose live fit: ") and says in said and said.count("\n") == 1


def _refuse(sentence: str) -> None:
    raise LiveError(sentence)
