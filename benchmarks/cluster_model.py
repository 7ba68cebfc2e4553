"""How far an analysis on a cluster scales, on paper, from what was measured on one core; ``cluster_page.py`` shows it.

What happens to a frame, and what it takes:

    file server --(r bytes)--> decode (d) -> network (i) -> group (h) --(q bytes)--> driver appends to the journal (m)
    file server <--(q bytes of journal, written once and read once; w bytes of tables)-- tables by a worker (t)

``d``, ``h``, ``t`` and ``m`` are seconds of one core per frame, ``i`` seconds of the device per frame; a device comes
with ``c`` cores. Everything overlaps with everything else, so each resource is a pipe with a capacity, and the
narrowest pipe sets the rate:

1. A GPU computes beside its cores, which decode, group and write tables, and which begin each segment of ``L`` frames
   with ``s`` seconds of opening and seeking:  ``a = min(1 / i, c / (d + h + t + s / L))`` frames/s. A node without GPUs
   is one device whose cores do all of it:  ``a = c / (d + h + t + s / L + i)``, with ``i`` of one core.
2. A device has two segments at a time, one in the network and one whose first frames are being decoded, so what it
   waits between two is only the gap ``g`` in which the last frames of one are grouped and the threads of the next
   begin. It would have done ``a * g`` frames in that time, so of its rate there remains  ``e = L / (L + a * g)``.
3. ``N`` devices give ``N * a * e``. The file server, of ``R`` bytes/s, gives ``R / (r + 2 * q + w)``: the encoded frame
   out, the journal in and out, the tables in. The driver's network, of ``B`` bytes/s each way, gives ``B / q``, and the
   driver itself, one thread that appends in order, ``1 / m``:

        frames/s = min(N * a * e,  R / (r + 2 * q + w),  B / q,  1 / m)

4. The knee is where the devices meet the first of the others:  ``N = min(those) / (a * e)``. Before it every device
   counts in full; behind it none counts at all, and what is full there is what to buy next.
5. At the end of a job some devices have nothing left to do. ``F`` frames are ``ceil(F / L)`` segments, done in
   ``ceil(segments / N)`` rounds; of what ``N`` devices could have done in that time, ``F / (rounds * N * L)`` was done.
   The last video's tables, ``t`` times its frames, come behind its last frame, and Ray and the models need some seconds
   to start: both once in a job, whatever its size.

Left out: other people on the file server and the network, latency (reading ahead hides it), what a seek reads twice
(``s / d`` frames of ``L``), decoders on the GPU, a second driver. Also what the driver does once for each video, which
it opens twice: some 10 ms, less than ``m`` times its frames only if there are more than some ten thousand, so of
thousands of short videos the driver lets through about a hundred in a second. Linear scaling over cores is assumed;
where they share memory it is an upper bound.

``r``, ``d``, ``h``, ``q``, ``m``, ``t``, ``w``, ``s`` and ``g`` were measured (``cluster.py``); so was ``i`` of CPUs
(``architectures.py``). No GPU was: its rate, the cores beside it and the file server's rate are parameters.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GIGABIT = 1e9 / 8
"""Bytes per second."""
SERVERS = (1, 10, 25, 100)
"""Of file servers [Gbit/s], all of which is taken to be there."""
DRIVER_LINK = 10
"""Of the machine that the driver runs on [Gbit/s]."""
GPU_RATES = (50, 200, 500, 2000)
"""Of the network alone, on a GPU [frames/s]: parameters, none was measured."""
GPU_CORES = 8
NODE_CORES = 64
SEGMENT = 2000
"""Frames."""
CPU_MODELS = (("resnet_50 single", "fp32"), ("resnet_50 single", "int8"), ("cspnext_m single", "int8"))
"""Lines of ``architectures.jsonl``: a slow, a middling and a fast one."""


@dataclass(frozen=True)
class Stages:
    """What a frame takes, whatever runs the network.

    Attributes:
        read: r [bytes].
        decode: d [s of a core].
        group: h [s of a core].
        result: q [bytes].
        merge: m [s of the driver].
        tables: t [s of a core].
        written: w [bytes].
        seek: s, of each segment [s of a core].
        gap: g, of each segment [s].
    """

    read: float
    decode: float
    group: float
    result: float
    merge: float
    tables: float
    written: float
    seek: float
    gap: float

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Stages:
        """The medians of a measured line."""
        found = line["stages"]
        return cls(**{name: statistics.median(found[name]) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Device:
    """A GPU with the cores beside it, or a node without one.

    Attributes:
        name: For the table.
        inference: i [s of the GPU, or of one core].
        cores: c.
        gpu: Whether the network runs beside the cores.
    """

    name: str
    inference: float
    cores: float
    gpu: bool = True

    def rate(self, stages: Stages, length: int = SEGMENT) -> float:
        """``a``, in segments of this length [frames/s]."""
        on_cores = stages.decode + stages.group + stages.tables + stages.seek / length
        if not self.gpu:
            return self.cores / (on_cores + self.inference)
        return min(1 / self.inference, self.cores / on_cores)

    def limit(self, stages: Stages) -> str:
        """What in the device sets its rate."""
        return "network" if self.gpu and self.rate(stages) == 1 / self.inference else "cores"


@dataclass(frozen=True)
class Site:
    """What all devices share.

    Attributes:
        server: R [bytes/s].
        link: B [bytes/s].
        segment: L [frames].
    """

    server: float
    link: float = DRIVER_LINK * GIGABIT
    segment: int = SEGMENT

    def capacities(self, stages: Stages) -> dict[str, float]:
        """What each shared resource lets through [frames/s]."""
        return {
            "file server": self.server / (stages.read + 2 * stages.result + stages.written),
            "driver's network": self.link / stages.result,
            "driver": 1 / stages.merge,
        }


@dataclass(frozen=True)
class Knee:
    """Where more devices stop helping.

    Attributes:
        devices: N, not rounded.
        limit: What is full there.
        rate: Of the whole from there on [frames/s].
    """

    devices: float
    limit: str
    rate: float


def efficiency(rate: float, gap: float, length: int) -> float:
    """``e``: what the gaps between segments leave of a device's rate."""
    return length / (length + rate * gap)


def kept_rate(stages: Stages, device: Device, site: Site) -> float:
    """``a * e`` of one device [frames/s]."""
    rate = device.rate(stages, site.segment)
    return rate * efficiency(rate, stages.gap, site.segment)


def throughput(devices: int, stages: Stages, device: Device, site: Site) -> float:
    """Of so many devices together [frames/s]."""
    return min(devices * kept_rate(stages, device, site), *site.capacities(stages).values())


def knee(stages: Stages, device: Device, site: Site) -> Knee:
    """Where another resource than the devices is full."""
    capacities = site.capacities(stages)
    limit = min(capacities, key=lambda name: capacities[name])
    return Knee(capacities[limit] / kept_rate(stages, device, site), limit, capacities[limit])


def tail(frames: int, devices: int, length: int) -> float:
    """Of what the devices could have done until the last segment's end, what they did."""
    rounds = math.ceil(math.ceil(frames / length) / devices)
    return frames / (rounds * devices * length)


def gpus(cores: float = GPU_CORES) -> list[Device]:
    """The table's GPUs."""
    return [Device(f"GPU of {rate} frames/s (assumed), {cores:g} cores", 1 / rate, cores) for rate in GPU_RATES]


def nodes(found: Sequence[Mapping[str, Any]], height: int, width: int, cores: int = NODE_CORES) -> list[Device]:
    """Nodes without GPUs, for frames of a size that networks were measured at.

    Of each model the backend that was fastest with a frame at a time on one core, times cores.
    """
    made = []
    for architecture, precision in CPU_MODELS:
        some = {
            line["backend"]: line["graph"]["cpu_ms_per_frame"]
            for line in found
            if (line["architecture"], line["precision"], line["threads"]) == (architecture, precision, 1)
            and (line["height"], line["width"]) == (height, width)
            and "graph" in line
        }
        if some:
            backend = min(some, key=lambda name: some[name])
            model = f"{architecture.split()[0]} {precision} in {backend}"
            rate = 1000 / some[backend]
            name = f"node of {cores} cores (assumed), {model} at {rate:.1f} frames/s a core (measured)"
            made.append(Device(name, some[backend] / 1000, cores, gpu=False))
    return made
