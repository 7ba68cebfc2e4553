"""Lab Streaming Layer, through a real outlet and a real inlet on this machine."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from live_poses import MICE, MOUSE, NAMES, found_of, pose_at

from rigpose.live.clock import now
from rigpose.live.faults import LiveError
from rigpose.live.outputs.lsl import LslOutput

try:
    import pylsl
except (ImportError, RuntimeError):  # the latter where its binary library is not found
    pytest.skip("needs pylsl and its library", allow_module_level=True)

PATIENCE = 20.0
"""For streams of this machine to be found and read, however busy it is [s]."""
WIDTH = 1 + 3 * len(NAMES)


def inlet_of(stream: str) -> Any:
    found = pylsl.resolve_byprop("name", stream, 1, PATIENCE)
    if not found:
        pytest.skip("the network of this machine lets no Lab Streaming Layer stream be found")
    inlet = pylsl.StreamInlet(found[0])
    inlet.open_stream(PATIENCE)
    return inlet


@pytest.fixture
def stream() -> str:
    return f"rig {uuid.uuid4()}"  # nobody else's on this network


@pytest.fixture
def output(stream: str) -> Iterator[LslOutput]:
    opened = LslOutput(stream, MICE)
    opened.open()
    yield opened
    opened.close()


def animal(x: float) -> list[tuple[float, float]]:
    return [(x, 1), (x + 1, 2), (x + 2, 3)]


def test_an_inlet_gets_poses_with_names_and_times_of_exposure(stream: str, output: LslOutput) -> None:
    inlet = inlet_of(stream)
    info = inlet.info(PATIENCE)
    assert (info.type(), info.channel_count(), info.nominal_srate()) == ("MoCap", 2 * WIDTH, 0)
    labels, channel = [], info.desc().child("channels").child("channel")
    while not channel.empty():
        labels.append((channel.child_value("label"), channel.child_value("type"), channel.child_value("unit")))
        channel = channel.next_sibling("channel")
    assert labels[:3] == [
        ("animal 0 number", "AnimalNumber", ""),
        ("animal 0 snout x", "PositionX", "pixels"),
        ("animal 0 snout y", "PositionY", "pixels"),
    ]
    assert len(labels) == 2 * WIDTH and labels[-1][0] == "animal 1 tail score"
    exposed = now() - 0.25
    output.send(pose_at(exposed, found_of([animal(10)], ids=[3])))
    sample, at = inlet.pull_sample(PATIENCE)
    np.testing.assert_allclose(sample[:4], [3, 10, 1, 0.9], rtol=1e-6)
    assert all(math.isnan(value) for value in sample[WIDTH:])
    # the shift of the clocks, measured here once more, to within what a busy machine may put between two readings
    assert abs(at - (exposed + pylsl.local_clock() - now())) < 0.05


def test_animals_keep_their_block(stream: str, output: LslOutput) -> None:
    inlet = inlet_of(stream)
    frames = [([10, 20], [3, 8]), ([20], [8]), ([20, 30, 40], [8, 9, 5]), ([50], [-1])]
    for i, (xs, ids) in enumerate(frames):
        output.send(pose_at(now() + i, found_of([animal(x) for x in xs], ids=ids)))
    numbers = []
    for _ in frames:
        sample, _ = inlet.pull_sample(PATIENCE)
        numbers.append([None if math.isnan(n) else n for n in (sample[0], sample[WIDTH])])
    assert numbers == [[3, 8], [None, 8], [9, 8], [-1, None]]


def test_rules_are_markers(stream: str, output: LslOutput) -> None:
    inlet = inlet_of(f"{stream} triggers")
    assert inlet.info(PATIENCE).type() == "Markers"
    exposed = now()
    for i, on in enumerate((False, True, True, False, True)):
        output.send(pose_at(exposed + i / 100, found_of([]), triggers={"lick": on}))
    output.safe()
    output.safe()
    got = [inlet.pull_sample(PATIENCE) for _ in range(4)]
    assert [sample[0] for sample, _ in got] == ["lick on", "lick off", "lick on", "lick off"]
    assert got[1][1] - got[0][1] == pytest.approx(0.02, abs=1e-3)
    assert inlet.pull_sample(0.0)[0] is None


def test_a_stream_is_of_one_camera(stream: str) -> None:
    output, chosen = LslOutput(stream, MOUSE), LslOutput(stream, MOUSE, camera="side")
    with pytest.raises(LiveError, match="not open"):
        output.send(pose_at(0, found_of([])))
    output.open()
    output.send(pose_at(0, found_of([animal(0)])))
    with pytest.raises(LiveError, match=r"of one camera, and there are top and side; say which one with camera=NAME"):
        output.send(pose_at(0, found_of([animal(0)]), camera="side"))
    output.close()
    output.close()
    chosen.open()
    inlet = inlet_of(stream)
    chosen.send(pose_at(now(), found_of([animal(1)]), camera="top"))
    chosen.send(pose_at(now(), found_of([animal(2)]), camera="side"))
    assert inlet.pull_sample(PATIENCE)[0][1] == 2
    chosen.close()


def test_clocks_are_not_compared_while_a_thread_gets_in_between() -> None:
    class Interrupted:
        """Takes a tenth of a second for every second reading."""

        def __init__(self) -> None:
            self.at, self.readings, self.slow = now() - 1000, 0, False

        def __call__(self) -> float:
            self.readings += 1
            self.at += 0.1 if self.slow and self.readings % 2 == 0 else 0.0
            return self.at

    clock = Interrupted()
    output = LslOutput("x", MOUSE, clock=clock)
    first = output._to_lsl()
    clock.slow = True
    assert output._to_lsl() == first
    clock.slow = False
    assert output._to_lsl() != first
