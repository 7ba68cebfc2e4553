"""Cameras that OpenCV opens: webcams by their number or device file, network cameras by their URL."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError, SourceLostError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.device_clock import DeviceClock
from rigpose.live.sources.frame_source import Applied
from rigpose.live.sources.source_kind import SourceKind

FIRST_FRAME = 5.0
"""A webcam that was just switched on takes a second or two for its first picture [s]."""
MEASURED = 1.0
"""For so long ``open`` counts what really comes, because what such cameras say of their rate is often wrong [s]."""
RATE_TOLERANCE = 0.05
"""A second of 30 frames per second may hold a frame more or less, which is 3 %."""
NETWORK_TIMEOUT_MS = 5000
FAILURES, PAUSE = 10, 0.1
"""A webcam that stumbles gives frames again within a second: so many failures in a row, so far apart [s], end it."""
URL_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp")


class OpencvCamera:
    """A camera behind ``cv2.VideoCapture``.

    Its driver keeps frames and gives the oldest first, so a reader who is late once would be late for ever. A thread
    therefore takes them as they come, and only the newest is kept; frames that nobody read are gaps in the numbers.
    Linux stamps a webcam's frames when they begin to come, which is their device time; from others, OpenCV learns
    nothing, and ``exposed`` is ``arrived``.

    Attributes:
        name: See ``FrameSource``: ``camera0``, the device file's name, or a URL's host and path. User names and
            passwords of URLs are in no name and no message.
    """

    kind = SourceKind.CAMERA

    def __init__(
        self,
        where: int | str,
        asked: Asked | None = None,
        *,
        name: str | None = None,
        measured: float = MEASURED,
        clock: Clock = now,
    ) -> None:
        """Choose a camera.

        Args:
            where: Number of a webcam, its device file, or a URL.
            asked: Its settings.
            name: What its frames call their camera.
            measured: For how long ``open`` measures its rate [s].
            clock: The clock of the run.
        """
        self._where, self._asked = where, asked or Asked()
        self.name = plain_name(where) if name is None else name
        self._measured, self._clock = measured, clock
        self._capture: cv2.VideoCapture | None = None
        self._changed = threading.Condition()
        self._newest: CapturedFrame | None = None
        self._stopped = threading.Event()
        self._lost = False
        self._thread: threading.Thread | None = None

    def open(self) -> Applied:
        """See ``FrameSource``. It takes a second longer than the camera, to measure its rate."""
        if self._asked.trigger_line is not None:
            raise LiveError(
                f"{self.name}: OpenCV cannot have a camera triggered from outside; use a GenICam or Basler camera."
            )
        capture = self._capture = self._opened()
        said = self._set(capture)
        self._newest, self._lost = None, False
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._take, args=(capture, self._stopped), name=f"camera {self.name}", daemon=True
        )
        self._thread.start()
        try:
            return self._measure(said)
        except LiveError:
            self.close()
            raise

    def read(self, timeout: float) -> CapturedFrame | None:
        """See ``FrameSource``."""
        if self._thread is None:
            raise LiveError(f"{self.name}: is not open; open it before reading.")
        stopped = self._stopped
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._lost or stopped.is_set(), timeout)
            frame, self._newest = self._newest, None
            if frame is None and self._lost:
                raise SourceLostError(
                    f"{self.name}: the camera no longer gives frames; check its cable and whether another program has "
                    "it, and start again."
                )
            return frame

    def close(self) -> None:
        """See ``FrameSource``. A driver that hangs keeps its thread, and lets go when it wakes up."""
        thread, self._thread = self._thread, None
        self._stopped.set()
        with self._changed:
            self._newest = None
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout=1.0)

    def _opened(self) -> cv2.VideoCapture:
        if _is_url(self._where):
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
            timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
            capture = cv2.VideoCapture(str(self._where), cv2.CAP_FFMPEG, timeouts)
        else:
            # A device file must not be played as a video.
            driver = cv2.CAP_V4L2 if isinstance(self._where, str) else cv2.CAP_ANY
            capture = cv2.VideoCapture(self._where, driver)
        if not capture.isOpened():
            capture.release()
            raise LiveError(f"{self.name}: OpenCV cannot open this camera; {_hint(self._where)}.")
        return capture

    def _set(self, capture: cv2.VideoCapture) -> Applied:
        """Ask for the settings, and read back what became of them."""
        # Where the driver obeys, it does not even keep old frames.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        differences = []
        sides = (
            ("width", cv2.CAP_PROP_FRAME_WIDTH, self._asked.width),
            ("height", cv2.CAP_PROP_FRAME_HEIGHT, self._asked.height),
        )
        for _, setting, asked in sides:
            if asked is not None:
                capture.set(setting, asked)
        # What it says of its rate is not compared: what really comes is.
        if self._asked.frames_per_second is not None:
            capture.set(cv2.CAP_PROP_FPS, self._asked.frames_per_second)
        for what, setting, asked in sides:
            got = capture.get(setting)
            if asked is not None and got != asked:
                differences.append(f"{self.name}: its {what} is {got:g} px where {asked} were asked for.")
        if self._asked.exposure is not None:
            differences += self._expose(capture, self._asked.exposure)
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        return Applied(
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            frames_per_second=rate if rate > 0 else None,
            differences=tuple(differences),
        )

    def _expose(self, capture: cv2.VideoCapture, milliseconds: float) -> list[str]:
        """Linux's driver counts exposure in 0.1 ms, and its value 1 switches the control off; others differ."""
        if capture.getBackendName() != "V4L2":
            driver = capture.getBackendName()
            why = f"{driver} has no unit for it; set it in the camera's own program"
            return [f"{self.name}: its exposure stays its own, because {why}."]
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)
        capture.set(cv2.CAP_PROP_EXPOSURE, milliseconds * 10)
        got = capture.get(cv2.CAP_PROP_EXPOSURE) / 10
        if abs(got - milliseconds) <= 0.05 * milliseconds:
            return []
        return [f"{self.name}: its exposure is {got:g} ms where {milliseconds:g} were asked for."]

    def _measure(self, said: Applied) -> Applied:
        """Wait for the first frame, count what comes, and say what differs from what was asked for or said."""
        first = self.read(FIRST_FRAME)
        if first is None:
            raise LiveError(
                f"{self.name}: gave no frame within {FIRST_FRAME:g} s; check whether another program has it."
            )
        self._stopped.wait(self._measured)
        with self._changed:
            last = self._newest
        height, width = first.image.shape[:2]
        differences = list(said.differences)
        if (width, height) != (said.width, said.height):
            differences.append(
                f"{self.name}: its frames are {width}x{height} px where it says {said.width}x{said.height}."
            )
        wanted = self._asked.frames_per_second or said.frames_per_second
        if last is not None and last.number > first.number and wanted is not None:
            rate = (last.number - first.number) / (last.arrived - first.arrived)
            if abs(rate - wanted) > RATE_TOLERANCE * wanted:
                origin = f"{wanted:g} were asked for" if self._asked.frames_per_second else f"it says {wanted:g}"
                differences.append(
                    f"{self.name}: gives {rate:.1f} frames per second where {origin}; dim light and slow ports are the "
                    "common causes."
                )
        return Applied(width, height, said.frames_per_second, tuple(differences))

    def _take(self, capture: cv2.VideoCapture, stopped: threading.Event) -> None:
        """Its thread: the only one that touches the camera once it is open, and the one that lets go of it."""
        number = failures = 0
        stamped, device_clock = capture.getBackendName() == "V4L2", DeviceClock()
        while not stopped.is_set() and failures < FAILURES:
            grabbed = capture.grab()
            arrived = self._clock()
            whole, image = capture.retrieve() if grabbed else (False, None)
            if not whole or image is None:
                failures += 1
                stopped.wait(PAUSE)
                continue
            failures = 0
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if stamped else 0.0
            exposed, device_time = (device_clock.exposed(stamp, arrived), stamp) if stamp > 0 else (arrived, None)
            frame = CapturedFrame(self.name, number, image, arrived, exposed, device_time)  # type: ignore[arg-type]
            number += 1
            with self._changed:
                if not stopped.is_set():
                    self._newest = frame
                    self._changed.notify_all()
        capture.release()
        with self._changed:
            self._lost = self._lost or not stopped.is_set()
            self._changed.notify_all()


def plain_name(where: int | str) -> str:
    """What a camera is called for short, without a URL's user name and password."""
    if isinstance(where, int):
        return f"camera{where}"
    if not _is_url(where):
        return Path(where).name
    parts = urlsplit(where)
    port = f":{parts.port}" if parts.port else ""
    # What follows a question mark may be a password, too.
    return f"{parts.hostname or ''}{port}{parts.path.rstrip('/')}"


def _is_url(where: int | str) -> bool:
    return isinstance(where, str) and urlsplit(where).scheme in URL_SCHEMES


def _hint(where: int | str) -> str:
    if _is_url(where):
        return "check its address, name and password, and whether it can be reached from here"
    there = sorted(str(path) for path in Path("/dev").glob("video*")) if Path("/dev").is_dir() else []
    if there:
        return f"there are {', '.join(there)}, and another program may have it"
    return "check that it is plugged in, that no other program has it, and that you may use it"
