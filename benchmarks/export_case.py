"""A network of ``export_table.py``: made with random weights, exported in every form, and held against torch."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SIDE = 256
"""Of the frames [px]; those that see crops cut theirs out of them."""
FRAMES = 2
SURE = 0.9


@dataclass(frozen=True)
class Entry:
    """A network of the table: its name there, the model's name and its task."""

    name: str
    model: str
    task: str


def attempt(make: Any) -> tuple[Any, float, str | None]:
    """What comes out, how long it took, and why nothing came out."""
    started = time.perf_counter()
    try:
        return make(), round(time.perf_counter() - started, 1), None
    except Exception as error:  # noqa: BLE001 - the reason is the result
        return None, round(time.perf_counter() - started, 1), f"{type(error).__name__}: {' '.join(str(error).split())}"


class Case:
    """A network in torch, and how its graphs are made and compared.

    Args:
        entry: Which one.
        role: ``pose`` or ``detector``.
        graph: In torch.
        spec: Of the network.
        ask: What of a session's outputs on the frames is compared, and how.
    """

    def __init__(self, entry: Entry, role: Any, graph: Any, spec: Any, ask: Any) -> None:
        from rigpose_export.reference import ReferenceSession

        self.entry, self.role, self.graph, self.spec = entry, role, graph, spec
        self.ask, self.judge = ask
        self.torch = ReferenceSession(graph)

    def trace(self, folder: Path, *, portable: bool) -> Any:
        """The float32 graph."""
        from rigpose_export.graphs.onnx_file import write_detector, write_onnx

        path = folder / f"{self.role}{'.portable' if portable else ''}.onnx"
        write: Any = write_onnx if self.role == "pose" else write_detector
        return write(self.graph, self.spec, path, portable=portable)

    def halve(self, folder: Path, of: Any) -> Any:
        """The float16 graph."""
        import onnx

        from rigpose_export.graphs.half_precision import to_fp16
        from rigpose_export.graphs.onnx_file import describe

        model, path = to_fp16(onnx.load(str(folder / of.file))), folder / f"{self.role}.fp16.onnx"
        onnx.save(model, str(path))
        return describe(path, model, self.role, precision="fp16", backends=("onnxruntime", "tensorrt"))

    def quantise(self, folder: Path, of: Any, *, backend: Any) -> Any:
        """An int8 graph, calibrated on what the network is asked about."""
        from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
        from rigpose_export.graphs.onnx_file import describe
        from rigpose_export.graphs.quantisation import quantise
        from rigpose_export.witness import Witness

        witness = Witness(OnnxRuntimeSession(folder / of.file, device="cpu"))
        self.ask(witness)
        path = folder / f"{self.role}.int8{'-symmetric' if backend == 'tensorrt' else ''}.onnx"
        model = quantise(folder / of.file, path, iter(witness.fed), backend=backend)
        return describe(path, model, self.role, precision="int8", backends=(backend,))

    def line(self, form: str, folder: Path, graph: Any, seconds: float, reason: str | None) -> dict[str, Any]:
        """The facts about one form."""
        facts = {"entry": self.entry.name, "model": self.entry.model, "task": self.entry.task, "form": form}
        facts |= {"weights": "random", "exports": reason is None, "reason": reason, "seconds": seconds}
        if graph is None:
            return facts
        facts |= {"nodes": graph.nodes, "bytes": (folder / graph.file).stat().st_size}
        compared, took, reason = attempt(lambda: self.compare(folder, graph))
        facts |= {"against_torch": compared, "compare_seconds": took, "compare_reason": reason}
        return facts | {"tensorrt": engine(folder / graph.file, graph)}

    def compare(self, folder: Path, graph: Any) -> dict[str, Any]:
        """Distances from torch [px]: of float32 as the export proves it, of other precisions as drift."""
        from rigpose.measures.differences import Tolerance
        from rigpose.measures.drift import drift
        from rigpose.parity.replay import drift_of_boxes
        from rigpose_export.graphs.files import cpu_session
        from rigpose_export.proof.parity import prove

        session = cpu_session(folder, graph)
        if graph.precision != "fp32":
            right, found = self.ask(self.torch), self.ask(session)
            moved = drift(right, found) if self.role == "pose" else drift_of_boxes(self.spec, right, found)
            # Random networks may be sure of nothing.
            return asdict(moved if moved.compared else self.judge(right, found, Tolerance()))
        return asdict(prove(self.ask, self.torch, session, Tolerance(), judge=self.judge).difference)


def drawn_frames() -> tuple[Any, ...]:
    """Pictures of the drawn world."""
    from rigpose_training.scene.world import Scene

    scene = Scene(seed=3, size=(SIDE, SIDE))
    return tuple(scene.frame(7 * i)[0] for i in range(FRAMES))


def pose_case(entry: Entry) -> Case:
    """A pose network; where it sees one animal at a time, it is told the same boxes and rough poses as in torch."""
    import numpy as np
    from reference_weights import fill

    from rigpose.bundles.golden import Told
    from rigpose.measures.differences import compare
    from rigpose.poses import Poses
    from rigpose_export.proof.parity import ask_poses
    from rigpose_training.model_table import ONE_ANIMAL, THREE_ANIMALS
    from rigpose_training.models import build_model
    from rigpose_training.pose_config.templates import make_pose_config
    from rigpose_training.pose_graph import PoseGraph
    from rigpose_training.spec import model_spec

    config = make_pose_config(entry.model, ONE_ANIMAL if entry.task == "single" else THREE_ANIMALS)
    model = build_model(config).eval()
    fill(model, entry.name)
    graph, spec, frames = PoseGraph(model, config), model_spec(config), drawn_frames()
    rng, told = np.random.default_rng(0), Told()
    places = rng.uniform(0.2 * SIDE, 0.8 * SIDE, (FRAMES, 1, len(spec.keypoints), 2)).astype(np.float32)
    if spec.task == "conditional_top_down":
        sure = np.full(places.shape[1:3], SURE, np.float32)
        told = Told(conditions=tuple(Poses(xy, sure) for xy in places))
    elif spec.task == "top_down":
        told = Told(boxes=tuple(np.array([[20.0 + 9 * i, 31, 170, 190]], np.float32) for i in range(FRAMES)))
    question = ask_poses(spec, frames, told)
    soften(graph, spec, question)
    return Case(entry, "pose", graph, spec, (question, compare))


def soften(graph: Any, spec: Any, question: Any) -> None:
    """Scale heatmaps and offsets to 1, so that scores lie inside 0..1 and keypoints near the frame.

    Random ones are of any size: clipped scores are all alike, and far outside the frame float32 has few digits left.
    """
    import torch

    from rigpose_export.reference import ReferenceSession

    head = graph.model.heads["bodypart"]
    maps = [getattr(head, name, None) for name in ("heatmap_head", "locref_head")]
    largest: dict[torch.nn.Module, float] = {}
    hooks = [
        one.register_forward_hook(lambda head, _inputs, maps: largest.update({head: float(maps.abs().amax())}))
        for one in maps
        if one is not None and spec.task != "dekr"
    ]
    question(ReferenceSession(graph))
    for hook in hooks:
        hook.remove()
    for one, amplitude in largest.items():
        last = [layer for layer in one.modules() if list(layer.parameters(recurse=False))][-1]
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(1.0 / amplitude)


def detector_case(entry: Entry) -> Case:
    """A detector; random weights give it boxes wherever it looks."""
    from reference_weights import fill

    from rigpose.measures.differences import Tolerance
    from rigpose.models.model_spec import DetectorSpec
    from rigpose_export.proof.parity import ask_boxes
    from rigpose_training.detector_graph import DetectorGraph
    from rigpose_training.model_table import THREE_ANIMALS
    from rigpose_training.models.detectors import build_detector
    from rigpose_training.pose_config.detectors import make_detector_config

    section = make_detector_config(entry.model)
    detector = build_detector(section["model"]).eval()
    fill(detector, "x")
    spec = DetectorSpec(max_animals=len(THREE_ANIMALS.individuals))
    ask = ask_boxes(spec, drawn_frames(), Tolerance())
    return Case(entry, "detector", DetectorGraph(detector, section), spec, ask)


def engine(file: Path, graph: Any) -> dict[str, Any] | None:
    """What TensorRT for RTX makes of a graph that is for TensorRT."""
    if "tensorrt" not in graph.backends:
        return None
    from rigpose_export.proof.tensorrt_check import build_with_rtx

    built, _, reason = attempt(lambda: build_with_rtx(file))
    if built is None:
        return {"builds": False, "reason": reason}
    return {"builds": True, "bytes": built.plan_bytes, "seconds": round(built.seconds, 1)}
