"""Frames that say their own number, recorded by a process that is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from live_poses import MICE, MOUSE, found_of, pose_at

from rigpose.arrays import Array, Frames
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import now
from rigpose.live.live_pose import LivePose
from rigpose.live.recording.recorder import Recorder
from rigpose.models.model_spec import ModelSpec

SCORER = "DLC_Drawn_mouseNov21shuffle1_snapshot_best-10"
HEIGHT, WIDTH = 64, 96
_BLOCK = 16
_BITS = (HEIGHT // _BLOCK) * (WIDTH // _BLOCK)


def numbered(number: int, *, noise: bool = False) -> Frames:
    """A picture that has its number in blocks of 16x16 px, a bit each: no codec makes white of black."""
    bits = (number >> np.arange(_BITS)) & 1
    grid = bits.reshape(HEIGHT // _BLOCK, WIDTH // _BLOCK).astype(np.uint8) * 255
    image = np.repeat(np.kron(grid, np.ones((_BLOCK, _BLOCK), np.uint8))[..., None], 3, axis=2)
    if noise:  # takes room on the disk
        image ^= np.random.default_rng(number).integers(0, 64, image.shape, np.uint8)
    return image


def number_in(image: Array) -> int:
    """The inverse."""
    centres = image[_BLOCK // 2 :: _BLOCK, _BLOCK // 2 :: _BLOCK].mean(axis=2)
    return int(((centres > 127).ravel() << np.arange(_BITS)).sum())


def numbers_in(video: Path) -> list[int]:
    """Of all frames of a video, as OpenCV decodes them."""
    capture, numbers = cv2.VideoCapture(str(video)), []
    while True:
        read, image = capture.read()
        if not read:
            return numbers
        numbers.append(number_in(image))


def captured(number: int, *, exposed: float | None = None, camera: str = "top", noise: bool = False) -> CapturedFrame:
    exposed = 5.0 + number / 100 if exposed is None else exposed
    return CapturedFrame(camera, number, numbered(number, noise=noise), exposed + 0.002, exposed, 1000 + exposed)


def one_mouse(frame: CapturedFrame) -> LivePose:
    """A result whose first keypoint is at (number, number + 0.5)."""
    at = float(frame.number)
    pose = pose_at(frame.exposed, found_of([[(at, at + 0.5), (at + 1, at), (at + 2, at)]]), number=frame.number)
    return replace(pose, frame=frame)


def recorder(folder: Path, camera: str = "top", *, spec: ModelSpec = MOUSE, **how) -> Recorder:
    return Recorder(folder, camera, spec=spec, scorer=SCORER, model="abc", **how)


def recorded(folder: Path, numbers: range, *, every: int = 3, **how) -> Recorder:
    """A closed recording of frames of which each third was inferred."""
    made = recorder(folder, **how)
    made.open()
    for number in numbers:
        frame = captured(number)
        made.offer(frame)
        if number % every == 0:
            made.send(one_mouse(frame))
    made.close()
    return made


def killed_in_the_middle(folder: Path, seconds: float) -> dict[str, tuple[int, float]]:
    """Record two cameras at 100 frames per second in another process and kill it (signal 9).

    Returns:
        Of each camera the number and time of exposure of the last frame that it is known to have captured.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder)], stdout=subprocess.PIPE, text=True, env=same_modules()
    )
    assert process.stdout is not None
    last: dict[str, tuple[int, float]] = {}
    try:
        for line in process.stdout:
            camera, number, exposed, begun = line.split()
            last[camera] = (int(number), float(exposed))
            if float(exposed) - float(begun) > seconds:
                break
    finally:
        process.kill()
        process.wait()
    return last


def same_modules() -> dict[str, str]:
    """The environment of a process that imports what this one does."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(os.path.realpath(path) for path in sys.path if path)}


def _record_for_ever(folder: Path) -> None:
    cameras = {"top": MOUSE, "side": MICE}
    recorders = {camera: recorder(folder, camera, spec=spec) for camera, spec in cameras.items()}
    for made in recorders.values():
        made.open()
    begun = now()
    for number in _for_ever():
        for camera, made in recorders.items():
            frame = captured(number, exposed=now(), camera=camera)
            made.offer(frame)
            if number % 3 == 0:
                made.send(one_mouse(frame))
            print(camera, number, frame.exposed, begun, flush=True)
        time.sleep(max(0.0, begun + number / 100 - now()))


def _for_ever() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


if __name__ == "__main__":
    _record_for_ever(Path(sys.argv[1]))
