"""Progress: a bar on a terminal, plain lines elsewhere, nothing where nothing was asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time

import pytest

from rigpose import progress


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.05)
    with progress.progress("a.mp4", 10, "frames") as advance:
        for _ in range(10):
            time.sleep(0.02)
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    # Ten frames take 0.2 s and more, and a line needs 0.05 s since the last and a frame.
    assert 2 <= len(lines) <= 5
    assert lines[-1].startswith("a.mp4: 10/10 frames, ")
    with progress.progress("a.mp4", None, "frames") as advance:
        advance(3)
    assert capsys.readouterr().err.startswith("a.mp4: 3/? frames, ")


def test_a_plain_line_has_the_note_and_the_time_that_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    clock = iter([100.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock, 175.0))
    with progress.progress("training", 2700, "images") as advance:
        advance(690, note="loss 0.00120")
    # 690 images in 75 s are 9.2 per second; the other 2010 need 218 s.
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "training: 690/2700 images, 9.2/s, loss 0.00120, 4 min left"


def test_nothing_is_said_about_the_end_where_it_is_not_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    for total, done in ((None, 3), (3, 3), (3, 4), (3, 0)):
        with progress.progress("a", total, "frames") as advance:
            advance(done)
    assert "left" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (600, "10 min"), (5940, "99 min"), (12600, "3.5 h")],
)
def test_durations_have_as_much_detail_as_an_estimate_deserves(seconds: float, said: str) -> None:
    assert progress.duration(seconds) == said


def test_silence_takes_the_same_calls(capfd: pytest.CaptureFixture[str]) -> None:
    with progress.silent("a.mp4", 10, "frames") as advance:
        advance(4)
        advance(6, note="loss 1")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a thing of POSIX")
def test_on_a_terminal_progress_is_a_bar_with_the_note() -> None:
    program = textwrap.dedent("""
        import time
        from rigpose.progress import progress
        with progress("a[red].mp4", 20, "images") as advance:
            for i in range(10):
                time.sleep(0.05)
                advance(1, note=f"loss {i}")
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "120"}
    ours, theirs = os.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = _read_to_end(ours)
        assert process.wait(timeout=60) == 0
    # The square brackets of a file name are no markup. The bar is drawn ten times per second and at the end.
    assert "a[red].mp4  loss 9" in shown and "10/20 images" in shown
    assert re.search(r"\d/s \d s left", shown)


def _read_to_end(terminal: int) -> str:
    parts = []
    # Linux answers with an error when the other end is closed.
    while part := _read_some(terminal):
        parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


def _read_some(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
