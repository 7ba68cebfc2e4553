"""What the live loop costs and keeps, without a camera: ``python benchmarks/live.py [--bundle B --video V]``.

    queue        age of poses and superseded frames, for cameras and models of known pace, beside what a queue of one
                 frame whose newest wins must give (a simulation of the queue alone, with nothing else taking time)
    overhead     what the software adds to a frame of 640x480 px, from taking it to its poses, without the graphs; and
                 what rules and prediction take (judging). With a graph of exact duration, and with ``--bundle``
    outputs      99th percentile of inference, from taking a frame to its poses, with and without one disturbance
    memory       what is allocated, and resident, from frame 2,000 on
    end_to_end   ``--bundle`` on ``--video`` played as a camera; and its poses against the offline ones, which are the
                 same numbers, so that anything but 0 is a defect
    prediction   of 20 animals with 40 keypoints

Cameras are simulated, and threads, queues, outputs, recordings, pages and the analyzer are the product's own. The model
is a graph that sleeps, as one on a GPU looks from here; so ``outputs`` says nothing about a network on the processor
that has to share its cores with an encoder. Only cases with a bundle do, and only for their own session.

How to read it: figures are medians over turns with the smallest and largest turn beside them; ``expected`` is what the
queue's simulation gives or what is aimed at. Whatever is compared takes turns, each beside its neighbour, the first
turn of each not counted; a ratio is made turn by turn. A 99th percentile of a few hundred frames is its third or fourth
largest: it is that of the machine, too, so let it be idle, use ``--seconds 20`` for numbers that are to be told, and
compare ratios, not milliseconds, between machines. ``cores`` are those that the process may use: on a single one,
capture, outputs and inference stand in each other's way by the system's scheduling, and a second is needed to see what
the loop itself does. What a real camera, its driver and its bus take is not in here.

Appends a line per measurement to ``benchmarks/results/live.jsonl``; a later run goes on behind them (``--again``
repeats them). The default takes about six minutes; with a bundle a minute more.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import live_outputs
import numpy as np
from clips import drawn_video, first_frames
from live_case import SPEC, Figures, PlainOutput, TimedFinder, figure, jittered, latest_wins, played, predictor_of
from live_case import ten_rules as rules_for
from live_replay import replayed, timed_finder
from record import lines, measured_here, record
from sentences import in_sentences
from turns import in_own_process, table, take_turns

from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.finding.pose_finder import Found
from rigpose.live.sources.simulated import SimulatedCamera
from rigpose.live.status import RunStatus
from rigpose.load import BundleAnalyzer, load
from rigpose.poses import Poses

NAME = "live"
HEADER = ("case", "what", "figure", "median", "min", "max", "expected", "cores")
Measurement: TypeAlias = tuple[dict[str, Any], Callable[[], Figures]]
"""What tells a measurement from others, and the measurement."""

PACES = ((0.01, 0.009), (0.01, 0.012), (0.01, 0.015), (0.01, 0.025), (1 / 30, 0.04))
"""From frame to frame, and of the model [s]."""
CAMERA = "camera"
MEMORY_FROM = 2_000
ANIMALS, KEYPOINTS = 20, 40
PREDICTIONS = 1_000
"""Frames of a turn."""


def main() -> None:
    """Measure, print, and append to the results."""
    options = _arguments()
    for name in () if options.markdown else options.only:
        for what, measure in CASES[name](options):
            case = {"case": name, **what, "cores": sorted(os.sched_getaffinity(0))}
            if not options.again and measured_here(NAME, case):
                print(f"{name}, {what['what']}: measured already (--again repeats it)")
                continue
            line = {**case, "figures": measure()}
            record(NAME, line)
            for row in rows(line):
                print(" | ".join("" if cell is None else str(cell) for cell in row), flush=True)
    print(table(HEADER, [row for line in newest(lines(NAME)) for row in rows(line)]))


def queue(options: argparse.Namespace) -> Iterator[Measurement]:
    """Ages and superseded frames at known paces."""
    for period, seconds in PACES:
        # The slower camera gets more time, so that its percentiles are of enough frames.
        length = options.seconds * (1.5 if period < 0.02 else 3)
        what = f"a frame every {1000 * period:.3g} ms, model of {1000 * seconds:g} ms"
        yield _about(options, what, seconds=length), partial(_queue, period, seconds, length, options.repeats)


def _queue(period: float, seconds: float, length: float, repeats: int) -> Figures:
    draw = jittered(seconds, seed=0)
    ages, superseded = latest_wins(period, [draw() for _ in range(100_000)])
    seeds = iter(range(1, repeats + 2))

    def turn() -> tuple[RunStatus, float]:
        timed = TimedFinder.exact(jittered(seconds, next(seeds)))
        camera = SimulatedCamera(CAMERA, frames_per_second=1 / period, seconds=length)
        status = played(timed, [camera], timed.session_time, outputs=[PlainOutput()])
        measured = [took / 1000 for took in timed.found[CAMERA]]
        return status, 1000 * float(np.median(latest_wins(period, measured)[0]))

    turns = take_turns({"": turn}, repeats)[""]
    found = [status for status, _ in turns]
    counts = [status.cameras[CAMERA] for status in found]
    passed_over = [(c.superseded + c.dropped_by_device) / (c.captured + c.dropped_by_device) for c in counts]
    p50, p99 = 1000 * np.percentile(ages, (50, 99))
    return {
        "age p50 [ms]": figure([status.stages["age"].p50 for status in found], round(p50, 1)),
        "age p99 [ms]": figure([status.stages["age"].p99 for status in found], round(p99, 1)),
        # The queue alone with the durations that this very turn had, whatever made them longer than they should be.
        "age p50, over the queue's": figure([status.stages["age"].p50 / alone for status, alone in turns], 1),
        "model p50 [ms]": figure([status.stages["sessions"].p50 for status in found], 1000 * seconds),
        "superseded [%]": figure([100 * part for part in passed_over], round(100 * superseded, 1)),
    }


def overhead(options: argparse.Namespace) -> Iterator[Measurement]:
    """What the software adds, with and without rules and prediction."""
    ways = ("poses alone", "10 rules", "prediction", "rules and prediction")
    yield _about(options, "graph of 5 ms"), partial(_overhead, options, ways, lambda: TimedFinder.exact(lambda: 0.005))
    if options.bundle is None:
        print("overhead with a real network: left out; give --bundle")
        return
    timed = timed_finder(_loaded(options))
    what = _about(options, options.bundle.resolve().name, threads=options.threads)
    yield what, partial(_overhead, options, ways[:1], lambda: timed)


def _overhead(options: argparse.Namespace, ways: Sequence[str], finder: Callable[[], TimedFinder]) -> Figures:
    def turn(way: str) -> RunStatus:
        timed = finder()
        timed.forget(CAMERA)
        return played(
            timed,
            [SimulatedCamera(CAMERA, seconds=options.seconds)],
            timed.session_time,
            outputs=[PlainOutput()],
            triggers=rules_for(CAMERA) if "rules" in way else None,
            predictor=predictor_of(SPEC.keypoints) if "prediction" in way else None,
        )

    figures: Figures = {}
    for way, found in take_turns({way: partial(turn, way) for way in ways}, options.repeats).items():
        stages = [status.stages for status in found]
        figures |= {
            f"{way}: overhead p50 [ms]": figure([s["overhead"].p50 for s in stages], "at most 1"),
            f"{way}: overhead p99 [ms]": figure([s["overhead"].p99 for s in stages], "at most 3"),
            f"{way}: judging p50 [ms]": figure([s["judging"].p50 for s in stages]),
            f"{way}: judging p99 [ms]": figure([s["judging"].p99 for s in stages]),
            f"{way}: frames of a turn": figure([s["overhead"].count for s in stages]),
        }
    return figures


def outputs(options: argparse.Namespace) -> Iterator[Measurement]:
    """What one bad output, a recording, browsers or a dead camera do to inference."""
    for what in live_outputs.DISTURBANCES:
        yield _about(options, what), partial(_disturbance, what, options)


def _disturbance(what: str, options: argparse.Namespace) -> Figures:
    contestants = {
        with_it: partial(live_outputs.turn, what, options.seconds, disturbed=with_it) for with_it in (False, True)
    }
    turns = take_turns(contestants, options.repeats)
    without, with_it = turns[False], turns[True]

    def of_all(name: str) -> float:
        """99th percentile with, over that without, of all turns' frames together."""
        both = [np.concatenate([getattr(turn, name) for turn in side]) for side in (with_it, without)]
        return float(np.percentile(both[0], 99) / np.percentile(both[1], 99))

    return {
        "inference p99 without [ms]": figure([turn.found_p99 for turn in without]),
        "inference p99 with [ms]": figure([turn.found_p99 for turn in with_it]),
        "inference p99, ratio": figure(
            [a.found_p99 / b.found_p99 for a, b in zip(with_it, without, strict=True)], "at most 1.1"
        ),
        "inference p99, ratio of all frames": figure([of_all("found")], "at most 1.1"),
        "overhead p99 without [ms]": figure([turn.overhead_p99 for turn in without]),
        "overhead p99 with [ms]": figure([turn.overhead_p99 for turn in with_it]),
        "age p99, ratio": figure([a.age_p99 / b.age_p99 for a, b in zip(with_it, without, strict=True)]),
        "frames of a turn": figure([len(turn.found) for turn in with_it]),
    }


def memory(options: argparse.Namespace) -> Iterator[Measurement]:
    """What grows."""
    if options.frames < 2 * MEMORY_FROM:
        raise SystemExit(f"--frames {options.frames}: growth is from frame {MEMORY_FROM} on; give twice that or more.")
    for what, traced in (("allocated", True), ("resident", False)):
        shown = f"{what}, frames {MEMORY_FROM} to {options.frames}"
        yield {"what": shown}, partial(_memory, {"from": MEMORY_FROM, "frames": options.frames, "traced": traced})


def _memory(case: Mapping[str, Any]) -> Figures:
    script = str(Path(__file__).with_name("live_memory.py"))
    found = [in_own_process(script, case) for _ in range(2)]
    if failed := [facts["reason"] for facts in found if "reason" in facts]:
        raise SystemExit(f"memory: {failed[0]}")
    figures = {
        "grown [kB]": figure([facts["grown"] / 1e3 for facts in found], "at most 50" if case["traced"] else None),
        "largest, grown [kB]": figure([facts["peak_grown"] / 1e3 for facts in found]),
        "at the end [MB]": figure([facts["at_the_end"] / 1e6 for facts in found]),
    }
    if case["traced"]:  # which is to be told apart from one small object per frame
        frames = case["frames"] - case["from"]
        figures["grown per frame [B]"] = figure([facts["grown"] / frames for facts in found], "below 16")
    return figures


def end_to_end(options: argparse.Namespace) -> Iterator[Measurement]:
    """A real network on a video that is played."""
    if options.bundle is None:
        print("end_to_end: left out; give --bundle, and --video where the bundle should see something that it knows")
        return
    video = options.video or drawn_video(options.cache, height=480, width=640, frames=options.clip, animals=1)
    clip = first_frames(video, options.clip, options.cache)
    what = f"{options.bundle.resolve().name} on {clip.name}, {options.speed:g} times as fast"
    yield _about(options, what, seconds=None, threads=options.threads), partial(_replayed, options, clip)


def _replayed(options: argparse.Namespace, clip: Path) -> Figures:
    return replayed(_loaded(options), clip, speed=options.speed, repeats=options.repeats)


def prediction(options: argparse.Namespace) -> Iterator[Measurement]:
    """What a frame of many animals takes."""
    what = f"{ANIMALS} animals of {KEYPOINTS} keypoints"
    yield {"what": what, "repeats": options.repeats}, partial(_prediction, options.repeats)


def _prediction(repeats: int) -> Figures:
    places = np.random.default_rng(0).normal(200, 1, (64, ANIMALS, KEYPOINTS, 2)).astype(np.float32)
    score, ids = np.full((ANIMALS, KEYPOINTS), 0.9, np.float32), np.arange(ANIMALS)
    founds = [Found(Poses(xy, score), ids, "whole", lost=False) for xy in places]
    image = np.zeros((2, 2, 3), np.uint8)

    def turn() -> np.ndarray:
        predictor = predictor_of([f"k{k}" for k in range(KEYPOINTS)])
        seconds = np.empty(PREDICTIONS)
        for i in range(PREDICTIONS):
            frame, found = CapturedFrame(CAMERA, i, image, 0.01 * i, 0.01 * i), founds[i % len(founds)]
            begun = time.perf_counter()
            predictor.predict(frame, found)
            seconds[i] = time.perf_counter() - begun
        return 1000 * seconds

    turns = take_turns({"": turn}, repeats)[""]
    return {
        "a frame, p50 [ms]": figure([float(np.percentile(turn, 50)) for turn in turns], "at most 0.1"),
        "a frame, p99 [ms]": figure([float(np.percentile(turn, 99)) for turn in turns]),
    }


CASES: Mapping[str, Callable[[argparse.Namespace], Iterator[Measurement]]] = {
    "queue": queue,
    "overhead": overhead,
    "outputs": outputs,
    "memory": memory,
    "end_to_end": end_to_end,
    "prediction": prediction,
}


def rows(line: Mapping[str, Any]) -> list[list[Any]]:
    """A row for each figure of a line."""
    cores = " ".join(map(str, line["cores"]))
    made = []
    for name, told in line["figures"].items():
        turns = told["turns"]
        spread = [float(median(turns)), float(min(turns)), float(max(turns))]
        made.append([line["case"], line["what"], name, *spread, told["expected"], cores])
    return made


def newest(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The newest line of every measurement."""
    return [*{(line["case"], line["what"], *line["cores"]): line for line in found}.values()]


def _about(options: argparse.Namespace, what: str, **more: Any) -> dict[str, Any]:
    return {"what": what, "seconds": options.seconds, "repeats": options.repeats, **more}


def _loaded(options: argparse.Namespace) -> BundleAnalyzer:
    return load(options.bundle, device=options.device, threads=options.threads, backend=options.backend)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help="default: all")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="turns that count (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=10_000, help="of the memory case (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, help="a real network, for overhead and end_to_end")
    parser.add_argument("--device", default="cpu", help="of its sessions (default: %(default)s)")
    parser.add_argument("--backend", default="onnxruntime", help="default: %(default)s")
    parser.add_argument(
        "--threads", type=int, default=1, help="of each of its sessions (default: %(default)s, which leaves the others)"
    )
    parser.add_argument("--video", type=Path, help="that is played (default: a drawn one)")
    parser.add_argument("--clip", type=int, default=150, help="frames of it (default: %(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="of playing (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rigpose-benchmarks", help="for clips")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    return parser.parse_args()


if __name__ == "__main__":
    in_sentences(main)
