"""Open Sound Control messages, as a real socket on this machine gets them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from live_poses import MICE, NAMES, found_of, pose_at, poses_of
from pythonosc.osc_bundle import OscBundle

from rigpose.live.faults import LiveError
from rigpose.live.finding.pose_finder import Found
from rigpose.live.outputs.osc import OscOutput
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

ANIMALS = [[(1.5, 2.25), (3, 4), (5, 6)], [(10, 20), (30, 40), (50, 60)]]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(20)
        yield opened


def datagrams(receiver: socket.socket, count: int) -> list[list[tuple[str, list[object]]]]:
    """So many datagrams, each a list of its messages."""
    got = []
    for _ in range(count):
        data = receiver.recv(65_536)
        assert len(data) <= 1472  # the payload of an Ethernet packet
        got.append([(message.address, message.params) for message in OscBundle(data)])
    return got


def opened(receiver: socket.socket, spec: ModelSpec = MICE) -> OscOutput:
    output = OscOutput("127.0.0.1", receiver.getsockname()[1], spec)
    output.open()
    return output


def test_a_result_is_a_bundle_of_documented_messages(receiver: socket.socket) -> None:
    with closing(opened(receiver)) as output:
        poses = poses_of(ANIMALS)
        poses.xy[1, 0] = np.nan
        found = Found(poses, np.array([4, -1]), looked="whole", lost=False)
        output.send(pose_at(5.0, found, number=2**40 + 5, camera="top view/1", triggers={"go": True, "stay": False}))
        [messages] = datagrams(receiver, 1)
        assert messages[0][0] == "/rigpose/top_view_1/frame"
        number, age, animals = messages[0][1]
        assert number == 5 and age == pytest.approx(4.0, abs=1e-3) and animals == 2
        assert messages[1:3] == [("/rigpose/trigger/go", [1]), ("/rigpose/trigger/stay", [0])]
        keypoints = [(address.rpartition("/")[2], *values[:4]) for address, values in messages[3:]]
        assert keypoints == [
            ("snout", 0, 4, 1.5, 2.25),
            ("neck", 0, 4, 3, 4),
            ("tail", 0, 4, 5, 6),
            ("neck", 1, -1, 30, 40),  # its snout is missing
            ("tail", 1, -1, 50, 60),
        ]
        assert messages[3][1][4] == pytest.approx(0.9)


def test_predicted_poses_and_keypoints_of_the_frame(receiver: socket.socket) -> None:
    spec = ModelSpec("single_animal", "drawn", NAMES, unique_keypoints=("corner", "lamp"))
    unique = np.array([[1, 2, 0.5], [np.nan] * 3], np.float32)
    poses = Poses(poses_of(ANIMALS[:1]).xy, poses_of(ANIMALS[:1]).score, unique=unique)
    with closing(opened(receiver, spec)) as output:
        found = Found(poses, np.array([0]), looked="whole", lost=False)
        output.send(pose_at(0, found, predicted=poses_of(ANIMALS[1:])))
        [messages] = datagrams(receiver, 1)
    told = dict(messages)
    assert told["/rigpose/top/predicted/tail"][2:4] == [50, 60]
    assert told["/rigpose/top/unique/corner"] == [1, 2, 0.5] and "/rigpose/top/unique/lamp" not in told


def test_many_animals_are_several_datagrams_that_all_say_of_which_frame(receiver: socket.socket) -> None:
    with closing(opened(receiver)) as output:
        output.send(pose_at(0, found_of([ANIMALS[0]] * 30), number=3, triggers={"go": True}))
        got = []
        while sum(len(messages) - 1 for messages in got) < 30 * 3 + 1:
            got += datagrams(receiver, 1)
    assert len(got) > 2 and all(messages[0][0] == "/rigpose/top/frame" for messages in got)
    rows = [values[0] for messages in got for address, values in messages if "keypoint" in address]
    assert sorted(rows) == sorted(list(range(30)) * 3)


def test_the_safe_state_is_told_and_told_when_closing(receiver: socket.socket) -> None:
    output = opened(receiver)
    output.send(pose_at(0, found_of([]), triggers={"go": True}))
    datagrams(receiver, 1)
    output.safe()
    assert datagrams(receiver, 1) == [[("/rigpose/safe", [1]), ("/rigpose/trigger/go", [0])]]
    output.send(pose_at(0, found_of([]), triggers={"go": True}))
    output.close()
    output.close()
    assert datagrams(receiver, 2)[1] == [("/rigpose/safe", [1]), ("/rigpose/trigger/go", [0])]


def test_nobody_needs_to_listen_and_an_address_must_exist() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    output = OscOutput("127.0.0.1", port, MICE)
    with pytest.raises(LiveError, match="not open"):
        output.send(pose_at(0, found_of(ANIMALS)))
    output.open()
    for _ in range(3):
        output.send(pose_at(0, found_of(ANIMALS)))
    output.close()
    with pytest.raises(LiveError, match=r"osc://no\.such\.invalid:9000: there is no computer no\.such\.invalid"):
        OscOutput("no.such.invalid", 9000, MICE).open()
