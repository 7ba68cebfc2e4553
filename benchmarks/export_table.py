"""Every architecture and detector in every precision: whether it exports, how large, how close to torch, and TensorRT.

    PYTHONPATH=tests python benchmarks/export_table.py [--only ENTRY...] [--again]
    PYTHONPATH=tests python benchmarks/export_table.py --project PROJECT --shuffle N
    python benchmarks/export_table.py --markdown

Each graph is a line in ``benchmarks/results/export.jsonl``, written as soon as it is known; a later run goes on where
an earlier one of the same commit stopped. Each architecture runs in a process of its own, so that memory is given back
and a crash is a line, too. Weights are random, the same for everybody, so distances in lower precisions say little
beyond that the graph is the right one: what they cost is said by the lines of a trained ``--project``, with its metric.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from record import RESULTS, record, surroundings

NAME = "export"
SIDE = 256
"""Of the frames [px]; those that see crops cut theirs out of them."""
FRAMES = 2
SURE = 0.9
PACKAGES = ("onnx", "onnxscript", "tensorrt_rtx_cu13_bindings", "tensorrt_rtx_cu12_bindings")
HEADER = ("model", "task", "form", "nodes", "MB", "worst px", "p99 px", "px error, mAP", "TensorRT for RTX")


@dataclass(frozen=True)
class Entry:
    """A network of the table: its name there, the model's name and its task."""

    name: str
    model: str
    task: str


def entries() -> list[Entry]:
    """All models of ``rigpose models`` and all detectors, as the README lists them."""
    from rigpose_training.model_table import detector_table, model_table

    models = [Entry(row.entry, row.name, row.task) for row in model_table()]
    return [*models, *(Entry(f"detector.{row.name}", row.name, "detector") for row in detector_table())]


# --- one entry, in a process of its own ---------------------------------------------------------------------------


def measure(entry: Entry) -> Iterator[dict[str, Any]]:
    """Export a network with random weights in every form, and hold each against torch; a line per form."""
    case = detector_case(entry) if entry.task == "detector" else pose_case(entry)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        plain, seconds, reason = attempt(lambda: case.trace(folder, portable=False))
        yield case.line("fp32", folder, plain, seconds, reason)
        if plain is None:
            return
        general = plain
        if "tensorrt" not in plain.backends:
            found, seconds, reason = attempt(lambda: case.trace(folder, portable=True))
            yield case.line("fp32 portable", folder, found, seconds, reason)
            general = found or plain
        for form, make in (
            ("fp16", lambda: case.halve(folder, general)),
            ("int8", lambda: case.quantise(folder, plain, symmetric=False)),
            ("int8 symmetric", lambda: case.quantise(folder, general, symmetric=True)),
        ):
            found, seconds, reason = attempt(make)
            yield case.line(form, folder, found, seconds, reason)


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

    def quantise(self, folder: Path, of: Any, *, symmetric: bool) -> Any:
        """An int8 graph, calibrated on what the network is asked about."""
        from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
        from rigpose_export.graphs.onnx_file import describe
        from rigpose_export.graphs.quantisation import quantise

        fed = Fed(OnnxRuntimeSession(folder / of.file, device="cpu"))
        self.ask(fed)
        path = folder / f"{self.role}.int8{'-symmetric' if symmetric else ''}.onnx"
        model = quantise(folder / of.file, path, iter(fed.inputs), symmetric=symmetric)
        backends: Any = ("openvino", "tensorrt") if symmetric else ("onnxruntime",)
        return describe(path, model, self.role, precision="int8", backends=backends)

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


class Fed:
    """A session that remembers what it was given."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs: list[dict[str, Any]] = []

    @property
    def device(self) -> str:
        """Of the session."""
        return self.session.device

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Session``."""
        self.inputs.append({name: array.copy() for name, array in inputs.items()})
        return self.session.run(inputs)


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


def measure_trained(project: Path, shuffle: int, sets: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of a trained shuffle, read from the certificate of its bundle: distances, and what they cost."""
    from rigpose.bundles.certificate import read_certificate
    from rigpose_export.graphs.files import ExportOptions
    from rigpose_export.pack import export_bundle
    from rigpose_export.source import shuffle_source
    from rigpose_training.project.config import read_project_config

    source = shuffle_source(read_project_config(project), shuffle=shuffle)
    options = ExportOptions(precisions=("fp16", "int8"), portable=True, accept_loss=True)
    with tempfile.TemporaryDirectory() as text:
        bundle = export_bundle(source, Path(text) / "trained.bundle", options=options)
        certificate, manifest = read_certificate(bundle), bundle.manifest
        for graph in manifest.graphs:
            proved = certificate.of(graph.file)
            worst = max(proved.cases, key=lambda case: case.difference.worst_px, default=None)
            moved = asdict(proved.loss.drift) if proved.loss else asdict(worst.difference) if worst else None
            form = {"pose": "", "detector": "detector "}.get(graph.role, graph.role) + graph.precision
            form += " portable" if ".portable." in graph.file else " symmetric" if "symmetric" in graph.file else ""
            metric = None if proved.metric is None else asdict(proved.metric)
            plain = certificate.metric.get(graph.role)
            yield {
                "entry": f"{project.resolve().name} shuffle {shuffle}", "model": manifest.model.architecture,
                "task": manifest.model.task, "form": form, "weights": " ".join((source.snapshot.name, *sets)),
                "exports": True, "reason": None, "nodes": graph.nodes, "bytes": bundle.file(graph.file).stat().st_size,
                "against_torch": moved, "metric": metric, "metric_of_torch": None if plain is None else asdict(plain),
                "verdict": proved.verdict, "tensorrt": engine(bundle.file(graph.file), graph),
            }  # fmt: skip


# --- the table ----------------------------------------------------------------------------------------------------


def lines() -> list[dict[str, Any]]:
    """What has been measured so far."""
    path = RESULTS / f"{NAME}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def keep(facts: Mapping[str, Any]) -> None:
    """Append a line, and show it."""
    record(NAME, {**facts, "packages": {name: found for name in PACKAGES if (found := installed(name))}})
    print(" | ".join(cells(facts)), flush=True)


def installed(package: str) -> str | None:
    """Its version, if it is there."""
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


def cells(facts: Mapping[str, Any]) -> list[str]:
    """A line of the table, as texts."""
    moved, metric = facts.get("against_torch") or {}, facts.get("metric") or {}
    first = [f"`{facts['model']}`", facts["task"], facts["form"]]
    if not facts["exports"]:
        return [*first, f"no: {facts['reason']}", *[""] * 5]
    figures = [f"{moved[key]:.2g}" if key in moved else "" for key in ("worst_px", "p99_px")]
    if facts.get("compare_reason"):
        figures = [facts["compare_reason"], ""]
    cost = ", ".join(f"{metric[key]:.2f}" for key in ("px_error", "mAP") if metric.get(key) is not None)
    return [*first, str(facts["nodes"]), f"{facts['bytes'] / 1e6:.1f}", *figures, cost, engine_cell(facts["tensorrt"])]


def engine_cell(built: Mapping[str, Any] | None) -> str:
    """Size and seconds of an engine, or why there is none."""
    if built is None:
        return "another form is for it"
    return f"{built['bytes'] / 1e6:.1f} MB, {built['seconds']:.0f} s" if built["builds"] else f"no: {built['reason']}"


def markdown() -> str:
    """The newest line of each entry and form, in the order of ``rigpose models``, then what was trained."""
    newest = {(line["entry"], line["form"]): line for line in lines()}
    place = {entry.name: i for i, entry in enumerate(entries())}
    rows = sorted(newest.values(), key=lambda line: place.get(line["entry"], len(place)))
    table = [HEADER, ["---"] * len(HEADER), *(cells(line) for line in rows)]
    return "\n".join(f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in table)


def run_all(wanted: Sequence[Entry], *, again: bool) -> None:
    """Measure each in a process of its own; those that this commit has been measured with are left out."""
    commit = surroundings()["commit"]
    done = set() if again else {line["entry"] for line in lines() if line["commit"] == commit and line.get("last")}
    for entry in wanted:
        if entry.name in done:
            print(f"{entry.name}: measured already; --again measures it once more")
            continue
        started = time.perf_counter()
        ended = subprocess.run([sys.executable, __file__, "--one", entry.name], check=False)
        if ended.returncode:
            reason = f"the process ended with {ended.returncode}"
            facts = {"entry": entry.name, "model": entry.model, "task": entry.task, "form": "all", "weights": "random"}
            keep({**facts, "exports": False, "reason": reason, "last": True})
        print(f"{entry.name}: {time.perf_counter() - started:.0f} s", flush=True)


def run_one(entry: Entry) -> None:
    """Measure an entry here; its last line says that it is whole."""
    waiting: dict[str, Any] | None = None
    for facts in measure(entry):
        if waiting is not None:
            keep(waiting)
        waiting = facts
    if waiting is not None:
        keep({**waiting, "last": True})


def main() -> None:
    """Measure what is asked for, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ENTRY", help="entries or model names; all by default")
    parser.add_argument("--again", action="store_true", help="also what this commit has been measured with")
    parser.add_argument("--project", type=Path, help="a project with a trained shuffle, for the metric")
    parser.add_argument("--shuffle", type=int, default=1, help="its number (default: 1)")
    parser.add_argument("--trained", nargs="*", default=[], help="with --project: words that say how it was trained")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.markdown:
        print(markdown())
        return
    if options.project is not None:
        for facts in measure_trained(options.project, options.shuffle, options.trained):
            keep(facts)
        return
    wanted = entries()
    chosen = [options.one] if options.one else options.only
    if chosen:
        unknown = set(chosen) - {name for entry in wanted for name in (entry.name, entry.model)}
        if unknown:
            parser.error(f"no such entry: {', '.join(sorted(unknown))}; there are {', '.join(e.name for e in wanted)}")
        wanted = [entry for entry in wanted if {entry.name, entry.model} & set(chosen)]
    if options.one:
        run_one(wanted[0])
    else:
        run_all(wanted, again=options.again)


if __name__ == "__main__":
    main()
