"""Poses through ZeroMQ, to a subscriber as a user writes one, and past one that never reads."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import zmq
from live_poses import MICE, NAMES, found_of, pose_at, poses_of

from rigpose.live.faults import LiveError
from rigpose.live.finding.pose_finder import Found
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.message import pose_message, safe_message
from rigpose.live.outputs.zeromq import ZeroMqOutput
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

ANIMALS = [[(1.5, 2.25), (3, 4), (5, 6)], [(10, 20), (30, 40), (50.125, 60)]]
PATIENCE = 20_000
"""For a message on this machine, however busy it is [ms]."""


@contextmanager
def subscriber(port: int, *, bind: bool = False, hwm: int = 1000) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context()
    receiver = context.socket(zmq.SUB)
    receiver.setsockopt(zmq.SUBSCRIBE, b"")
    receiver.setsockopt(zmq.RCVHWM, hwm)
    if bind:
        receiver.bind(f"tcp://127.0.0.1:{port}")
    else:
        receiver.connect(f"tcp://127.0.0.1:{port}")
    try:
        yield receiver
    finally:
        receiver.close(linger=0)
        context.term()


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def sent_until_read(output: ZeroMqOutput, receiver: zmq.Socket[bytes], pose: LivePose) -> dict[str, Any]:
    """A PUB socket drops what is sent before the subscription has arrived."""
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        output.send(pose)
        if receiver.poll(20):
            return json.loads(receiver.recv())
    raise AssertionError("no message came")


def newest(receiver: zmq.Socket[bytes], *, safe: bool) -> dict[str, Any]:
    """The first message of this kind."""
    while receiver.poll(PATIENCE):
        message = json.loads(receiver.recv())
        if message["safe"] is safe:
            return message
    raise AssertionError("no such message came")


@pytest.mark.parametrize("bind", [False, True])
def test_a_subscriber_gets_poses_and_the_safe_state(*, bind: bool) -> None:
    port = free_port()
    output = ZeroMqOutput(f"tcp://127.0.0.1:{port}", MICE, connect=bind)
    with subscriber(port, bind=bind) as receiver:
        output.open()
        try:
            pose = pose_at(5.0, found_of(ANIMALS, ids=[4, -1]), number=7, triggers={"go": True, "stay": False})
            message = sent_until_read(output, receiver, pose)
            output.safe()
            safe = newest(receiver, safe=True)
        finally:
            output.close()
            output.close()
    assert message["camera"] == "top" and message["frame"] == 7 and message["keypoints"] == list(NAMES)
    assert [animal["id"] for animal in message["animals"]] == [4, -1]
    assert [animal["xy"] for animal in message["animals"]] == [[list(p) for p in animal] for animal in ANIMALS]
    assert message["triggers"] == {"go": True, "stay": False} and message["exposed"] == 5.0
    assert safe == {"rigpose_pose": 1, "safe": True, "triggers": {"go": False, "stay": False}}


def test_closing_without_the_safe_state_says_it() -> None:
    port = free_port()
    output = ZeroMqOutput(f"tcp://127.0.0.1:{port}", MICE)
    with subscriber(port) as receiver:
        output.open()
        sent_until_read(output, receiver, pose_at(0, found_of(ANIMALS), triggers={"go": True}))
        output.close()
        assert newest(receiver, safe=True)["triggers"] == {"go": False}


def test_a_subscriber_that_never_reads_holds_nothing_up() -> None:
    """More bytes than any socket buffer holds are sent past it, and another subscriber still gets the newest."""
    port = free_port()
    output = ZeroMqOutput(f"tcp://127.0.0.1:{port}", MICE)
    many = found_of([ANIMALS[0]] * 500)
    with subscriber(port, hwm=1), subscriber(port) as reading:
        output.open()
        try:
            sent_until_read(output, reading, pose_at(0, found_of(ANIMALS), number=-1))
            payload = pose_message(pose_at(0, many), MICE, time.perf_counter)
            count = 20_000_000 // len(payload)
            longest = 0.0
            for _ in range(count):
                began = time.perf_counter()
                output._publish(payload)
                longest = max(longest, time.perf_counter() - began)
            while reading.poll(0):
                reading.recv()
            last = sent_until_read(output, reading, pose_at(1, found_of(ANIMALS), number=99))
            while last["frame"] != 99:
                last = sent_until_read(output, reading, pose_at(1, found_of(ANIMALS), number=99))
        finally:
            output.close()
    # A send is some 10 us; a second is for a machine that lets this process wait. To block would be for ever.
    assert longest < 1.0
    print(f"{count} messages of {len(payload)} bytes, the longest send {1e3 * longest:.2f} ms")


def test_an_address_in_use_is_a_sentence() -> None:
    port = free_port()
    first, second = (ZeroMqOutput(f"tcp://127.0.0.1:{port}", MICE, name=name) for name in ("one", "two"))
    first.open()
    try:
        with pytest.raises(LiveError, match=r"^two: ZeroMQ cannot use tcp.*choose another port"):
            second.open()
    finally:
        first.close()
    with pytest.raises(LiveError, match="not open"):
        second.send(pose_at(0, found_of(ANIMALS)))


# -- the message


def test_what_is_missing_is_null_and_nothing_is_no_animal() -> None:
    poses = poses_of(ANIMALS)
    poses.xy[0, 1] = np.nan
    poses.score[0, 1] = np.nan
    found = Found(poses, np.array([0, 1]), looked="whole", lost=False)
    text = pose_message(pose_at(0, found, predicted=poses), MICE, time.perf_counter)
    message = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert message["animals"][0]["xy"][1] == [None, None] and message["animals"][0]["score"][1] is None
    assert message["predicted"][1] == [[10, 20], [30, 40], [50.125, 60]] and message["lead"] == 0.02
    nobody = json.loads(pose_message(pose_at(0, found_of([])), MICE, time.perf_counter))
    assert nobody["animals"] == [] and nobody["predicted"] is None and nobody["lost"] is True
    assert json.loads(safe_message(["a"]))["triggers"] == {"a": False}


def test_keypoints_of_the_frame_and_the_clock_of_the_wall() -> None:
    spec = ModelSpec("single_animal", "drawn", NAMES, unique_keypoints=("corner", "lamp"))
    unique = np.array([[1, 2, 0.5], [np.nan] * 3], np.float32)
    poses = Poses(poses_of(ANIMALS[:1]).xy, poses_of(ANIMALS[:1]).score, unique=unique)
    pose = pose_at(3.0, Found(poses, np.array([0]), looked="whole", lost=False))
    before = time.time()
    message = json.loads(pose_message(pose, spec, lambda: 8.0))
    assert message["unique"] == {"corner": [1, 2, 0.5], "lamp": [None, None, None]}
    assert before - 5 <= message["exposed_unix"] <= time.time() - 5  # it was exposed 5 s ago
