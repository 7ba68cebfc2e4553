"""Triggers on a serial port: pyserial's loop for lines and bytes, and a pseudo terminal for what nobody reads."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import serial
from live_poses import found_of, pose_at

from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.serial_line import SerialOutput, Wiring

pty = pytest.importorskip("pty", reason="Windows has no pseudo terminals")


def pose(**triggers: bool) -> LivePose:
    return pose_at(0, found_of([]), triggers=triggers)


class Port:
    """An output on a loop, and what came out of it."""

    def __init__(self, wiring: Wiring) -> None:
        self.output = SerialOutput("loop://", wiring)
        self.output.open()
        self.loop: Any = self.output._port

    def read(self) -> bytes:
        return self.loop.read(self.loop.in_waiting)

    @property
    def lines(self) -> tuple[bool, bool]:
        """RTS and DTR, which the loop leads back to CTS and DSR."""
        return self.loop.cts, self.loop.dsr


def test_lines_follow_their_rules() -> None:
    port = Port(Wiring(rts="laser", dtr="valve"))
    assert port.lines == (False, False)
    port.output.send(pose(laser=True, valve=False))
    assert port.lines == (True, False)
    port.output.send(pose(laser=False, valve=True))
    assert port.lines == (False, True)
    port.output.safe()
    port.output.safe()
    assert port.lines == (False, False) and port.read() == b""
    port.output.send(pose(laser=True, valve=True))
    loop = port.loop
    port.output.close()
    port.output.close()
    assert not loop.rts and not loop.dtr and not loop.is_open


def test_a_line_that_drives_nothing_stays_up() -> None:
    assert Port(Wiring(bits=("laser",))).lines == (True, True)
    assert Port(Wiring(rts="laser")).lines == (False, True)


def test_one_byte_per_pose_is_state_and_heartbeat() -> None:
    port = Port(Wiring(bits=("a", "b", "c")))
    assert port.read() == b"\x00"  # from the beginning everything is off
    for triggers in (
        {"a": True, "b": False, "c": True},
        {"a": True, "b": False, "c": True},
        dict.fromkeys("abc", False),
    ):
        port.output.send(pose(**triggers))
    assert port.read() == b"\x05\x05\x00"
    port.output.send(pose(a=False, b=True, c=False))
    port.output.safe()
    assert port.read() == b"\x00"  # what waited has given way


def test_configured_bytes_are_written_on_change_and_the_heartbeat_always() -> None:
    port = Port(Wiring(on={"a": b"A", "b": b"B"}, off={"a": b"a", "b": b"b"}, heartbeat=b"."))
    assert port.read() == b"ab"
    for a, b in ((False, False), (True, False), (True, True), (False, True)):
        port.output.send(pose(a=a, b=b))
    assert port.read() == b".A.B.a."
    port.output.safe()
    assert port.read() == b"ab"
    port.output.send(pose(a=False, b=True))
    assert port.read() == b"B."


@pytest.mark.parametrize(
    ("wiring", "sentence"),
    [
        ({}, "drives nothing"),
        ({"bits": tuple("abcdefghi")}, "9 rules and a byte has eight bits"),
        ({"bits": ("a",), "heartbeat": b"."}, "leave out on, off and heartbeat"),
        ({"on": {"a": b"A"}}, "a has only one of on and off"),
    ],
)
def test_wiring_that_cannot_work(wiring: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LiveError, match=sentence):
        Wiring(**wiring)


def test_a_rule_that_there_is_not_is_a_sentence() -> None:
    with pytest.raises(LiveError, match="there is no trigger rule laser"):
        Port(Wiring(rts="laser")).output.send(pose(lasre=True))


def test_a_port_that_there_is_not() -> None:
    output = SerialOutput("/dev/rigpose-has-no-such-port", Wiring(rts="laser"))
    with pytest.raises(LiveError, match=r"serial /dev/rigpose-has.*cannot be opened.*dialout"):
        output.open()
    with pytest.raises(LiveError, match="not open"):
        output.send(pose(laser=True))
    output.close()


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The microcontroller's end, and the name of ours."""
    near, far = pty.openpty()
    yield near, os.ttyname(far)
    for end in (near, far):
        os.close(end)


def read(near: int, count: int) -> bytes:
    got = b""
    while len(got) < count:
        got += os.read(near, count - len(got))
    return got


def test_bytes_through_a_terminal(terminal: tuple[int, str]) -> None:
    near, name = terminal
    output = SerialOutput(name, Wiring(bits=("a",)))
    output.open()
    assert read(near, 1) == b"\x00"
    output.send(pose(a=True))
    assert read(near, 1) == b"\x01"
    output.send(pose(a=True))
    assert read(near, 1) == b"\x01"
    output.close()
    assert read(near, 1) == b"\x00"


def test_a_receiver_that_does_not_read_is_a_fault_and_no_wait(terminal: tuple[int, str]) -> None:
    _, name = terminal
    output = SerialOutput(name, Wiring(on={"a": b"A" * 1000}, off={"a": b"a" * 1000}))
    output.open()
    began = time.monotonic()

    def send_many() -> None:
        for i in range(100):
            output.send(pose(a=bool(i % 2 == 0)))

    with pytest.raises(LiveError, match="receiver"):
        send_many()
    assert time.monotonic() - began < 10  # 20 ms of patience, and a machine that may let this process wait


def test_a_terminal_has_no_lines(terminal: tuple[int, str]) -> None:
    output = SerialOutput(terminal[1], Wiring(rts="a"))
    with pytest.raises(LiveError, match=r"cannot set rts.*needs a port that has this line"):
        output.open()


def test_a_failed_line_does_not_keep_bytes_from_being_written() -> None:
    port = Port(Wiring(rts="a", on={"b": b"B"}, off={"b": b"b"}))
    port.output.send(pose(a=True, b=True))
    port.read()

    def broken() -> None:
        raise serial.SerialException("the cable is out")

    port.loop._update_rts_state = broken
    with pytest.raises(LiveError, match="cannot set rts"):
        port.output.safe()
    assert port.read() == b"b"


def test_a_killed_host_is_noticed_by_the_microcontroller(terminal: tuple[int, str]) -> None:
    """The few lines of the module's sketch, played by this test: 200 ms without a byte, and the pin is low."""
    near, name = terminal
    path = os.pathsep.join(sys.path)
    host = subprocess.Popen([sys.executable, "-c", _HOST, name], env={**os.environ, "PYTHONPATH": path})
    try:
        level, last, drops = 0, time.monotonic(), 0
        killed = None
        until = time.monotonic() + 60  # a busy machine may need long to start the host
        while time.monotonic() < until and not (killed and not level):
            if select.select([near], [], [], 0.005)[0]:
                level, last = os.read(near, 1)[0] & 1, time.monotonic()
                if level and killed is None:
                    host.kill()
                    host.wait()
                    killed = time.monotonic()
            if level and time.monotonic() - last > 0.2:
                level, drops = 0, drops + 1
        assert killed is not None and drops == 1 and level == 0
    finally:
        host.kill()
        host.wait()


_HOST = """
import sys, time
from live_poses import found_of, pose_at
from rigpose.live.outputs.serial_line import SerialOutput, Wiring
output = SerialOutput(sys.argv[1], Wiring(bits=("laser",)))
output.open()
while True:
    output.send(pose_at(0, found_of([]), triggers={"laser": True}))
    time.sleep(0.01)
"""
