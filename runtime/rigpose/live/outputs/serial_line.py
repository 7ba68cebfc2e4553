"""Triggers as levels or bytes of a serial port: a laser's gate, a valve, a microcontroller that drives them.

What a port can do for a rule:

``rts=RULE``, ``dtr=RULE``
    The line follows the rule: the shortest way to a TTL level, without a microcontroller. Most USB adapters with TTL
    levels turn these lines around (off is high): look with a meter before anything is connected. Linux raises both
    lines for a moment while a port is opened, and lowers them when the process ends, however it ends.

``bits=RULE,RULE,...``
    One byte per pose, bit 0 for the first rule and so on, up to eight. The byte is state and heartbeat in one: a lost
    one is made good by the next, and where none comes any more, the microcontroller lets go by itself:

        void loop() {
          static unsigned long last;
          if (Serial.available()) { digitalWrite(13, Serial.read() & 1); last = millis(); }
          if (millis() - last > 200) digitalWrite(13, LOW);  // the host is gone, or its camera
        }

``on.RULE=BYTES``, ``off.RULE=BYTES``, ``heartbeat=BYTES``
    For firmware that has its own bytes: written when the rule changes, and the heartbeat with every pose.

Bytes come at the poses' rate, and end when poses do. Nothing is ever read back: an FTDI adapter's answer takes 16 ms.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rigpose.errors import MissingExtraError
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose

if TYPE_CHECKING:
    import serial

_PATIENCE = 0.02
"""Longest wait for the port to take some bytes [s]."""
_MOST_WAITING = 64
"""Bytes that the port may still have to send: the packet of a USB adapter. With more, the receiver does not read."""


@dataclass(frozen=True)
class Wiring:
    """Which rule drives what; see the module.

    Attributes:
        rts: Rule of this line.
        dtr: Rule of this line.
        bits: Rules of the bits of one byte per pose.
        on: Rule -> what is written when it begins to hold.
        off: Rule -> what is written when it ends, and in the safe state.
        heartbeat: What is written with every pose.
    """

    rts: str | None = None
    dtr: str | None = None
    bits: tuple[str, ...] = ()
    on: Mapping[str, bytes] = field(default_factory=dict)
    off: Mapping[str, bytes] = field(default_factory=dict)
    heartbeat: bytes = b""

    def __post_init__(self) -> None:
        if not self.rules:
            raise LiveError("drives nothing; give rts, dtr, bits or on.RULE and off.RULE.")
        if len(self.bits) > 8:
            raise LiveError(f"bits has {len(self.bits)} rules and a byte has eight bits; use a second port.")
        if self.bits and (self.on or self.off or self.heartbeat):
            raise LiveError("bits are bytes of their own; leave out on, off and heartbeat, or bits.")
        if alone := sorted(set(self.on) ^ set(self.off)):
            raise LiveError(f"{alone[0]} has only one of on and off, so nothing could end it; give both.")

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules that it needs."""
        lines = [rule for rule in (self.rts, self.dtr) if rule is not None]
        return tuple(dict.fromkeys([*lines, *self.bits, *self.on, *self.off]))


class SerialOutput:
    """One port.

    Args:
        port: As pyserial names it: ``COM3``, ``/dev/ttyACM0``, or one of its URLs.
        wiring: Which rule drives what.
        baud: Rate; USB microcontrollers take any.
        name: For people.
    """

    def __init__(self, port: str, wiring: Wiring, *, baud: int = 115200, name: str | None = None) -> None:
        self.name = name or f"serial {port}"
        self._address, self._wiring, self._baud = port, wiring, baud
        self._port: serial.Serial | None = None
        self._last: dict[str, bool] = {}

    def open(self) -> None:
        """Open the port, with everything off.

        Raises:
            LiveError: There is no such port, or it is somebody else's.
            MissingExtraError: pyserial is missing.
        """
        try:
            import serial
        except ImportError as error:
            raise MissingExtraError(
                f'{self.name}: needs pyserial, which is missing ({error}); pip install "rigpose[live]".'
            ) from error
        try:
            port = serial.serial_for_url(self._address, self._baud, do_not_open=True)
            port.timeout, port.write_timeout = 0, _PATIENCE
            # Lines that drive nothing stay up: many microcontrollers answer only to a host that raises DTR.
            port.rts, port.dtr = self._wiring.rts is None, self._wiring.dtr is None
            port.open()
        except (serial.SerialException, ValueError) as error:
            raise LiveError(
                f"{self.name}: cannot be opened ({error}); check the cable, the name, that no other program has it, "
                "and on Linux that you are in the group dialout."
            ) from error
        self._port = port
        try:
            self.safe()
        except LiveError:
            port.close()
            self._port = None
            raise

    def send(self, pose: LivePose) -> None:
        """Set lines and write bytes as the rules are now.

        Raises:
            LiveError: There is no such rule, or the port does not take it.
        """
        for rule in self._wiring.rules:
            if rule not in pose.triggers:
                raise LiveError(f"{self.name}: there is no trigger rule {rule}; give it in the file of rules.")
        port, states = self._opened(), pose.triggers
        self._set_lines({line: states[rule] for line, rule in self._lines().items()})
        changed = [rule for rule in self._wiring.on if states[rule] != self._last.get(rule, False)]
        written = b"".join((self._wiring.on if states[rule] else self._wiring.off)[rule] for rule in changed)
        written += self._byte(states) + self._wiring.heartbeat
        if written:
            if port.out_waiting > _MOST_WAITING:
                raise LiveError(f"{self.name}: the receiver does not read; look at it and its cable.")
            self._write(written)
        self._last.update((rule, states[rule]) for rule in changed)

    def safe(self) -> None:
        """Lower the lines, and write what ends every rule, before anything that still waits.

        Raises:
            LiveError: The port does not take it.
        """
        port = self._opened()
        self._last = {}
        written = b"".join(self._wiring.off.values()) + self._byte(dict.fromkeys(self._wiring.bits, False))
        try:
            self._set_lines(dict.fromkeys(self._lines(), False))
        finally:
            if written:
                port.reset_output_buffer()
                self._write(written)

    def close(self) -> None:
        """Close the port, everything off."""
        if self._port is None:
            return
        try:
            self.safe()
            until = time.monotonic() + _PATIENCE
            while self._port.out_waiting and time.monotonic() < until:  # closing drops what waits
                time.sleep(0.001)
        finally:
            self._port.close()
            self._port = None

    def _lines(self) -> dict[str, str]:
        asked = {"rts": self._wiring.rts, "dtr": self._wiring.dtr}
        return {line: rule for line, rule in asked.items() if rule is not None}

    def _byte(self, states: Mapping[str, bool]) -> bytes:
        bits = self._wiring.bits
        return bytes([sum(states[rule] << at for at, rule in enumerate(bits))]) if bits else b""

    def _set_lines(self, levels: Mapping[str, bool]) -> None:
        port = self._opened()
        try:
            for line, level in levels.items():
                setattr(port, line, level)
        except OSError as error:
            raise LiveError(
                f"{self.name}: cannot set {' and '.join(levels)} ({error}); it needs a port that has this line."
            ) from error

    def _write(self, written: bytes) -> None:
        import serial

        try:
            self._opened().write(written)
        except serial.SerialTimeoutException as error:
            raise LiveError(f"{self.name}: takes no bytes; look at the receiver and its cable.") from error
        except (serial.SerialException, OSError) as error:
            raise LiveError(f"{self.name}: is gone ({error}); check its cable and start again.") from error

    def _opened(self) -> serial.Serial:
        if self._port is None:
            raise LiveError(f"{self.name}: is not open; open it first.")
        return self._port
