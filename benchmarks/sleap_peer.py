"""sleap-nn's exported runtime on its own small model beside rigpose, taking turns in one run: two comparisons.

    OMP_NUM_THREADS=1 PYTHONPATH=tests taskset -c 0 python benchmarks/sleap_peer.py --torch-from PYTHON

- "rigpose, sleap-nn's model": the graph that sleap-nn exported, as a bundle (``sleap_bundle.py``). Both run the same
  network with the same weights, so this compares the programs, and how far the poses lie apart stands beside it.
- "rigpose, a comparable model": a documented network of ours of about as many multiply-adds, with random weights.
  Other networks, other weights: nothing about poses, and a rate compares the networks as much as the programs.

Parameters and multiply-adds of both networks, counted from their ONNX graphs, stand in every line, and beside the time
per frame that per billion multiply-adds (GMAC). That is no measure of quality either: a convolution that sees one
channel at a time has few multiply-adds and takes longer for each.

sleap-nn trains the network of its own sample for one animal, a UNet, for one short epoch on a drawn animal, exports it
(``sleap-nn export``) and runs the export over an encoded video (``sleap-nn predict --runtime onnx``). It is installed
by pip below ``--cache`` when it is asked for the first time (about 6 GB with its torch; ``--torch-from PYTHON`` takes
another environment's), or ``RIGPOSE_SLEAP_PYTHON`` names a Python that has it. It is only run as a program: nothing of
it is imported here. Of ours, ``rigpose analyze`` is run, which must be installed.

All are timed as commands, from their start to their end, on the beginning of one video and on more of it. The
difference is what frames take, decoding and files included; imports, loading and what else a call takes once drop out,
and are ``start`` in the table. A call that does not count comes first in every turn, so that both find their files in
memory. Each side is told how many threads it may have; ``taskset`` binds all to one core.

What sleap-nn's exported runtime does: its graph scales pixels, runs the network and takes each channel's highest cell;
one below the threshold of the export (0.2) is no keypoint. It does not refine below a cell, as its checkpoints can.
ONNX Runtime runs the graph, but around it frames, results and files go through torch and sleap-io, so that a rig needs
both. A thread reads frames ahead of it, frame by frame through sleap-io; the result is a ``.slp``. Its command cannot
limit ONNX Runtime's threads; ``sleap_nn_threads.py`` does. Appends to ``benchmarks/results/sleap_peer.jsonl``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from clips import drawn_video, first_frames
from graph_cost import graph_cost
from peers import WAYS, summed_up
from record import lines, measured_here, record
from sleap_bundle import bundle_of
from sleap_environment import sleap_python, versions_of
from sleap_model import NAMES, STEPS, UNET, exported_model, read_poses
from timed_commands import call, per_frame
from turns import table, take_turns

from rigpose.arrays import Floats
from rigpose.bundles.bundle import Bundle
from rigpose.files.results import read_results

NAME = "sleap_peer"
THEIRS, SAME, OURS = "sleap-nn, its own model", "rigpose, sleap-nn's model", "rigpose, a comparable model"
HEADER = (
    "who", "network", "by", "parameters [M]", "GMAC", "ms per frame", "processor ms", "ms per GMAC",
    "processor ms per GMAC", "start [s]", "frames per second over sleap-nn's", "from", "to", "the same per GMAC",
    "worst pose [px]",
)  # fmt: skip


def main() -> None:
    """Measure, or print the table."""
    options = _arguments()
    if not options.markdown:
        case = {
            "architecture": options.architecture, "ways": options.ways, "height": options.size[0],
            "width": options.size[1], "frames": options.frames, "batch": options.batch, "threads": options.threads,
        }  # fmt: skip
        if not options.again and measured_here(NAME, case):
            print("measured already (--again repeats it)")
        else:
            line = {**case, "weights": f"sleap-nn's of {STEPS} steps, ours random", **measure(options)}
            record(NAME, line)
    print(table(HEADER, [row for line in newest() for row in rows(line)]))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """What both networks cost, and all turns of both sides."""
    from random_bundles import Architecture, random_bundle

    height, width = options.size
    python = sleap_python(options.cache, torch_from=options.torch_from)
    exported = exported_model(python, options.cache, (height, width))
    architecture = Architecture(f"{options.architecture} single", options.architecture, "single")
    bundle = Bundle.open(random_bundle(architecture, options.cache, detector=""))
    graph = bundle.manifest.graph("pose", precision="fp32")
    theirs = asdict(graph_cost(exported / "model.onnx", (1, 3, height, width)))
    ours = asdict(graph_cost(bundle.file(graph.file), (1, height, width, 3)))
    networks = {THEIRS: theirs, SAME: theirs, OURS: ours}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        same = bundle_of(exported, folder / "bundle", NAMES, multiple_of=UNET["max_stride"])
        video = drawn_video(options.cache, height=height, width=width, frames=max(options.frames), animals=1)
        clips = [first_frames(video, frames, folder) for frames in options.frames]
        commands = {THEIRS: partial(sleap_nn, python, exported, options=options)}
        for who, ran in ((SAME, same), (OURS, bundle)):
            for way in options.ways:
                commands[f"{who}, {way}"] = partial(rigpose, ran.path, way, options=options)
        sides: dict[str, Callable[[], dict[str, float]]] = {
            name: partial(turn, command, clips, folder / name, options=options) for name, command in commands.items()
        }
        turns = summed_up(take_turns(sides, options.repeats), THEIRS)
        poses = {name: poses_in(folder / name, clips[1]) for name in commands}
    if wrong := {name: len(xy) for name, xy in poses.items() if len(xy) != options.frames[1]}:
        raise SystemExit(f"of {options.frames[1]} frames were written: {wrong}; so the times are of something else.")
    return {
        "versions_of_sleap_nn": versions_of(python),
        "networks": networks,
        "keypoints_found": round(float(np.isfinite(poses[THEIRS][..., 0]).mean()), 3),
        "sides": {name: {**side, **per_multiply_add(name, side, networks)} for name, side in turns.items()},
        "poses": {name: apart(poses[THEIRS], xy) for name, xy in poses.items() if name.startswith(SAME)},
    }


def sleap_nn(python: Path, exported: Path, clip: Path, folder: Path, *, options: argparse.Namespace) -> list[str]:
    """sleap-nn's command for a clip, with its result in a folder."""
    run = [str(python), str(Path(__file__).with_name("sleap_nn_threads.py")), str(options.threads)]
    words = ["predict", "--model_paths", str(exported), "--runtime", "onnx", "--device", "cpu"]
    files = ["--data_path", str(clip), "--output_path", str(folder / f"{clip.stem}.slp")]
    return [*run, *words, *files, "--batch_size", str(options.batch)]


def rigpose(bundle: Path, way: str, clip: Path, folder: Path, *, options: argparse.Namespace) -> list[str]:
    """Our command for a clip, with its result in a folder."""
    backend, precision = way.split()
    run = [sys.executable, "-m", "rigpose.commands.main", "analyze", str(bundle), str(clip), "--device", "cpu"]
    how = ["--backend", backend, "--precision", precision, "--threads", str(options.threads)]
    files = ["--destination", str(folder / clip.stem), "--overwrite", "--no-csv"]
    return [*run, *how, *files, "--batch", str(options.batch)]


def poses_in(folder: Path, clip: Path) -> Floats:
    """Of the one animal in every frame of a clip, as either command left it, (F, K, 2) x, y [frame px]."""
    if (file := folder / f"{clip.stem}.slp").exists():
        nothing = np.full((len(NAMES), 2), np.nan)
        return np.stack([animals[0] if len(animals) else nothing for animals in read_poses(file)])
    (path,) = (folder / clip.stem).glob("*.h5")
    return read_results(path).xy[:, 0]


def apart(theirs: Floats, ours: Floats) -> dict[str, float]:
    """How far poses of the same network lie apart [px], and how many keypoints only one side has."""
    there = np.isfinite(theirs[..., 0]), np.isfinite(ours[..., 0])
    distance = np.linalg.norm(ours - theirs, axis=-1)[there[0] & there[1]]
    return {"worst_px": float(distance.max(initial=0)), "one_side_only": int((there[0] != there[1]).sum())}


def turn(
    command: Callable[[Path, Path], list[str]], clips: Sequence[Path], folder: Path, *, options: argparse.Namespace
) -> dict[str, float]:
    """One turn: the command on less and on more of the video, after a call that does not count.

    A program of gigabytes is partly gone from memory after the turns of others, and the first call reads it again.
    """
    folder.mkdir(exist_ok=True)
    each = (clips[0], *clips)
    _, less, more = (call(command(clip, folder), folder / "said.txt", threads=options.threads) for clip in each)
    return per_frame(less, more, *options.frames)


def per_multiply_add(name: str, side: Mapping[str, Any], networks: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The time of a billion multiply-adds [ms]; of ours also how many times as fast they are as sleap-nn's."""
    ours, theirs = (networks[who]["multiply_adds"] / 1e9 for who in (who_of(name), THEIRS))
    made: dict[str, Any] = {
        "ms_per_gmac": round(1000 / statistics.median(side["rate"]) / ours, 3),
        "cpu_ms_per_gmac": round(statistics.median(side["cpu_ms"]) / ours, 3),
    }
    if name != THEIRS:
        fast = {key: round(value * ours / theirs, 3) for key, value in side["times_as_fast"].items()}
        made["times_as_fast_per_gmac"] = fast
    return made


def who_of(name: str) -> str:
    """Whose model a contestant runs, and in which program."""
    return next(who for who in (THEIRS, SAME, OURS) if name.startswith(who))


def newest() -> list[dict[str, Any]]:
    """The newest line of each network and setting."""
    keys = ("architecture", "height", "width", "batch", "threads")
    return [*{tuple(line[key] for key in keys): line for line in lines(NAME)}.values()]


def rows(line: Mapping[str, Any]) -> list[list[Any]]:
    """A row for sleap-nn, and one for each way of ours."""
    made = []
    for name, side in line["sides"].items():
        who = who_of(name)
        network, by = line["architecture"] if who == OURS else "UNet", name[len(who) + 2 :] or "onnxruntime fp32"
        cost = line["networks"][who]
        fast = side.get("times_as_fast", {})
        made.append([
            who, network, by, cost["parameters"] / 1e6, cost["multiply_adds"] / 1e9,
            1000 / statistics.median(side["rate"]), statistics.median(side["cpu_ms"]), side["ms_per_gmac"],
            side["cpu_ms_per_gmac"], statistics.median(side["start_seconds"]),
            *(fast.get(key) for key in ("median", "min", "max")), side.get("times_as_fast_per_gmac", {}).get("median"),
            line["poses"].get(name, {}).get("worst_px"),
        ])  # fmt: skip
    return made


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="cspnext_m", help="ours (default: %(default)s)")
    parser.add_argument("--ways", nargs="+", default=list(WAYS[:3]), metavar="WAY", help="default: %(default)s")
    parser.add_argument("--size", nargs=2, type=int, default=[256, 256], metavar=("H", "W"), help="of the frames [px]")
    parser.add_argument("--frames", nargs=2, type=int, default=[32, 1024], metavar=("FEW", "MANY"), help="of the video")
    parser.add_argument("--batch", type=int, default=4, help="of both sides; sleap-nn's default (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of both sides (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="turns that count (default: %(default)s)")
    parser.add_argument("--torch-from", type=Path, metavar="PYTHON", help="whose torch sleap-nn uses")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rigpose-benchmarks")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    return parser.parse_args()


if __name__ == "__main__":
    main()
