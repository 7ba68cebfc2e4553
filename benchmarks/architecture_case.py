"""One case of ``architectures.py``, in a process of its own: ``architecture_case.py --one JSON``.

It never imports torch, so that its memory is that of a rig.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from clips import first_frames
from turns import tell

from rigpose.arrays import Array
from rigpose.bench.memory import peak_bytes
from rigpose.bench.source import VideoSource
from rigpose.bench.spread import Spread
from rigpose.errors import RigposeError
from rigpose.load import BundleAnalyzer, load
from rigpose.sessions import Session
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose.sessions.openvino import OpenVinoSession
from rigpose.videos.analysis import AnalysisOptions, analyze_video

LEAST_FRAMES, MOST_FRAMES = 16, 160
"""Of a clip that is analysed end to end."""


def main() -> None:
    """Measure the case that ``--one`` says."""
    case = json.loads(sys.argv[2])
    try:
        tell(measure(case))
    except RigposeError as error:
        tell({"reason": str(error)})


def measure(case: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a case.

    Raises:
        RigposeError: It cannot run here.
    """
    begun = time.perf_counter()
    analyzer = load(
        case["bundle"],
        conditions=case["conditions"],
        device=case["device"],
        threads=case["threads"],
        backend=case["backend"],
        precision=case["precision"],
    )
    loaded = time.perf_counter() - begun
    asked = Asked(analyzer, Path(case["video"]), case["batch"])
    asked.end_to_end(case["batch"])  # warms up
    peak = peak_bytes()
    alone = {role: network(Path(file), case) for role, file in case["networks"].items()}
    return {
        "placement": placement(analyzer.session),
        "load_seconds": round(loaded, 3),
        "peak_bytes": peak,
        "inputs_of_a_batch": {role: [list(i["frames"].shape) for i in fed] for role, fed in asked.inputs.items()},
        **in_turns(asked, alone, case),
    }


class Asked:
    """What the graphs of a bundle are asked for one batch of a video, and the whole analysis of it."""

    def __init__(self, analyzer: BundleAnalyzer, video: Path, batch: int) -> None:
        self.analyzer, self.video, self.batch = analyzer, video, batch
        source = VideoSource.of(video)
        self.size = source.size
        run = analyzer.run_of(*source.size)
        slots = np.empty((batch, *run.slot_size, 3), np.uint8)
        for frame, slot in zip(itertools.islice(source.frames(), batch), slots, strict=True):
            run.write(frame.image, slot)
        model: Any = analyzer.model
        owners = {"pose": getattr(model, "crops", model)}
        owners |= {role: getattr(model, role) for role in ("detector", "conditions") if hasattr(model, role)}
        self.sessions: dict[str, Session] = {role: owner.session for role, owner in owners.items()}
        self.inputs: dict[str, list[dict[str, Array]]] = {role: [] for role in owners}
        for role, owner in owners.items():
            owner.session = _Listening(owner.session, self.inputs[role])
        run.infer(slots)
        for role, owner in owners.items():
            owner.session = self.sessions[role]

    def once(self, sessions: Mapping[str, Session]) -> tuple[float, float]:
        """Seconds, by the clock and on all cores, in which sessions answer what was asked for the batch."""
        begun, cpu = time.perf_counter(), time.process_time()
        for role, session in sessions.items():
            for inputs in self.inputs[role]:
                session.run(inputs)
        return time.perf_counter() - begun, time.process_time() - cpu

    def end_to_end(self, frames: int) -> float:
        """Frames per second of the whole analysis of a clip of so many frames."""
        clip = first_frames(self.video, frames)
        with tempfile.TemporaryDirectory() as folder:
            options = AnalysisOptions(batch=self.batch, destination=Path(folder), save_csv=False)
            begun = time.perf_counter()
            found = analyze_video(self.analyzer, clip, identity=self.analyzer.identity(), options=options)
            return found.frames / (time.perf_counter() - begun)


class _Listening:
    """A session that keeps what it is asked."""

    def __init__(self, session: Session, inputs: list[dict[str, Array]]) -> None:
        self._session, self._inputs = session, inputs

    @property
    def device(self) -> str:
        return self._session.device

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self._inputs.append({name: array.copy() for name, array in inputs.items()})
        return self._session.run(inputs)


def network(file: Path, case: Mapping[str, Any]) -> Session:
    """A session of a network without its decoding."""
    if case["backend"] == "openvino":
        return OpenVinoSession(file, threads=case["threads"], precision=case["precision"])
    return OnnxRuntimeSession(file, device=case["device"], threads=case["threads"])


def in_turns(asked: Asked, alone: Mapping[str, Session], case: Mapping[str, Any]) -> dict[str, Any]:
    """Per scope, the rate over all turns, the spread of batches and processor time; end to end, each turn's rate."""
    scopes = {"forward": alone, "graph": asked.sessions} if alone else {"graph": asked.sessions}
    for sessions in scopes.values():
        asked.once(sessions)
    spent: dict[str, list[tuple[float, float]]] = {scope: [] for scope in scopes}
    seconds, batch = case["seconds"] / (len(scopes) + 1), case["batch"]
    wanted = round(seconds * batch / asked.once(asked.sessions)[0])
    frames = batch * -(-min(MOST_FRAMES, max(LEAST_FRAMES, 2 * batch, wanted)) // batch)
    rates = []
    for _ in range(case["repeats"]):
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds * len(scopes):
            for scope, sessions in scopes.items():
                spent[scope].append(asked.once(sessions))
        rates.append(asked.end_to_end(frames))
    found: dict[str, Any] = {}
    for scope, each in spent.items():
        wall, cpu = (list(times) for times in zip(*each, strict=True))
        found[scope] = {
            "frames_per_second": batch * len(wall) / sum(wall),
            "batch_ms": asdict(Spread.of(wall)),
            "cpu_ms_per_frame": round(1000 * sum(cpu) / len(cpu) / batch, 3),
        }
    return {**found, "end_to_end": {"frames_per_second": float(np.median(rates)), "turns": rates, "frames": frames}}


def placement(session: Session) -> str:
    """Where a graph runs, and whether that was proved."""
    proved = getattr(session, "placement", None)
    return session.device if proved is None else f"{session.device}, proved: {proved}"


if __name__ == "__main__":
    main()
