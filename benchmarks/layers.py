"""Where the time of a bundle's graphs goes in OpenVINO: by kind of layer, in integers or in floating point.

    python benchmarks/layers.py my.bundle --video cage.mp4

Each graph is asked what the analysis of the video's first frame asks it, one crop at a time, and OpenVINO takes the
time of every layer by the clock: do it on an idle machine. A layer counts with its median. What is faster in another
precision, and what is not, is why a network gains more or less by it than another.

The kinds are OpenVINO's own: a ``Subgraph`` is arithmetic on single numbers, sums of blocks and rounding to integers;
``Reorder`` and ``Transpose`` bring maps into another order in memory. Prints the table of all lines so far, and appends
one for each way to ``benchmarks/results/layers.jsonl``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from architecture_case import Asked
from record import lines, record
from sentences import in_sentences
from turns import table
from ways import each_way

from rigpose.arrays import Array
from rigpose.bundles.bundle import Bundle
from rigpose.sessions.openvino import OpenVinoSession

NAME = "layers"
WAYS = ("openvino fp32", "openvino bf16", "openvino int8")
HEADER = ("bundle", "graph", "way", "layers", "computed in", "count", "ms", "of all", "machine")
SMALL = 0.01
"""Kinds that take less of the whole than this are told together."""


class TimedSession(OpenVinoSession):
    """A session that takes the time of its layers."""

    def _compile(self, batch: int, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Any:
        self._options["PERF_COUNT"] = True
        self._request = super()._compile(batch, shapes)
        return self._request

    def layers(self) -> dict[tuple[str, str, str], float]:
        """Milliseconds of the last run, by the kind of a layer, what it computed in and its name."""
        return {
            (layer.node_type, layer.exec_type.rsplit("_", 1)[-1], layer.node_name): 1000 * seconds
            for layer in self._request.profiling_info
            if (seconds := layer.real_time.total_seconds())
        }


def main() -> None:
    """Measure what is asked for, and print the table."""
    options = _arguments()
    if not options.markdown:
        for line in measure(options):
            record(NAME, line)
    print(table(HEADER, [row for line in newest() for row in rows(line)]))


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A line for every way that the bundle and this machine have."""
    bundle = Bundle.open(options.bundle)
    loaded, refused = each_way(bundle, options.ways, options.threads, conditions=options.conditions)
    for way, reason in refused.items():
        print(f"{way} is left out: {reason}")
    made = []
    for way, analyzer in loaded.items():
        asked = Asked(analyzer, options.video, batch=1)
        precision: Any = way.split()[1]
        roles: Any = sorted(asked.sessions.keys() - {"conditions"})
        graphs = {}
        for role in roles:
            graph = bundle.manifest.graph(role, precision="int8" if precision == "int8" else "fp32", backend="openvino")
            session = TimedSession(bundle.file(graph.file), threads=options.threads, precision=precision)
            graphs[role] = timed(session, asked.inputs[role], options.runs)
        height, width = asked.size
        made.append({
            "bundle": bundle.path.name, "checksum": bundle.checksum, "architecture": analyzer.spec.architecture,
            "way": way, "height": height, "width": width, "threads": options.threads, "runs": options.runs,
            "graphs": graphs,
        })  # fmt: skip
    return made


def timed(session: TimedSession, asked: Sequence[Mapping[str, Array]], runs: int) -> list[dict[str, Any]]:
    """The kinds of layers, the longest first, with how many there are and what they take for a frame [ms]."""
    # One by one: a batch may be cut into several graphs, and only the last would be seen.
    alone = [
        {name: array[index : index + 1] for name, array in inputs.items()}
        for inputs in asked
        for index in range(len(next(iter(inputs.values()))))
    ]
    each: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for run in range(runs + 1):
        spent: dict[tuple[str, str, str], float] = defaultdict(float)
        for inputs in alone:
            session.run(inputs)
            for layer, milliseconds in session.layers().items():
                spent[layer] += milliseconds
        # The first run warms up.
        for layer, milliseconds in spent.items() if run else ():
            each[layer].append(milliseconds)
    kinds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for (kind, computed_in, _), milliseconds in each.items():
        kinds[kind, computed_in].append(median(milliseconds))
    found = [
        {"layers": kind, "computed_in": computed_in, "count": len(every), "ms": round(sum(every), 3)}
        for (kind, computed_in), every in kinds.items()
    ]
    return sorted(found, key=lambda entry: -entry["ms"])


def newest() -> list[dict[str, Any]]:
    """The newest line of each bundle, size, way and machine."""
    keys = ("bundle", "height", "width", "threads", "way", "machine")
    return [*{tuple(line[key] for key in keys): line for line in lines(NAME)}.values()]


def rows(line: dict[str, Any]) -> list[list[Any]]:
    """A row for each kind of layer of a line, and one for the small ones of each graph."""
    made = []
    for role, kinds in line["graphs"].items():
        whole = sum(kind["ms"] for kind in kinds)
        small = [kind for kind in kinds if kind["ms"] < SMALL * whole]
        others = {"layers": "others", "computed_in": None}
        told = [kind for kind in kinds if kind not in small]
        told.append({**others, **{key: sum(kind[key] for kind in small) for key in ("count", "ms")}})
        made += [
            [
                line["bundle"], role, line["way"], kind["layers"], kind["computed_in"], kind["count"], kind["ms"],
                f"{kind['ms'] / whole:.0%}", line["machine"],
            ]
            for kind in told
        ]  # fmt: skip
    return made


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE")
    parser.add_argument("--video", type=Path, help="whose first frame the graphs are asked about")
    parser.add_argument("--conditions", type=Path, metavar="BUNDLE", help="of the bottom-up model before it")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="WAY", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="that count (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of each session (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    options = parser.parse_args()
    if not options.markdown and not (options.bundle and options.video):
        parser.error("give a BUNDLE and its --video, or --markdown")
    return options


if __name__ == "__main__":
    in_sentences(main)
