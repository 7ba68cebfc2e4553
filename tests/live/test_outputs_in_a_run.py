"""All outputs at once in a real run: none is in another's way, and a camera that dies makes all of them safe."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any

import zmq
from live_stand_ins import SPEC, StubFinder, StubSource
from pythonosc.osc_bundle import OscBundle

from rigpose.live.faults import FaultKind
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.open_output import open_output
from rigpose.live.outputs.output import Output
from rigpose.live.outputs.serial_line import SerialOutput, Wiring
from rigpose.live.outputs.zeromq import ZeroMqOutput
from rigpose.live.processors.callback import CallbackOutput
from rigpose.live.running.loop import LiveRun
from rigpose.live.triggers.rule_file import parse_rules
from rigpose.live.triggers.triggers import Triggers

LONG = 30.0
"""Only for machines that are very busy [s]."""


class LoopedSerial(SerialOutput):
    """Keeps what came out of its port, which the loop would forget."""

    written = b""

    def _write(self, written: bytes) -> None:
        super()._write(written)
        self.written += self._opened().read(len(written))


class Sleeping:
    def __init__(self) -> None:
        self.calls = 0

    def process(self, pose: Any, **_: Any) -> Any:
        self.calls += 1
        time.sleep(0.1)
        return pose


def raising(pose: LivePose) -> None:
    raise ConnectionError("the valve does not answer")


class Receivers:
    """A ZeroMQ subscriber and an OSC socket, and what they got."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.subscriber = self.context.socket(zmq.SUB)
        self.subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        self.zmq_port = self.subscriber.bind_to_random_port("tcp://127.0.0.1")
        self.osc = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.osc.bind(("127.0.0.1", 0))
        self.osc.settimeout(0)
        self.osc_port = self.osc.getsockname()[1]
        self.messages: list[Mapping[str, Any]] = []
        self.datagrams: list[dict[str, Any]] = []

    def until_safe(self) -> None:
        end = time.monotonic() + LONG
        while not (self.messages and self.messages[-1]["safe"] and "/rigpose/safe" in (self.datagrams or [{}])[-1]):
            assert time.monotonic() < end
            time.sleep(0.005)
            while self.subscriber.poll(0):
                self.messages.append(json.loads(self.subscriber.recv()))
            with suppress(BlockingIOError):
                while True:
                    bundle = OscBundle(self.osc.recv(65_536))
                    self.datagrams.append({message.address: message.params for message in bundle})

    def close(self) -> None:
        self.osc.close()
        self.subscriber.close(linger=0)
        self.context.term()


def test_no_output_is_in_anothers_way_and_all_end_in_their_safe_state() -> None:
    rule = {"when": {"in_polygon": {"keypoint": "snout", "polygon": [[0, 0], [4, 0], [4, 4], [0, 4]]}}}
    rules = Triggers(parse_rules({"rules": {"near": rule}}, SPEC.keypoints, where="rules"), SPEC, ["cam"])
    serial = LoopedSerial("loop://", Wiring(rts="near", bits=("near",)), name="serial")
    finder, source = StubFinder(), StubSource("cam", period=0.01, lost_after=150)
    with closing(Receivers()) as receivers:
        outputs: list[Output] = [
            ZeroMqOutput(f"tcp://127.0.0.1:{receivers.zmq_port}", SPEC, connect=True, name="zmq"),
            open_output(f"osc://127.0.0.1:{receivers.osc_port}", SPEC, rules.names),
            serial,
            CallbackOutput(Sleeping(), SPEC, name="sleeping"),
            CallbackOutput(raising, SPEC, name="raising"),
        ]
        run = LiveRun(finder, [source], outputs=outputs, triggers=rules, session_time=finder)
        try:
            run.start()
            receivers.until_safe()
        finally:
            status = run.stop()
    counts = status.cameras["cam"]
    assert counts.closed and counts.captured == 150 == counts.inferred + counts.superseded + counts.stale
    messages, datagrams = receivers.messages, receivers.datagrams
    assert messages[0]["triggers"] == {"near": True} and messages[-1]["triggers"] == {"near": False}
    assert datagrams[0]["/rigpose/trigger/near"] == [1] and datagrams[-1]["/rigpose/trigger/near"] == [0]
    assert serial.written.startswith(b"\x00\x01") and serial.written.rstrip(b"\0") != serial.written
    assert status.outputs["serial"].sent > 3 * status.outputs["sleeping"].sent > 0
    assert status.outputs["raising"].failed > 0 == status.outputs["raising"].sent
    assert all(output.in_safe_state for output in status.outputs.values())
    [failed] = [fault for fault in status.faults if fault.kind is FaultKind.OUTPUT_FAILED]
    assert failed.where == "raising" and "ConnectionError: the valve does not answer" in failed.sentence
    assert FaultKind.SOURCE_LOST in [fault.kind for fault in status.faults]
    # a frame that waited when the camera died is judged as well, and no output hears of it
    assert [change.on for change in rules.changes] in ([True, False], [True, False] * 2)
