"""The scaling model as figures, one of each measured video; ``cluster_page.py`` draws them.

A panel per GPU, a line per file server, from one device to a thousand; the mark is the knee.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster_model import GIGABIT, GPU_CORES, SEGMENT, SERVERS, Site, Stages, gpus, knee, throughput
from figures import look, plain, plt, saved

MOST = 1000
"""Devices."""
EVENLY = [round(MOST ** (step / 60)) for step in range(61)]


def draw(made: Mapping[str, Mapping[str, Any]], out: Path) -> list[Path]:
    """A figure of each video: its name, and its measured line."""
    paths = []
    for name, line in made.items():
        stages = Stages.of(line)
        figure, panels = plt.subplots(1, len(gpus()), figsize=(13, 4.2), sharey=True, layout="constrained")
        for panel, device in zip(panels, gpus(), strict=True):
            for i, server in enumerate(SERVERS):
                site = Site(server * GIGABIT)
                at = knee(stages, device, site)
                counts = sorted({*EVENLY, min(MOST, max(1, round(at.devices)))})
                rates = [throughput(count, stages, device, site) for count in counts]
                colour = look(i)["color"]
                panel.plot(
                    counts, rates, color=colour, label=f"file server of {server} Gbit/s", zorder=len(SERVERS) - i
                )
                if 1 <= at.devices <= MOST:
                    panel.plot(at.devices, at.rate, **look(i), linestyle="none", markersize=8, zorder=len(SERVERS) + 1)
            panel.set(xscale="log", yscale="log", xlabel="devices", title=f"{1 / device.inference:.0f} frames/s each")
            plain(panel.xaxis)
            plain(panel.yaxis)
            panel.tick_params(axis="x", labelrotation=45)
            panel.grid(visible=True, alpha=0.3, which="both")
        panels[0].set_ylabel("frames per second, all together")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(SERVERS))
        figure.suptitle(
            f"Model, no measurement of a cluster: {name}, {line['width']}x{line['height']}, segments of {SEGMENT} "
            f"frames\nassumed GPUs with {GPU_CORES} cores each; marks: the knee"
        )
        word = "".join(letter if letter.isalnum() else "-" for letter in name)
        paths.append(saved(figure, out / f"cluster-{word}.png"))
    return paths
