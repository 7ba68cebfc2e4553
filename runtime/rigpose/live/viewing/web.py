"""``--web``: the run in a browser on this computer."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus

import cv2

from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.status import RunStatus
from rigpose.live.viewing.page import CONTENT_SECURITY, live_page, live_parts
from rigpose.live.viewing.picture import LiveDrawing
from rigpose.live.viewing.server import HOST, Answer, LocalServer

PICTURE_PERIOD, STATUS_PERIOD = 1 / 15, 1 / 5
"""A picture of a camera, and the numbers, are made at most so often, however many look [s]."""
QUALITY = 80
"""Of JPEG: sharp enough to judge a keypoint."""


class WebPage:
    """An output that shows the newest poses, and how the run stands, on a page that only this computer can open.

    ``send`` keeps a reference and nothing else. A picture is drawn and encoded, and the run asked for its numbers, when
    a browser wants them, one at a time and once for all browsers.

    Args:
        status: How the run stands.
        drawing: How poses are drawn.
        port: 0 for any that is free.
        name: Of the output.
        clock: The run's.
    """

    def __init__(
        self,
        status: Callable[[], RunStatus],
        drawing: LiveDrawing,
        *,
        port: int = 0,
        name: str = "web page",
        clock: Clock = now,
    ) -> None:
        self._status, self._port, self._name = status, port, name
        self._token = secrets.token_urlsafe(24)
        self._pictures, self._numbers = _Pictures(drawing, clock), _Numbers(status, clock)
        self._server: LocalServer | None = None

    @property
    def name(self) -> str:
        """For people; unique in a run."""
        return self._name

    @property
    def address(self) -> str:
        """What to open in a browser; it has the token in it.

        Raises:
            LiveError: The page is not open.
        """
        if self._server is None:
            raise LiveError(f"{self._name}: is not open, and so has no address; open it first.")
        return f"http://{HOST}:{self._server.server_port}/{self._token}/"

    def open(self) -> None:
        """Begin to answer; a second call does nothing, so that the page can be there before the run.

        Raises:
            LiveError: The port is in use.
        """
        if self._server is None:
            self._server = LocalServer(self._port, self._token, self._answer)

    def send(self, pose: LivePose) -> None:
        """Remember the newest result of its camera."""
        self._pictures.newest[pose.frame.camera] = pose

    def safe(self) -> None:
        """Nothing: a page drives nothing, and it says by itself how old its picture is."""

    def close(self) -> None:
        """Answer nobody any more, for good; a second call does nothing."""
        if self._server is not None:
            self._server.stop()
            self._server = None
            self._pictures.close()

    def _answer(self, path: str, query: Mapping[str, str]) -> Answer:
        if path == "/":
            page = live_page(self._status())
            return Answer(page.encode(), "text/html; charset=utf-8", headers=CONTENT_SECURITY)
        if path == "/status.json":
            return Answer(self._numbers.newest(), "application/json")
        if path == "/picture.jpg":
            return self._pictures.answer(query.get("camera", ""), query.get("after", ""))
        return Answer(b"There is no such page.\n", status=HTTPStatus.NOT_FOUND)


class _Numbers:
    """How the run stands, as the page shows it."""

    def __init__(self, status: Callable[[], RunStatus], clock: Clock) -> None:
        self._status, self._clock = status, clock
        self._lock = threading.Lock()
        self._told, self._at = b"", 0.0

    def newest(self) -> bytes:
        with self._lock:
            if not self._told or self._clock() - self._at >= STATUS_PERIOD:
                self._told, self._at = json.dumps(live_parts(self._status())).encode(), self._clock()
            return self._told


@dataclass(frozen=True)
class _Encoded:
    """The picture of a frame."""

    pose: LivePose
    number: int
    at: float
    jpeg: bytes


class _Pictures:
    """The newest picture of each camera, drawn when somebody looks."""

    def __init__(self, drawing: LiveDrawing, clock: Clock) -> None:
        self.newest: dict[str, LivePose] = {}
        self._drawing, self._clock = drawing, clock
        self._lock = threading.Lock()
        self._encoded: dict[str, _Encoded] = {}
        self._closed = False
        # OpenCV 5 loads its fonts anew in every thread that writes a letter, which takes 20 ms; requests have a thread
        # each, and this one stays.
        self._artist = ThreadPoolExecutor(1, thread_name_prefix="rigpose-picture")

    def answer(self, camera: str, after: str) -> Answer:
        """A camera's picture; nothing if it is the one with the number ``after``."""
        pose = self.newest.get(camera)
        if pose is None:
            return Answer(status=HTTPStatus.NO_CONTENT)
        with self._lock:
            encoded = self._encoded.get(camera)
            if encoded is None or (encoded.pose is not pose and self._clock() - encoded.at >= PICTURE_PERIOD):
                encoded = self._draw(pose, 1 if encoded is None else encoded.number + 1)
        if encoded is None or after == str(encoded.number):
            return Answer(status=HTTPStatus.NO_CONTENT)
        shown = encoded.pose
        about = {
            "picture": encoded.number,
            "frame": shown.frame.number,
            "animals": len(shown.poses),
            "age": round(1000 * shown.stamps.age, 1),
            "lead": None if shown.predicted is None else round(1000 * shown.lead, 1),
        }
        return Answer(encoded.jpeg, "image/jpeg", headers={"X-Picture": json.dumps(about)})

    def close(self) -> None:
        """Draw no more."""
        self._closed = True
        self._artist.shutdown(wait=False, cancel_futures=True)

    def _draw(self, pose: LivePose, number: int) -> _Encoded | None:
        """The picture of a result; none if the page is being closed."""
        try:
            encoded = self._artist.submit(self._encode, pose, number).result()
        except (CancelledError, RuntimeError):
            if self._closed:
                return None
            raise
        self._encoded[pose.frame.camera] = encoded
        return encoded

    def _encode(self, pose: LivePose, number: int) -> _Encoded:
        begun = self._clock()
        picture = self._drawing.draw(pose.frame.image, pose.poses, pose.ids, pose.predicted)
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return _Encoded(pose, number, begun, jpeg.tobytes())
