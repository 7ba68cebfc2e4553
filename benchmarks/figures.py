"""Figures of what was measured, drawn again from ``benchmarks/results/*.jsonl``: ``figures.py [--only NAME...]``.

What has no results yet is left out and named. Colours are Okabe and Ito's, which people with any colour vision can tell
apart, and markers differ, too; every axis has its unit. Of every case the newest line is drawn; the rates of
``architectures`` are those of the newest machine alone, and ``zoo_peers`` has a panel for each.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from record import RESULTS, lines, processor

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

Lines = Sequence[Mapping[str, Any]]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = "osD^vP*X"
DPI = 150


def main() -> None:
    """Draw all that has results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*FIGURES], default=[*FIGURES])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures", help="default: %(default)s")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        found = lines(name)
        if not found:
            print(f"{name}: nothing in {RESULTS / name}.jsonl yet")
            continue
        for path in FIGURES[name](found, options.out):
            print(f"drew {path}")


def draw_architectures(found: Lines, out: Path) -> list[Path]:
    """Frames per second per architecture; one panel per scope, one marker per way to run it."""
    found = [line for line in of_newest_machine(found) if "reason" not in line]
    made = []
    for batch in sorted({line["batch"] for line in found}):
        some = [line for line in found if line["batch"] == batch]
        names = by_task(line["architecture"] for line in some)
        ways = list(dict.fromkeys(f"{line['backend']} {line['precision']}" for line in some))
        figure, panels = plt.subplots(1, 3, figsize=(12, 2 + 0.35 * len(names)), sharey=True, layout="constrained")
        for panel, (scope, title) in zip(panels, SCOPES.items(), strict=True):
            for i, way in enumerate(ways):
                points = [
                    (line[scope]["frames_per_second"], names.index(line["architecture"]))
                    for line in some
                    if f"{line['backend']} {line['precision']}" == way and scope in line
                ]
                if points:
                    panel.plot(*zip(*points, strict=True), **look(i), linestyle="none", label=way)
            panel.set(xscale="log", xlabel="frames per second", title=title, ylim=(len(names) - 0.5, -0.5))
            plain(panel.xaxis)
            panel.grid(visible=True, alpha=0.3, which="both")
        panels[0].set_yticks(range(len(names)), names)
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(ways))
        size = f"{some[0]['width']}x{some[0]['height']}"
        figure.suptitle(f"{size} frames, batch {batch}, random weights, {some[-1]['machine']}")
        made.append(saved(figure, out / f"architectures-batch{batch}.png"))
    return made


SCOPES = {"forward": "network alone", "graph": "with decoding of maps", "end_to_end": "end to end, from a video"}


def draw_peers(found: Lines, out: Path) -> list[Path]:
    """How many times as fast as DeepLabCut, from the slowest turn to the fastest."""
    newest = {(line["bundle"], line["threads"], line["batch"], processor(line)): line for line in found}
    made = []
    for scope, against in {"video": "DeepLabCut 3's analyze_videos", "live": "DeepLabCut-Live"}.items():
        some = [line for line in newest.values() if scope in line["scopes"]]
        if not some:
            continue
        entries = {
            f"{line['bundle']}\n{processor(line)}, {line['threads']} thread{'s' * (line['threads'] != 1)}": {
                way: line["scopes"][scope][way]["times_as_fast"] for way in line["ways"]
            }
            for line in some
        }
        made.append(saved(ratios(entries, against), out / f"peers-{scope}.png"))
    return made


def draw_zoo_peers(found: Lines, out: Path) -> list[Path]:
    """The same for every architecture, with random weights; a panel for each machine."""
    # A run may have measured some of the ways only.
    newest: dict[tuple[str, str], dict[str, Mapping[str, float]]] = defaultdict(dict)
    for line in found:
        newest[line["machine"], line["architecture"]] |= _times_as_fast(line)
    machines = list(dict.fromkeys(machine for machine, _ in newest))
    names = by_task(name for _, name in newest)
    ways = list(dict.fromkeys(way for line in found for way in line["ways"]))
    size = (3 + 5 * len(machines), 2 + 0.45 * len(names))
    figure, panels = plt.subplots(1, len(machines), figsize=size, sharex=True, sharey=True, squeeze=False)
    figure.set_layout_engine("constrained")
    for panel, machine in zip(panels[0], machines, strict=True):
        entries = {name: newest.get((machine, name), {}) for name in names}
        draw_ratios(panel, entries, ways, "DeepLabCut 3's video_inference")
        panel.set_title(machine)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(ways))
    some = found[-1]
    figure.suptitle(f"{some['width']}x{some['height']} frames, random weights, {some['threads']} thread")
    return [saved(figure, out / "zoo_peers.png")]


def _times_as_fast(line: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    return {way: side["times_as_fast"] for way, side in line["sides"].items() if way in line["ways"]}


def ratios(entries: Mapping[str, Mapping[str, Mapping[str, float]]], against: str) -> Any:
    """A figure of entry -> way -> how many times as fast, from the slowest turn to the fastest."""
    ways = list(dict.fromkeys(way for fast in entries.values() for way in fast))
    figure, panel = plt.subplots(figsize=(8, 1.5 + 0.45 * len(entries)), layout="constrained")
    draw_ratios(panel, entries, ways, against)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def draw_ratios(
    panel: Any, entries: Mapping[str, Mapping[str, Mapping[str, float]]], ways: Sequence[str], against: str
) -> None:
    """A row for each entry, a marker for each way that it has."""
    for i, way in enumerate(ways):
        for j, sides in enumerate(entries.values()):
            if way not in sides:
                continue
            fast = sides[way]
            bars = [[fast["median"] - fast["min"]], [fast["max"] - fast["median"]]]
            place = j + 0.6 * ((i + 0.5) / len(ways) - 0.5)
            panel.errorbar(fast["median"], place, xerr=bars, capsize=3, **look(i), linestyle="none")
        panel.plot([], [], **look(i), linestyle="none", label=way)
    panel.axvline(1, color="black", linewidth=1)
    panel.set_ylim(len(entries) - 0.5, -0.5)
    panel.set(xscale="log", xlabel=f"times as fast as {against}\n(median; from the slowest to the fastest turn)")
    panel.set_yticks(range(len(entries)), list(entries))
    plain(panel.xaxis)
    panel.grid(visible=True, axis="x", alpha=0.3, which="both")


def by_task(names: Iterable[str]) -> list[str]:
    """Names such as ``hrnet_w18 single``, each once, those of one task together."""
    return sorted(set(names), key=lambda name: (name.split()[-1], name))


def draw_decode(found: Lines, out: Path) -> list[Path]:
    """Milliseconds of grouping against animals."""
    newest = {(line["scene"], line["edges"], line["animals"]): line for line in found}.values()
    kinds = sorted({(line["scene"], line["edges"]) for line in newest})
    figure, panel = plt.subplots(figsize=(8, 5), layout="constrained")
    for i, (scene, edges) in enumerate(kinds):
        some = sorted(
            (line for line in newest if (line["scene"], line["edges"]) == (scene, edges)), key=lambda e: e["animals"]
        )
        for side, style in (("rigpose", "-"), ("deeplabcut", ":")):
            points = [(line["animals"], statistics.median(line[side]["cpu_ms"])) for line in some if side in line]
            if points:
                panel.plot(
                    *zip(*points, strict=True), **look(i), linestyle=style, label=f"{side}: {scene}, {edges} graph"
                )
    panel.set(xscale="log", yscale="log", xlabel="animals in the frame", ylabel="processor time per frame [ms]")
    plain(panel.xaxis)
    plain(panel.yaxis)
    panel.set_title("Grouping alone, one thread, the same candidates")
    panel.grid(visible=True, alpha=0.3, which="both")
    panel.legend(fontsize=8)
    return [saved(figure, out / "decode.png")]


def draw_scaling(found: Lines, out: Path) -> list[Path]:
    """One panel per sweep, two lines per bundle: time by the clock, and on the processor."""
    newest = {(line["bundle"], line["sweep"], line["precision"], line["value"]): line for line in found}.values()
    newest = [line for line in newest if "reason" not in line]
    sweeps = [sweep for sweep in AXES if any(line["sweep"] == sweep for line in newest)]
    bundles = list(dict.fromkeys((line["bundle"], line["precision"]) for line in newest))
    figure, panels = plt.subplots(1, len(sweeps), figsize=(4 * len(sweeps), 4), squeeze=False, layout="constrained")
    for panel, sweep in zip(panels[0], sweeps, strict=True):
        for i, bundle in enumerate(bundles):
            some = [line for line in newest if line["sweep"] == sweep and (line["bundle"], line["precision"]) == bundle]
            clock = sorted((line["value"], 1000 / statistics.median(line["frames_per_second"])) for line in some)
            processor = sorted((line["value"], statistics.median(line["cpu_ms"])) for line in some)
            if some:
                panel.plot(*zip(*clock, strict=True), **look(i), label=f"{' '.join(bundle)}, by the clock")
                panel.plot(*zip(*processor, strict=True), **look(i), linestyle=":", label="dotted: on the processor")
                panel.set_xticks([value for value, _ in clock])
        panel.set(xlabel=AXES[sweep], ylabel="time per frame [ms]", ylim=(0, None))
        panel.grid(visible=True, alpha=0.3)
    told = [line for panel in panels[0] for line in panel.get_lines()]
    named = {str(line.get_label()): line for line in told}
    figure.legend(named.values(), named, loc="outside lower center", ncols=4, fontsize=8)
    return [saved(figure, out / "scaling.png")]


AXES = {
    "size": "height of 4:3 frames [px]",
    "batch": "frames at a time",
    "threads": "threads of each session",
    "animals": "animals in the video",
    "length": "frames of the video",
}


def draw_pareto(found: Lines, out: Path) -> list[Path]:
    """Error and mAP against speed, a figure per data; the line joins what nothing else beats in both."""
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for data in dict.fromkeys(line["data"] for line in found):
        some = [line for line in found if line["data"] == data]
        models, ways = (list(dict.fromkeys(line[key] for line in some)) for key in ("bundle", "way"))
        figure, panels = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
        for panel, (key, label, better) in zip(panels, MEASURES, strict=True):
            points = [(statistics.median(e["frames_per_second"]), e[key], e) for e in some if e[key] is not None]
            for x, y, line in points:
                i, j = models.index(line["bundle"]), ways.index(line["way"])
                panel.plot(x, y, linestyle="none", color=COLOURS[i % 8], marker=MARKERS[j % 8], markersize=9)
            front = unbeaten([(x, y) for x, y, _ in points], better)
            if len(front) > 1:
                panel.plot(*zip(*front, strict=True), color="grey", linewidth=1, zorder=0)
            panel.set(xscale="log", xlabel="frames per second, from memory to poses", ylabel=label)
            plain(panel.xaxis)
            panel.grid(visible=True, alpha=0.3, which="both")
        empty: dict[str, Any] = {"linestyle": "none"}
        for i, model in enumerate(models):
            panels[0].plot([], [], **empty, color=COLOURS[i % 8], marker="s", label=model)
        for j, way in enumerate(ways):
            panels[0].plot([], [], **empty, color="grey", marker=MARKERS[j % 8], label=way)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
        figure.suptitle(f"{data}, {some[-1]['machine']}")
        name = "".join(letter if letter.isalnum() else "-" for letter in data)
        made.append(saved(figure, out / f"pareto-{name}.png"))
    return made


MEASURES = (("px_error", "mean error [px]", min), ("mAP", "mAP (object keypoint similarity)", max))


def unbeaten(points: Sequence[tuple[float, float]], better: Callable[..., float]) -> list[tuple[float, float]]:
    """The points than which no other is at least as fast and better, the slowest first."""
    return sorted(
        (x, y) for x, y in points if all(better(y, other) == y or at < x for at, other in points)
    )  # fmt: skip


def plain(axis: Any) -> None:
    """Write 1, 2, 5, 10 ... on a logarithmic axis, in place of powers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def look(i: int) -> dict[str, Any]:
    """Colour and marker of the i-th of several."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


def of_newest_machine(found: Lines) -> Lines:
    """Of every case the newest line of the machine of the last one; others are not comparable."""
    keys = ("architecture", "precision", "backend", "batch", "height", "width", "threads")
    return [
        *{tuple(line[key] for key in keys): line for line in found if line["machine"] == found[-1]["machine"]}.values()
    ]


def saved(figure: Any, path: Path) -> Path:
    """Write a figure and let go of it."""
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    return path


FIGURES: dict[str, Callable[[Lines, Path], list[Path]]] = {
    "architectures": draw_architectures,
    "peers": draw_peers,
    "zoo_peers": draw_zoo_peers,
    "decode": draw_decode,
    "scaling": draw_scaling,
    "pareto": draw_pareto,
}

if __name__ == "__main__":
    main()
