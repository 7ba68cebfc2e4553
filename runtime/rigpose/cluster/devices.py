"""The devices of a cluster: every GPU, and every machine without one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rigpose.errors import ConfigError


@dataclass(frozen=True)
class ClusterDevice:
    """Something that runs one worker.

    Attributes:
        node: Ray's name of the machine.
        gpu: Number among the machine's GPUs; none for its processor.
        threads: CPU threads for decoding and inference, of those that Ray counts there.
        name: For people.
    """

    node: str
    gpu: int | None
    threads: int
    name: str

    @property
    def word(self) -> str:
        """What ``--device`` calls it on its machine, where a worker sees no other GPU."""
        return "cpu" if self.gpu is None else "cuda:0"


def check_device_word(asked: str) -> None:
    """Make sure that a word for devices makes sense in a cluster.

    Raises:
        ConfigError: It names one GPU, or nothing.
    """
    if re.fullmatch(r"cuda:\d+", asked):
        raise ConfigError(f"device {asked}: a cluster's GPUs are given out one to a worker; say cuda, cpu or auto.")
    if asked not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {asked!r}: in a cluster a bundle runs on auto, cpu or cuda; choose one of them.")


def devices_of(nodes: Iterable[Mapping[str, Any]], asked: str) -> list[ClusterDevice]:
    """The devices of the machines that are up.

    Args:
        nodes: What ``ray.nodes()`` says.
        asked: ``auto`` for GPUs where a machine has them and its processor elsewhere, ``cpu``, or ``cuda``, which
            leaves out machines without.
    """
    alive = [node for node in nodes if node["Alive"]]
    hosts = Counter(str(node["NodeManagerHostname"]) for node in alive)
    devices: list[ClusterDevice] = []
    for node in sorted(alive, key=lambda node: (node["NodeManagerHostname"], node["NodeID"])):
        cores, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
        host, number = str(node["NodeManagerHostname"]), str(node["NodeID"])
        name = host if hosts[host] == 1 else f"{host} ({number[:4]})"
        if gpus and asked != "cpu":
            devices += [ClusterDevice(number, i, max(1, cores // gpus), f"{name} GPU {i}") for i in range(gpus)]
        elif cores and asked != "cuda":
            devices.append(ClusterDevice(number, None, cores, name))
    return devices
