"""Poses as Open Sound Control messages over UDP, for Max, Pure Data, TouchDesigner, Unity and the like.

One bundle per result, in more than one datagram where it would be larger than an Ethernet packet; each begins with the
frame's message. ``i`` is an integer, ``f`` a float; other characters of names than letters, digits, ``.``, ``_`` and
``-`` become ``_``.

    /rigpose/trigger/RULE             i: 1 if it holds, else 0; all rules, in every bundle
    /rigpose/CAMERA/frame             i f i: number (its 31 lowest bits), age of the poses [ms], animals
    /rigpose/CAMERA/keypoint/NAME     i i f f f: row of the animal, its number or -1, x, y [frame px], score
    /rigpose/CAMERA/predicted/NAME    the same, where it will be
    /rigpose/CAMERA/unique/NAME       f f f: x, y [frame px], score of a keypoint that exists once per frame
    /rigpose/safe                     i: 1 when poses are stale, with all triggers at 0

A missing keypoint has no message. UDP may lose and exchange datagrams: compare numbers of frames, and take silence for
the safe state.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rigpose.errors import MissingExtraError
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

_PACKET = 1400
"""Most bytes of a datagram, so that Ethernet needs not cut it: one lost piece loses all of it."""
_BUNDLE = b"#bundle\0" + (1).to_bytes(8, "big")
"""How a bundle for now begins, ahead of its messages, each with its size."""


class OscOutput:
    """A sender to one address.

    Args:
        host: Address of the receiver.
        port: Its UDP port.
        spec: What the poses are of.
        name: For people.
    """

    def __init__(self, host: str, port: int, spec: ModelSpec, *, name: str | None = None) -> None:
        self.name = name or f"osc://{host}:{port}"
        self._host, self._port = host, port
        self._keypoints = [_word(keypoint) for keypoint in spec.keypoints]
        self._unique = [_word(keypoint) for keypoint in spec.unique_keypoints]
        self._forms: dict[str, tuple[bytes, struct.Struct]] = {}
        self._socket: socket.socket | None = None
        self._to: Any = None
        self._rules: tuple[str, ...] = ()
        self._is_safe = True

    def open(self) -> None:
        """Look the address up; whether anybody listens cannot be known.

        Raises:
            LiveError: There is no such address.
            MissingExtraError: python-osc is missing.
        """
        try:
            import pythonosc.osc_message_builder  # noqa: F401  # to say at once that it is missing
        except ImportError as error:
            raise MissingExtraError(
                f'{self.name}: needs python-osc, which is missing ({error}); pip install "rigpose[live]".'
            ) from error
        try:
            family, kind, protocol, _, self._to = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, protocol)
        except OSError as error:
            raise LiveError(
                f"{self.name}: there is no computer {self._host} ({error.strerror or error}); check the address."
            ) from error
        self._socket.settimeout(0)

    def send(self, pose: LivePose) -> None:
        """Send one result."""
        self._rules, self._is_safe = tuple(pose.triggers), False
        head = f"/rigpose/{_word(pose.frame.camera)}"
        number = pose.frame.number & 0x7FFFFFFF  # as far as an integer of the standard goes
        first = self._message(f"{head}/frame", "ifi", number, 1e3 * pose.stamps.age, len(pose.poses))
        self._send([first, *self._of_triggers(pose.triggers), *self._of_poses(head, pose)])

    def safe(self) -> None:
        """Say that poses are stale and all rules off."""
        first = self._message("/rigpose/safe", "i", 1)
        self._send([first, *self._of_triggers(dict.fromkeys(self._rules, False))])
        self._is_safe = True

    def close(self) -> None:
        """Close the socket."""
        if self._socket is None:
            return
        if not self._is_safe:
            self.safe()
        self._socket.close()
        self._socket = None

    def _of_poses(self, head: str, pose: LivePose) -> Iterator[bytes]:
        yield from self._of_animals(f"{head}/keypoint", pose.poses, pose.ids.tolist())
        if pose.predicted is not None:
            yield from self._of_animals(f"{head}/predicted", pose.predicted, pose.ids.tolist())
        if pose.poses.unique is not None:
            for keypoint, values in zip(self._unique, pose.poses.unique.tolist(), strict=True):
                if not np.isnan(values).any():
                    yield self._message(f"{head}/unique/{keypoint}", "fff", *values)

    def _of_animals(self, head: str, poses: Poses, ids: list[int]) -> Iterator[bytes]:
        missing = np.any(np.isnan(poses.xy), axis=2).tolist()
        addresses = [f"{head}/{keypoint}" for keypoint in self._keypoints]
        for row, (number, animal) in enumerate(zip(ids, poses.to_array().tolist(), strict=True)):
            for address, values, is_missing in zip(addresses, animal, missing[row], strict=True):
                if not is_missing:
                    yield self._message(address, "iifff", row, number, *values)

    def _of_triggers(self, triggers: Mapping[str, bool]) -> Iterator[bytes]:
        for rule, on in triggers.items():
            yield self._message(f"/rigpose/trigger/{_word(rule)}", "i", on)

    def _message(self, address: str, types: str, *values: float) -> bytes:
        """An element of a bundle. The library writes it once; after that only its arguments change.

        Built by the library each time, a hundred keypoints would keep the interpreter from all other threads for more
        than a millisecond.
        """
        if address not in self._forms:
            from pythonosc.osc_message_builder import OscMessageBuilder

            builder = OscMessageBuilder(address)
            for kind in types:
                builder.add_arg(0, kind)
            arguments = struct.Struct(f">{types}")
            message = builder.build().dgram
            self._forms[address] = len(message).to_bytes(4, "big") + message[: -arguments.size], arguments
        head, arguments = self._forms[address]
        return head + arguments.pack(*values)

    def _send(self, messages: list[bytes]) -> None:
        """Send bundles that all begin with the first message."""
        if self._socket is None:
            raise LiveError(f"{self.name}: is not open; open it first.")
        begin = _BUNDLE + messages[0]
        bundle = bytearray(begin)
        for message in messages[1:]:
            if len(bundle) + len(message) > _PACKET:
                self._socket.sendto(bundle, self._to)
                bundle = bytearray(begin)
            bundle += message
        self._socket.sendto(bundle, self._to)


def _word(name: str) -> str:
    """A part of an address, where some characters have a meaning."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
