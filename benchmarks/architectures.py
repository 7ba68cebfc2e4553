"""Every architecture in every precision, backend and batch: how fast, how late, how large. Three scopes, never mixed.

    PYTHONPATH=tests python benchmarks/architectures.py --only "resnet_50 single" --precisions fp32 int8 --batches 1 8

- forward: the network alone, from its frames to its maps; the graph is cut where the maps leave it;
- graph: the same with the decoding of the maps, as it is shipped; of a pair, detector and pose network, without crops;
  of a conditional network, it and the bottom-up one before it, without crops;
- end to end: rigpose's whole analysis of an encoded video, from opening it to the last result file.

Each case runs in a process of its own: memory is its own, and a crash is a line, too. Within it the scopes take turns.
Weights are random and frames are drawn (``random_bundles.py`` says what is done so that the decoding has little to do,
as with a few animals); nothing here says anything about accuracy. Bundles are made once and kept in ``--cache``, 1 to 3
minutes each. Every case is a line in ``benchmarks/results/architectures.jsonl`` at once, and a later run goes on behind
those that this machine has measured at this commit.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from clips import drawn_video
from record import lines, machine, measured_here, record
from sentences import in_sentences
from turns import in_own_process, table

from rigpose.bundles.bundle import Bundle, Role
from rigpose.errors import ConfigError
from rigpose.sessions.backends import Backend

NAME = "architectures"
CASE = str(Path(__file__).with_name("architecture_case.py"))
CLIP = 160
"""Frames of the drawn video."""
WAYS = {
    "fp32": ("onnxruntime", "openvino"),
    "bf16": ("openvino",),
    "int8": ("onnxruntime", "openvino"),
}
"""On a CPU; on a GPU, ``--backends`` and ``--precisions`` name others."""
HEADER = (
    "architecture", "precision", "backend", "batch", "scope", "frames/s", "p50 [ms]", "p90 [ms]", "p99 [ms]",
    "processor ms per frame", "MB",
    "load [s]", "on", "machine",
)  # fmt: skip


def main() -> None:
    """Measure what is asked for, or print the table."""
    options = _arguments()
    if options.markdown:
        print(markdown())
    else:
        run_all(options)


def run_all(options: argparse.Namespace) -> None:
    """All cases that are not there yet."""
    from random_bundles import asked_for, random_bundle, told_by

    height, width = options.size
    for entry in asked_for(options.only):
        for precision, batch in itertools.product(options.precisions, options.batches):
            for backend in options.backends or WAYS.get(precision, ("onnxruntime",)):
                case = {
                    "architecture": entry.name, "precision": precision, "backend": backend, "batch": batch,
                    "height": height, "width": width, "threads": options.threads, "device": options.device,
                    "detector": options.detector if entry.task == "top-down" else None,
                }  # fmt: skip
                if not options.again and measured_here(NAME, case):
                    print(
                        f"{entry.name}, {precision} by {backend}, batch {batch}: measured already (--again repeats it)"
                    )
                    continue
                bundle = random_bundle(entry, options.cache, detector=options.detector)
                video = drawn_video(options.cache, height=height, width=width, frames=CLIP)
                before = told_by(entry)
                conditions = None if before is None else random_bundle(before, options.cache, detector="")
                told = {
                    **case, "bundle": str(bundle), "conditions": None if conditions is None else str(conditions),
                    "video": str(video), "networks": networks(bundle, conditions, case),
                    "repeats": options.repeats, "seconds": options.seconds,
                }  # fmt: skip
                facts = in_own_process(CASE, told)
                record(NAME, {**case, "weights": "random", "frames_from": "drawn", **facts})
                told_of = rows({**case, **facts, "machine": machine()})
                print("\n".join(" | ".join(map(_text, row)) for row in told_of), flush=True)


def networks(folder: Path, conditions: Path | None, case: Mapping[str, Any]) -> dict[str, str]:
    """The file of each network without its decoding, by what it does; nothing where one cannot be cut."""
    from random_bundles import network_file

    bundle = Bundle.open(folder)
    wanted: list[tuple[str, Bundle, Role]] = [(role, bundle, role) for role in bundle.manifest.roles]
    if conditions is not None:
        wanted.append(("conditions", Bundle.open(conditions), "pose"))
    precision = cast("Any", "fp32" if case["precision"] == "bf16" else case["precision"])
    found = {}
    for name, bundle, role in wanted:
        try:
            graph = bundle.manifest.graph(role, precision=precision, backend=Backend(case["backend"]).graphs)
        except ConfigError:  # the case says so itself
            return {}
        file = network_file(bundle, graph.file)
        if file is None:
            return {}
        found[name] = str(file)
    return found


def rows(line: Mapping[str, Any]) -> list[list[Any]]:
    """A row for each scope of a line."""
    first = [line[key] for key in ("architecture", "precision", "backend", "batch")]
    if "reason" in line:
        return [[*first, line["reason"], *[None] * 8, line["machine"]]]
    last = [round((line["peak_bytes"] or 0) / 1e6), line["load_seconds"], line["placement"], line["machine"]]
    made = []
    for scope in ("forward", "graph", "end_to_end"):
        if scope in line:
            spread = line[scope].get("batch_ms", {})
            values = [*(spread.get(key) for key in ("p50", "p90", "p99")), line[scope].get("cpu_ms_per_frame")]
            made.append([*first, scope.replace("_", " "), line[scope]["frames_per_second"], *values, *last])
    return made


def markdown() -> str:
    """The newest line of every case on every machine."""
    keys = ("architecture", "precision", "backend", "batch", "height", "width", "threads", "device", "machine")
    newest = {tuple(line[key] for key in keys): line for line in lines(NAME)}
    return table(HEADER, [row for line in newest.values() for row in rows(line)])


def _text(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "" if value is None else str(value)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help='such as "resnet_50 single"; default: all'
    )
    parser.add_argument("--precisions", nargs="+", default=list(WAYS), help="default: %(default)s")
    parser.add_argument("--backends", nargs="+", help="default: on a CPU, all that have the precision")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8], help="default: %(default)s")
    parser.add_argument("--size", nargs=2, type=int, default=[480, 640], metavar=("H", "W"), help="of the frames [px]")
    parser.add_argument(
        "--detector", default="fasterrcnn_mobilenet_v3_large_fpn", help="of pairs (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="of each session; default: all cores")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each scope (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of one turn of all scopes (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rigpose-benchmarks", help="for bundles")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    return parser.parse_args()


if __name__ == "__main__":
    in_sentences(main)
