"""The scaling model as a page and figures: ``cluster_page.py`` writes ``results/cluster_model.md``.

Made of the newest lines of ``cluster.jsonl`` (a video's stages) and of ``architectures.jsonl`` (networks on a core).
The figures are ``figures/cluster-VIDEO.png``. ``cluster_model.py`` derives the model.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster_model import (
    DRIVER_LINK,
    GIGABIT,
    GPU_RATES,
    SEGMENT,
    SERVERS,
    Site,
    Stages,
    gpus,
    kept_rate,
    knee,
    nodes,
    tail,
)
from record import RESULTS, lines
from turns import table

NAME = "cluster"
FILE = "cluster_model.md"
INTRODUCTION = f"""\
Made by `benchmarks/cluster_page.py` from the newest lines of [cluster.jsonl](cluster.jsonl) and
[architectures.jsonl](architectures.jsonl); [cluster_model.py](../cluster_model.py) derives it. **Measured**: what a
frame takes on one core. **Assumed**: rates of GPUs, cores per device, file servers, {DRIVER_LINK} Gbit/s to the driver.
Segments of {SEGMENT} frames.
"""
KNEE = """\
Before the knee every device counts in full, behind it none does. A device's own rate is what its network or the cores
beside it (named in brackets) and its segments leave. The driver's limit is that of long videos; it also opens each
video, some 10 ms.
"""
SEGMENTS = """\
Kept: what the cores beside the GPU and segments of that length leave of its network's rate. Busy: what 16 devices do
until the last segment of a job of so many frames ends, over what they could have done.
"""


def measured(found: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Of every video the newest line of stages."""
    return {line["video"]: line for line in found if "stages" in line}


def markdown(found: Sequence[Mapping[str, Any]], architectures: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    made = measured(found)
    parts = [
        "# How far an analysis on a cluster scales, on paper\n",
        INTRODUCTION,
        "## What a frame takes (measured)\n",
        stages_table(made),
        "\n## How many devices one file server feeds (the knee), and what is full there\n",
        KNEE,
        knee_table(made, architectures),
        "\n## Cores that one GPU needs, so that decoding, grouping and tables keep up with it\n",
        cores_table(made),
        f"\n## What segments and the end of a job cost (GPU of {GPU_RATES[2]} frames/s)\n",
        SEGMENTS,
        segment_table(made),
        "",
    ]
    return "\n".join(parts)


def stages_table(made: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per video."""
    header = (
        "video", "model", "read r [kB]", "decode d [ms]", "group h [ms]", "result q [B]", "merge m [us]",
        "tables t [ms]", "written w [B]", "seek s [ms]", "gap g [ms]", "machine",
    )  # fmt: skip
    rows = []
    for name, line in made.items():
        found = Stages.of(line)
        rows.append(
            [
                f"{name} ({line['width']}x{line['height']}, {line['codec']})", line["bundle"], found.read / 1e3,
                1e3 * found.decode, 1e3 * found.group, round(found.result), 1e6 * found.merge, 1e3 * found.tables,
                round(found.written), 1e3 * found.seek, 1e3 * found.gap, line["machine"],
            ]
        )  # fmt: skip
    return table(header, rows)


def knee_table(made: Mapping[str, Mapping[str, Any]], architectures: Sequence[Mapping[str, Any]]) -> str:
    """One row per video and device, a column per file server."""
    header = ("video", "device", "its own rate [frames/s]", *(f"{server} Gbit/s" for server in SERVERS))
    rows = []
    for name, line in made.items():
        found = Stages.of(line)
        for device in [*gpus(), *nodes(architectures, line["height"], line["width"])]:
            at = [knee(found, device, Site(server * GIGABIT)) for server in SERVERS]
            own = f"{kept_rate(found, device, Site(GIGABIT)):.4g} ({device.limit(found)})"
            rows.append([name, device.name, own, *(f"{whole(k.devices)} ({k.limit})" for k in at)])
    return table(header, rows)


def cores_table(made: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per video, a column per GPU."""
    rows = []
    for name, line in made.items():
        found = Stages.of(line)
        each = found.decode + found.group + found.tables
        rows.append([name, *(f"{rate * each:.2g}" for rate in GPU_RATES)])
    return table(("video", *(f"{rate} frames/s" for rate in GPU_RATES)), rows)


def segment_table(made: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per length."""
    found = [Stages.of(line) for line in made.values()]
    device = gpus()[2]
    rows = []
    for length in (200, 500, 2000, 10_000):
        kept = [
            f"{kept_rate(stages, device, Site(GIGABIT, segment=length)) * device.inference:.3f}" for stages in found
        ]
        busy = [f"{tail(frames, 16, length):.2f}" for frames in (10**5, 10**6, 10**7)]
        rows.append([length, *kept, *busy])
    header = ("segment [frames]", *(f"kept, {name}" for name in made), "busy, 1e5 frames", "1e6 frames", "1e7 frames")
    return table(header, rows)


def whole(devices: float) -> str:
    """Devices for people: what is left of one device counts for nothing, except where it is all there is."""
    # Rounding first, for what should be 125 may be a hair less.
    return f"{math.floor(round(devices, 6))}" if devices >= 1 else f"{devices:.2f}"


def main() -> None:
    """Write and print the page, and draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / FILE, help="default: %(default)s")
    parser.add_argument("--figures", type=Path, default=Path(__file__).parent / "figures", help="default: %(default)s")
    options = parser.parse_args()
    found = lines(NAME)
    if not measured(found):
        raise SystemExit(f"{RESULTS / NAME}.jsonl: no measured stages yet; run benchmarks/cluster.py first.")
    page = markdown(found, lines("architectures"))
    options.out.write_text(page, encoding="utf-8")
    print(page)
    print(f"wrote {options.out}")
    from cluster_figure import draw

    options.figures.mkdir(parents=True, exist_ok=True)
    for path in draw(measured(found), options.figures):
        print(f"drew {path}")


if __name__ == "__main__":
    main()
