from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_screens import FolderScreen, NoScreen
from live_viewing import DRAWING, animal_at, background, result

from rigpose.bundles.bundle import Display
from rigpose.live.faults import LiveError
from rigpose.live.viewing.picture import LONGEST_SIDE, LiveDrawing, in_rows
from rigpose.live.viewing.window import Window
from rigpose.live.viewing.window_process import STRIP
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.videos.drawing import DrawStyle

LONG = 60.0
"""Whatever takes longer is broken, however busy the machine is [s]."""
SOON = 5.0
"""What must not wait for another process comes sooner, however busy the machine is [s]."""


def until(holds: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait for something to become true."""
    end = time.perf_counter() + LONG
    while not holds():
        assert time.perf_counter() < end
        meanwhile()
        time.sleep(0.01)


# Drawing


def test_the_bundle_says_how_poses_are_drawn() -> None:
    spec = ModelSpec(
        task="single_animal",
        architecture="any",
        keypoints=("nose", "tail"),
        skeleton=(("tail", "nose"), ("nose", "ear")),
    )
    drawing = LiveDrawing.of(spec, Display(pcutoff=0.3, colormap="viridis", dot_size=8))
    assert drawing == LiveDrawing(DrawStyle(0.3, "viridis", radius=4, skeleton=((1, 0),)), animals=1)
    several = LiveDrawing.of(replace(spec, individuals=("a", "b")), Display())
    assert several.animals == 2 and several.style.color_by == "individual" and several.style.boxes


def test_an_animal_keeps_its_row_and_so_its_colour() -> None:
    both = Poses(np.concatenate([animal_at(10, 10).xy, animal_at(50, 50).xy]), np.ones((2, 5), np.float32))
    rows, names = in_rows(both, np.array([7, -1]), animals=3)
    assert names == ["", "7", ""]
    np.testing.assert_array_equal(rows.xy[1], both.xy[0])
    np.testing.assert_array_equal(rows.xy[0], both.xy[1])  # it has no number, and takes what is free
    assert np.isnan(rows.xy[2]).all()
    rows, names = in_rows(both.take(np.array([1, 0])), np.array([4, 7]), animals=3)
    assert sorted(names) == ["", "4", "7"]  # both want row 1, and neither is lost
    assert np.isfinite(rows.xy).all(axis=(1, 2)).sum() == 2
    assert len(in_rows(Poses.empty(5), np.empty(0, int), animals=3)[0]) == 3
    assert len(in_rows(both, np.array([0, 1]), animals=1)[0]) == 2


def test_a_large_frame_is_drawn_small_with_the_dots_where_they_belong() -> None:
    drawing = LiveDrawing(DrawStyle(radius=12), animals=1)
    image = np.zeros((1500, 1920, 3), np.uint8)
    poses = Poses(np.array([[[1200.0, 600.0]]], np.float32), np.ones((1, 1), np.float32))
    picture = drawing.draw(image, poses, np.array([0]))
    assert picture.shape == (750, LONGEST_SIDE, 3) and not image.any()
    y, x = np.argwhere(picture.any(axis=-1)).mean(axis=0)
    # At half the size pixel 1200 becomes (1200 + 0.5) / 2 - 0.5 = 599.75; the dot is symmetric about that to within the
    # sixteenth of a pixel that OpenCV draws in, and its rim is a pixel wide.
    assert abs(x - 599.75) < 0.5 and abs(y - 299.75) < 0.5


@pytest.mark.parametrize("scale", [1, 3])
def test_what_is_predicted_is_hollow_and_where_it_will_be(scale: int) -> None:
    shown = result(8, ahead=60.0)
    assert shown.predicted is not None
    image = cv2.resize(shown.frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    found, predicted = (replace(poses, xy=poses.xy * scale) for poses in (shown.poses, shown.predicted))
    drawing = replace(DRAWING, style=replace(DRAWING.style, radius=5 * scale))
    without = drawing.draw(image, found, shown.ids)
    picture = drawing.draw(image, found, shown.ids, predicted)
    changed = (picture != without).any(axis=-1)
    smaller = picture.shape[1] / image.shape[1]
    radius = max(2, 5 * scale * smaller)
    for animal in predicted.xy * smaller:
        for x, y in animal:
            # Above the line of the skeleton: nothing where a found one has its dot, then the corner, then nothing.
            within, corner, beyond = (round(y - way) for way in (0.6 * radius, 1.5 * radius + 2, 1.5 * radius + 7))
            assert changed[corner - 1 : corner + 2, round(x)].any()
            assert not changed[within, round(x)] and not changed[beyond, round(x)]
    x, y = (found.xy[0, 2] * smaller).round().astype(int)
    assert not changed[y - 20 : y + 20, x - 20 : x + 20].any()  # what was found looks as before


def test_what_is_predicted_has_the_colour_of_its_animal_though_nobody_sees_it() -> None:
    black = np.zeros((120, 160, 3), np.uint8)
    both = Poses(np.array([[[40.0, 60.0]], [[120.0, 60.0]]], np.float32), np.zeros((2, 1), np.float32))
    drawing = LiveDrawing(DrawStyle(radius=4, color_by="individual"), animals=2)
    picture = drawing.draw(black, both, np.array([1, 0]), both)  # of scores that draw no dot
    seen = drawing.draw(black, replace(both, score=both.score + 1), np.array([1, 0]))
    for x in (40, 120):
        assert not picture[60, x].any()
        edge = picture[50:71, x - 10 : x + 11].reshape(-1, 3)
        # The line of a pixel's width is smooth, so its brightest pixel has most of the colour.
        assert np.abs(edge[edge.sum(axis=1).argmax()].astype(int) - seen[60, x]).max() < 90
    nobody = Poses(np.full((2, 1, 2), np.nan, np.float32), np.full((2, 1), np.nan, np.float32))
    assert not drawing.draw(black, nobody, np.array([1, 0]), nobody).any()


# The process


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.png"))


def size(path: Path) -> tuple[int, ...]:
    image = cv2.imread(str(path))
    return () if image is None else image.shape[:2]


def brightness(path: Path) -> int:
    """Of the floor in the upper left picture, which says the frame's number."""
    image = cv2.imread(str(path))
    assert image is not None
    return int(image[5, 5, 0])


def test_the_newest_frame_goes_to_the_other_process_until_the_user_closes_it(tmp_path: Path) -> None:
    told: list[str] = []
    # Slower than the results come, so that most are never shown.
    screen = partial(FolderScreen, tmp_path, seconds=0.1)
    with closing(Window(DRAWING, tell=told.append, screen=screen)) as window:
        window.open()
        window.open()
        sent = 0

        def send() -> None:
            nonlocal sent
            window.send(result(sent, ids=(0, 1)))
            sent += 1

        until(lambda: len(pictures(tmp_path)) >= 8, send)
        shown = [brightness(path) for path in pictures(tmp_path)[1:]]  # the first waits for a pose
        assert len(shown) < sent - 1
        # The floor is 60 and more, one more with each frame up to 100; a picture without a pose is black.
        assert all(60 <= grey < 160 for grey in shown)
        assert len(set(shown)) > 1

        # A larger frame of another camera comes beside it, in memory of its own size.
        def send_both() -> None:
            send()
            window.send(result(1, camera="side", height=600, width=800))

        until(lambda: size(pictures(tmp_path)[-1]) == (600 + STRIP, 2 * 800), send_both)
        (tmp_path / "close").touch()
        until(lambda: not window.is_open, send)
        send()
    assert told == ["window: was closed; the run goes on without it."]


def test_what_is_predicted_goes_to_the_other_process(tmp_path: Path) -> None:
    shown = result(8, ids=(0, 1), ahead=60.0)
    with closing(Window(DRAWING, screen=partial(FolderScreen, tmp_path))) as window:
        window.open()
        until(lambda: len(pictures(tmp_path)) >= 3, lambda: window.send(shown))
        picture = cv2.imread(str(pictures(tmp_path)[-1]))
    assert picture is not None
    expected = DRAWING.draw(shown.frame.image, shown.poses, shown.ids, shown.predicted)
    np.testing.assert_array_equal(picture[:-STRIP], expected)
    assert (expected != DRAWING.draw(shown.frame.image, shown.poses, shown.ids)).any()


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot stop a process and let it go on")
def test_a_window_that_hangs_or_dies_holds_nothing_up(tmp_path: Path) -> None:
    told: list[str] = []
    with closing(Window(DRAWING, tell=told.append, screen=partial(FolderScreen, tmp_path))) as window:
        window.open()
        until(lambda: len(pictures(tmp_path)) >= 3, lambda: window.send(result(1)))
        process = window._process
        assert process is not None and process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        begun = time.perf_counter()
        for number in range(300):
            window.send(result(number, height=48, width=300))
        assert time.perf_counter() - begun < SOON
        assert window.is_open and not told
        process.kill()
        until(lambda: not window.is_open, lambda: window.send(result(2)))
    assert told == [f"window: its process ended (exit status {-signal.SIGKILL}); the run goes on without it."]


def test_a_screen_that_refuses_is_said() -> None:
    with pytest.raises(LiveError, match=r"^window: there is no screen here. Use a desktop session, or .* --web\.$"):
        Window(DRAWING, screen=NoScreen).open()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has machines without a display")
def test_no_display_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(LiveError, match=r"^window: there is no display .*DISPLAY is not set.*--web\.$"):
        Window(DRAWING).open()


@pytest.fixture
def display() -> Iterator[str]:
    """A screen of a sort."""
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb to open a window on")
    if not cv2.currentUIFramework():
        pytest.skip("this OpenCV has no windows")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1000x700x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as said:
        number = said.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait(LONG)


def test_a_real_window_opens_shows_and_closes(display: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISPLAY", display)
    grab = pytest.importorskip("PIL.ImageGrab", reason="Pillow is not there to look at the screen")
    told: list[str] = []
    with closing(Window(DRAWING, tell=told.append)) as window:
        window.open()
        floor = background(480, 640, 60 + 39)[5, 5]

        def is_seen() -> bool:
            screen = np.asarray(grab.grab(xdisplay=display))[..., ::-1]
            # Half of the window is floor, less the grid, the animal and the words.
            return np.mean((screen[..., :3] == floor).all(axis=-1)) > 0.5 * 480 * 640 / (1000 * 700)

        until(is_seen, lambda: window.send(result(39)))
        assert window.is_open
        process = window._process
    assert process is not None and process.exitcode == 0
    assert told == []
