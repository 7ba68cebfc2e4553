"""Words that a user types, and the outputs or sentences that come of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_poses import MICE

from rigpose.live.faults import LiveError
from rigpose.live.outputs.lsl import LslOutput
from rigpose.live.outputs.open_output import open_output
from rigpose.live.outputs.osc import OscOutput
from rigpose.live.outputs.serial_line import SerialOutput, Wiring
from rigpose.live.outputs.zeromq import ZeroMqOutput
from rigpose.live.processors.callback import CallbackOutput


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("zmq://127.0.0.1:5555", "tcp://127.0.0.1:5555"),
        ("zmq://5555", "tcp://127.0.0.1:5555"),  # nothing leaves the computer unless somebody says so
        ("zmq://:5555", "tcp://127.0.0.1:5555"),
        ("zmq://*:5555", "tcp://*:5555"),
        ("zmq://[::1]:5555", "tcp://[::1]:5555"),
        ("zmq://rig.lan:5555?connect=yes", "tcp://rig.lan:5555"),
    ],
)
def test_zeromq(text: str, endpoint: str) -> None:
    output = open_output(text, MICE)
    assert isinstance(output, ZeroMqOutput)
    assert output._endpoint == endpoint and output._connect == ("connect" in text)
    assert output.name == text.partition("?")[0]


def test_osc() -> None:
    output = open_output("osc://10.0.0.7:9000", MICE)
    assert isinstance(output, OscOutput) and (output._host, output._port) == ("10.0.0.7", 9000)


def test_serial() -> None:
    output = open_output("serial:///dev/ttyACM0?baud=9600&bits=lick,rear&rts=lick", MICE, ["lick", "rear"])
    assert isinstance(output, SerialOutput)
    assert (output._address, output._baud) == ("/dev/ttyACM0", 9600)
    assert output._wiring == Wiring(rts="lick", bits=("lick", "rear"))
    output = open_output("serial://COM3?on.lick=0x310a&off.lick=stop&heartbeat=.", MICE, ["lick"])
    assert isinstance(output, SerialOutput)
    assert (output._address, output._baud) == ("COM3", 115200)
    assert output._wiring == Wiring(on={"lick": b"1\n"}, off={"lick": b"stop"}, heartbeat=b".")


def test_lsl() -> None:
    output = open_output("lsl://my rig?animals=3&camera=top", MICE)
    assert isinstance(output, LslOutput)
    assert (output._stream, output._animals, output._camera) == ("my rig", 3, "top")


def test_a_python_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Laser:\n    def __init__(self, port, watts=1): ...\n    def process(self, pose): ...\n")
    output = open_output(f"python:{path}:Laser?port=COM3&watts=2.5&save=/tmp/x", MICE)
    assert isinstance(output, CallbackOutput)
    assert output._arguments == {"port": "COM3", "watts": 2.5} and output._save_to == "/tmp/x"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("zqm://5555", "is no output; did you mean zmq; begin with one of zmq:, osc:"),
        ("5555", "5555: is no output"),
        ("zmq:", "names nothing"),
        ("zmq://localhost", "write an address and a port"),
        ("zmq://localhost:99999", "port from 1 to 65535"),
        ("zmq://5555/x", "write an address and a port"),
        ("zmq://5555?connect=maybe", "connect is 'maybe'; give yes or no"),
        ("zmq://5555?conect=yes", "unknown setting conect; did you mean connect; it has connect"),
        ("zmq://5555?connect", "must be KEY=VALUE"),
        ("osc://9000?x=1", "unknown setting x; it has none"),
        ("lsl://a?animals=2&animals=3", "says something twice"),
        ("lsl://a?animals=many", "animals is 'many'; give a whole number"),
        ("serial://COM3", "drives nothing"),
        ("serial://COM3?rts=likc", "no trigger rule likc; did you mean lick; the run has lick"),
        ("serial://COM3?on.lick=0x3&off.lick=0x30", "0x3 are no bytes"),
        ("serial://COM3?baud=fast&rts=lick", "baud is 'fast'"),
        ("python:mine.py", "write FILE.py:NAME"),
        ("python:/no/such/file.py:go", r"there is no file .*file\.py"),
        ("python:no_such_package.part:go", "cannot be loaded .ModuleNotFoundError"),
        ("python:math:sine", "math has no sine; did you mean sin"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(LiveError, match=sentence) as raised:
        open_output(text, MICE, ["lick"])
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(text.partition("?")[0])
