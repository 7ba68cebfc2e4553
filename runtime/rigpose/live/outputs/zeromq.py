"""Poses for other programs through a ZeroMQ PUB socket, one JSON text per result (see ``message``).

A receiver in Python, and in every other language with ZeroMQ in as many lines:

    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.setsockopt(zmq.CONFLATE, 1)  # the newest only
    socket.connect("tcp://127.0.0.1:5555")
    while socket.poll(200):  # silence is as good as the safe state
        message = json.loads(socket.recv())

Nothing is ever waited for: what a subscriber does not take is dropped, and so is some of what comes faster than a
thousand times a second. A subscriber that binds itself gets nothing before it polls or receives for the first time,
because only then is it joined. Nothing that arrives is read, and nothing is pickled.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rigpose.errors import MissingExtraError
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.message import pose_message, safe_message
from rigpose.models.model_spec import ModelSpec

if TYPE_CHECKING:
    import zmq

_DRAIN = 0.005
"""Before the safe state's message [s]: a queue of one drops it if the last pose is still in there."""
_LAST_WORDS = 100
"""How long closing waits for that message to leave [ms]; poses themselves do not linger."""


class ZeroMqOutput:
    """A PUB socket.

    Args:
        endpoint: As ZeroMQ writes it, such as ``tcp://127.0.0.1:5555``; with ``*`` for the address, every computer of
            the network may listen.
        spec: What the poses are of.
        connect: Connect to a subscriber that binds, and do not bind.
        name: For people.
        clock: The run's.
    """

    def __init__(
        self, endpoint: str, spec: ModelSpec, *, connect: bool = False, name: str | None = None, clock: Clock = now
    ) -> None:
        self.name = name or endpoint
        self._endpoint, self._spec, self._connect, self._clock = endpoint, spec, connect, clock
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._rules: tuple[str, ...] = ()
        self._is_safe = True

    def open(self) -> None:
        """Bind or connect.

        Raises:
            LiveError: The address is taken, or is none.
            MissingExtraError: pyzmq is missing.
        """
        try:
            import zmq
        except ImportError as error:
            raise MissingExtraError(
                f'{self.name}: needs pyzmq, which is missing ({error}); pip install "rigpose[live]".'
            ) from error
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            if self._connect:
                self._socket.connect(self._endpoint)
            else:
                self._socket.bind(self._endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise LiveError(
                f"{self.name}: ZeroMQ cannot use {self._endpoint} ({error.strerror}); choose another port, or end the "
                "program that has it."
            ) from error

    def send(self, pose: LivePose) -> None:
        """Publish one result."""
        self._rules, self._is_safe = tuple(pose.triggers), False
        self._publish(pose_message(pose, self._spec, self._clock))

    def safe(self) -> None:
        """Publish that poses are stale and all rules off."""
        time.sleep(_DRAIN)
        self._publish(safe_message(self._rules))
        self._is_safe = True

    def close(self) -> None:
        """Close the socket; the last message gets a tenth of a second."""
        if self._context is None or self._socket is None:
            return
        if not self._is_safe:
            self.safe()
        self._socket.close(linger=_LAST_WORDS)
        self._context.term()
        self._context = self._socket = None

    def _publish(self, message: bytes) -> None:
        import zmq

        if self._socket is None:
            raise LiveError(f"{self.name}: is not open; open it first.")
        self._socket.send(message, zmq.DONTWAIT)
