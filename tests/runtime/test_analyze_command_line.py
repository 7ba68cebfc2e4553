"""``rigpose analyze`` as it is typed, with a real bundle."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_video import draw_frame, write_video

from rigpose.bundles.bundle import Bundle
from rigpose.commands import analyze
from rigpose.commands import main as main_module
from rigpose.commands.main import run
from rigpose.files.results import ResultFiles, read_results
from rigpose.lock import only_process

PROGRAM = textwrap.dedent("""
    import argparse, signal, sys
    from rigpose.commands.analyze import COMMAND
    from rigpose.commands.main import run
    # A shell that starts the tests in the background makes them, and so this program, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    sys.exit(run(COMMAND, parser.parse_args()))
""")
WAIT = 60.0
"""Far more than a subprocess needs, even on a busy machine [s]."""


def _analyze(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    analyze.COMMAND.configure(parser)
    return run(analyze.COMMAND, parser.parse_args([*map(str, arguments), "--device", "cpu"]))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, frames in (("a", 20), ("b", 11)):
        write_video(folder / f"{name}.mp4", range(frames))
    return folder


def test_a_folder_of_videos_is_analysed_once(
    tiny_bundle: Path, recordings: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scorer = Bundle.open(tiny_bundle).manifest.scorer
    assert _analyze(tiny_bundle, recordings) == 0
    said = capfd.readouterr()
    files = [ResultFiles.of(recordings / f"{name}.mp4", scorer) for name in "ab"]
    assert [line.split(" at ")[0] for line in said.out.splitlines()] == [
        f"{files[0].h5}: 20 frames",
        f"{files[1].h5}: 11 frames",
    ]
    # Both videos show a line of progress and nothing else.
    assert [line.split(",")[0] for line in said.err.splitlines()] == ["a.mp4: 20/20 frames", "b.mp4: 11/11 frames"]
    expected = {path.name for f in files for path in (f.h5, f.csv, f.meta)} | {"a.mp4", "b.mp4"}
    assert {path.name for path in recordings.iterdir()} == expected
    assert read_results(files[0].h5).keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert np.isfinite(read_results(files[0].h5).xy).all()

    stamps = [f.h5.stat().st_mtime_ns for f in files]
    assert _analyze(tiny_bundle, recordings) == 0
    assert [f.h5.stat().st_mtime_ns for f in files] == stamps
    assert capfd.readouterr().out.count("there already (--overwrite analyses again)") == 2
    assert _analyze(tiny_bundle, recordings, "--overwrite", "--no-csv") == 0
    assert all(f.h5.stat().st_mtime_ns > stamp for f, stamp in zip(files, stamps, strict=True))
    assert not any(f.csv.exists() for f in files)


def test_every_batch_size_gives_the_same_poses(tiny_bundle: Path, recordings: Path, tmp_path: Path) -> None:
    tables = []
    for batch in (1, 7):
        assert (
            _analyze(tiny_bundle, recordings / "a.mp4", "--batch", batch, "--destination", tmp_path / str(batch)) == 0
        )
        tables.append(pd.DataFrame(pd.read_hdf(next((tmp_path / str(batch)).glob("*.h5")))))
    # Another batch size sums in another order: a thousandth of a pixel is far above that and far below a stride.
    np.testing.assert_allclose(tables[0].to_numpy(), tables[1].to_numpy(), atol=1e-3)


def test_a_crop_is_analysed_as_a_video_of_that_part(tiny_bundle: Path, recordings: Path, tmp_path: Path) -> None:
    # Without loss, so that the cropped video has the very pixels of the crop.
    whole = write_video(tmp_path / "whole.avi", range(8), codec="FFV1")
    part = tmp_path / "part.avi"
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"FFV1"), 25, (96, 64))
    for number in range(8):
        writer.write(draw_frame(number)[16:80, 32:128])
    writer.release()
    assert _analyze(tiny_bundle, whole, "--crop", "32,128,16,80") == 0
    assert _analyze(tiny_bundle, part) == 0
    cropped, small = (read_results(next(tmp_path.glob(f"{name}*.h5"))) for name in ("whole", "part"))
    np.testing.assert_array_equal(cropped.xy, small.xy)
    np.testing.assert_array_equal(cropped.score, small.score)


def test_images_go_into_one_table(tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", draw_frame(number))[1].tobytes())
    assert _analyze(tiny_bundle, folder) == 0
    table = folder / f"image_predictions_{Bundle.open(tiny_bundle).manifest.scorer}.h5"
    assert capfd.readouterr().out == f"{table}: 5 images\n"
    assert len(read_results(table).xy) == 5


def test_one_broken_video_is_said_in_one_sentence_and_makes_the_status_1(
    tiny_bundle: Path, recordings: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (recordings / "a.mp4").write_bytes(b"no video")
    assert _analyze(tiny_bundle, recordings) == 1
    said = capfd.readouterr()
    assert said.out.startswith(str(recordings / "bDLC_")) and ": 11 frames at" in said.out
    assert said.err.splitlines()[-1].startswith(f"rigpose analyze: {recordings / 'a.mp4'}: OpenCV cannot open this")
    assert "Traceback" not in said.err


def test_a_video_that_another_process_is_analysing_is_left_to_it(
    tiny_bundle: Path, recordings: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = ResultFiles.of(recordings / "a.mp4", Bundle.open(tiny_bundle).manifest.scorer)
    with only_process(files.lock):
        assert _analyze(tiny_bundle, recordings) == 1
        assert "another process is analysing this video into the same files" in capfd.readouterr().err
        assert not files.h5.exists() and not files.partial.exists()
        assert len(list(recordings.glob("b*.h5"))) == 1
    assert _analyze(tiny_bundle, recordings) == 0
    assert files.h5.exists()


def test_a_bundle_that_is_none_is_one_sentence(recordings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _analyze(recordings / "missing.bundle", recordings) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("rigpose analyze: ") and "missing.bundle" in line


def test_failures_are_said_even_when_ctrl_c_stops_a_later_video(tiny_bundle: Path, recordings: Path) -> None:
    (recordings / "a.mp4").write_bytes(b"no video")
    video = write_video(recordings / "b.mp4", [number % 240 for number in range(6000)])
    journal = ResultFiles.of(video, Bundle.open(tiny_bundle).manifest.scorer).partial
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        tiny_bundle,
        recordings,
        "--batch",
        "1",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        list(map(str, command)), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    end = time.monotonic() + WAIT
    while not journal.exists() or journal.stat().st_size < 2500:
        assert time.monotonic() < end and process.poll() is None, "the analysis never began"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"rigpose analyze: {video}: stopped after " in said
    assert f"rigpose analyze: {recordings / 'a.mp4'}: OpenCV cannot open this" in said


def test_ctrl_c_while_the_commands_are_found_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "find_commands", interrupted)
    assert main_module.main(["analyze"]) == 130
    assert capsys.readouterr().err == "rigpose: stopped.\n"


def test_every_command_has_its_place_in_the_overview() -> None:
    project = (Path(main_module.__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    listed = project.split('entry-points."rigpose.commands"]')[1].split("[")[0]
    assert sorted(line.split(" = ")[0].strip('"') for line in listed.split("\n") if " = " in line) == sorted(
        main_module.ORDER
    )
