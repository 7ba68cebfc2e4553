"""The arguments of ``rigpose live``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rigpose.commands.argument_types import at_least_one, positive
from rigpose.commands.backend_arguments import add_backend_arguments
from rigpose.commands.run_arguments import add_run_arguments


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all of them."""
    parser.add_argument(
        "bundle",
        type=Path,
        nargs="?",
        metavar="BUNDLE",
        help="the exported model, a folder; without one, --source simulated is a demonstration with a stand-in for a "
        "model, which takes 25 ms per frame",
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        metavar="S",
        help="how long (default: until Ctrl-C or the end of the source; 20 for a demonstration)",
    )
    _add_cameras(parser.add_argument_group("cameras"))
    _add_receivers(parser.add_argument_group("where poses go"))
    _add_rules(parser.add_argument_group("triggers and prediction"))
    _add_limits(parser.add_argument_group("time"))
    add_model_arguments(parser)
    parser.epilog = (
        "The run ends with Ctrl-C, and its exit status is 1 where a camera, the model, a trigger, an output or a "
        "recording failed. Beside it: rigpose live fit RECORDING, which finds out what --predict may do, and rigpose "
        "live finish FOLDER, for a recording whose process was killed."
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those that say what runs a bundle and how it looks at frames."""
    group = parser.add_argument_group("what runs the model, and where it looks")
    add_backend_arguments(group)
    group.add_argument("--threads", type=at_least_one, metavar="N", help="CPU threads (default: all cores)")
    group.add_argument(
        "--crop",
        action="append",
        default=[],
        metavar="x1,x2,y1,y2|dynamic",
        help="look at this part of every frame only; dynamic: look where the one animal was; both, each with its own "
        "--crop: the region then follows the animal inside the part",
    )
    group.add_argument(
        "--redetect",
        type=positive,
        metavar="S",
        help="for a top-down model: find boxes anew at least so often, beside --detect-every",
    )
    add_run_arguments(parser)


def at_least_nothing(text: str) -> float:
    """A number from 0 on."""
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def _add_cameras(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--source",
        action="append",
        metavar="CAMERA",
        help="simulated, camera:0, rtsp://..., genicam:SERIAL, basler:SERIAL or a video file; may be repeated "
        "(default: camera:0, or simulated without a BUNDLE). A simulated camera may have settings, as in "
        "simulated:640x480@100,animals=3,drop=2%%,unplug=12: animals=N, fps=F, seconds=S (how long), seed=N; and "
        "faults: drop=SHARE of its frames, jitter=MS (at most), late=SHARE with late_by=MS, freeze=S (when) with "
        "freeze_for=S, unplug=S (when), drift=PPM of its clock",
    )
    group.add_argument("--fps", type=positive, metavar="F", help="ask the camera for this rate")
    group.add_argument("--size", type=_size, metavar="WxH", help="ask the camera for this size, such as 640x480")
    group.add_argument("--exposure", type=positive, metavar="MS", help="ask the camera for this exposure time")
    group.add_argument("--trigger-line", metavar="LINE", help="the camera's input that starts each frame, as Line1")
    group.add_argument("--pixel-format", metavar="NAME", help="by its GenICam name, as Mono8")
    group.add_argument("--unpaced", action="store_true", help="play a video file as fast as its frames are read")
    group.add_argument("--loop", action="store_true", help="play a video file again and again")


def _add_receivers(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="OUTPUT",
        help="zmq://127.0.0.1:5555, osc://127.0.0.1:9000, serial:///dev/ttyACM0?bits=RULE, lsl://NAME, or "
        "python:FILE.py:NAME, a function or a class with process(pose, ...); may be repeated",
    )
    group.add_argument("--record", type=Path, metavar="FOLDER", help="video, times and poses, safe against a crash")
    group.add_argument(
        "--codec", metavar="NAME", help="of the recording: h264, h264_nvenc, mjpeg or lossless (default: h264)"
    )
    group.add_argument("--show", action="store_true", help="a window with the picture")
    group.add_argument(
        "--web",
        type=_port,
        nargs="?",
        const=0,
        metavar="PORT",
        help="a page for a browser on this computer, with picture, latency and every frame's fate",
    )
    group.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write a page about the run when it is over (default: none; rigpose-live.html for a demonstration)",
    )
    group.add_argument("--summary", type=Path, metavar="FILE", help="write the same as JSON, with the frames' numbers")


def _add_rules(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--triggers", type=Path, metavar="FILE", help="rules on poses, which outputs act on")
    group.add_argument(
        "--predict",
        type=Path,
        metavar="FILE",
        help="predict poses as rigpose live fit found it good; --show and --web draw them as diamonds",
    )
    group.add_argument(
        "--lead",
        type=positive,
        metavar="MS",
        help="how far ahead (default: what this run takes from exposure to output, and --actuator)",
    )
    group.add_argument(
        "--actuator",
        type=at_least_nothing,
        metavar="MS",
        help="how long what the outputs drive takes to act, as a part of how far ahead (default: 0)",
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--max-age", type=positive, metavar="MS", help="do not infer frames that are older than this")
    group.add_argument("--deadline", type=positive, metavar="MS", help="count frames whose poses are older than this")
    group.add_argument(
        "--max-wait",
        type=at_least_nothing,
        default=0.0,
        metavar="MS",
        help="how long a camera's frame waits for those of the others, to be inferred together (default: %(default)g)",
    )
    group.add_argument(
        "--stale",
        type=positive,
        default=500.0,
        metavar="MS",
        help="bring outputs to their safe state when no result came for so long (default: %(default)g)",
    )


def _size(text: str) -> tuple[int, int]:
    width, by, height = text.partition("x")
    if not by or not width.isdigit() or not height.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form WxH in pixels, such as 640x480")
    return int(width), int(height)


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 1 to 65535")
    return int(text)
