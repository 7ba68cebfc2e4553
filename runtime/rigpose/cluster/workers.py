"""One worker for every device of a cluster, replaced when it dies, for as long as its machine is up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from rigpose.cluster.devices import ClusterDevice, devices_of
from rigpose.cluster.worker import ModelToLoad, Worker, WorkerFacts

MOST_DEATHS = 5
"""A device whose workers die so often, one after the other and without a finished segment, gets no more."""
SEGMENTS_AT_A_TIME = 2
"""One in the graphs and one that is being decoded."""


@dataclass(eq=False)
class Hand:
    """A worker as whoever gives out the work sees it.

    Attributes:
        device: Where it is.
        actor: Ray's handle of it.
        facts: What it said of itself; none until its model is loaded.
        segments: How many it has.
        writes: Whether it is making a video's tables.
        frames: Poses of how many frames it has given.
        begun: When it got its first segment [s, of ``time.perf_counter``].
    """

    device: ClusterDevice
    actor: Any
    facts: WorkerFacts | None = None
    segments: int = 0
    writes: bool = False
    frames: int = 0
    begun: float | None = None

    @property
    def frames_per_second(self) -> float:
        """Since its first segment."""
        return 0.0 if self.begun is None else self.frames / max(time.perf_counter() - self.begun, 1e-9)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the worker; the reference of what will come of it."""
        group = {"analyze": "graphs", "write": "tables"}.get(method)
        remote = getattr(self.actor, method)
        return (remote.options(concurrency_group=group) if group else remote).remote(*arguments)


@dataclass
class Workers:
    """All of them.

    Attributes:
        ray: Connected to the cluster.
        asked: The user's word for devices.
        model: What the worker of a device loads.
        hands: Those that live, or that are being started.
        done: Frames by each device's name, those of dead workers too.
    """

    ray: Any
    asked: str
    model: Callable[[ClusterDevice], ModelToLoad]
    hands: list[Hand] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _deaths: Counter[ClusterDevice] = field(default_factory=Counter)
    _left_out: set[ClusterDevice] = field(default_factory=set)

    def start_missing(self) -> list[Hand]:
        """Start a worker on every device that has none; they are asked to load their models."""
        busy = {hand.device for hand in self.hands} | self._left_out
        new = [self._start(device) for device in devices_of(self.ray.nodes(), self.asked) if device not in busy]
        self.hands += new
        return new

    def ready(self) -> list[Hand]:
        """Those whose models are loaded."""
        return [hand for hand in self.hands if hand.facts is not None]

    def hardware(self) -> list[str]:
        """The kinds of hardware among them."""
        return list(dict.fromkeys(hand.facts.hardware for hand in self.hands if hand.facts is not None))

    def of(self, hardware: str) -> list[Hand]:
        """Those of one kind that are ready."""
        return [hand for hand in self.hands if hand.facts is not None and hand.facts.hardware == hardware]

    def has_room(self, hand: Hand) -> bool:
        """Whether a worker may have another segment; one whose predecessor died has them one by one at first.

        So it shows which of two segments ends workers.
        """
        return hand.segments < (1 if self._deaths[hand.device] else SEGMENTS_AT_A_TIME)

    def worked(self, hand: Hand, frames: int) -> None:
        """A segment has come back."""
        hand.frames += frames
        self.done[hand.device.name] += frames
        self._deaths[hand.device] = 0

    def died(self, hand: Hand) -> bool:
        """Let go of a dead worker; whether its device gets no other."""
        self.let_go([hand])
        self._deaths[hand.device] += 1
        if self._deaths[hand.device] < MOST_DEATHS:
            return False
        self._left_out.add(hand.device)
        return True

    def leave_out(self, hand: Hand) -> None:
        """End a worker that cannot work; its device gets no other."""
        self._left_out.add(hand.device)
        self.let_go([hand])

    def let_go(self, hands: Iterable[Hand]) -> None:
        """End workers."""
        for hand in list(hands):
            if hand in self.hands:
                self.hands.remove(hand)
                self.ray.kill(hand.actor)

    def _start(self, device: ClusterDevice) -> Hand:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # What is in neither of them, such as loading the model, is asked in passing.
        groups = {"graphs": SEGMENTS_AT_A_TIME, "tables": 1}
        actor = (
            self.ray.remote(concurrency_groups=groups)(Worker)
            .options(
                num_cpus=device.threads,
                num_gpus=0 if device.gpu is None else 1,
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=device.node, soft=False),
            )
            .remote(self.model(device))
        )
        return Hand(device, actor)
