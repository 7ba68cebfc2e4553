"""Documented networks with random weights as bundles, so that every architecture can be timed without being trained.

The weights are the same for everybody. Speed does not depend on them but through what is found: random maps would hold
a peak in every corner, so the heatmaps of bottom-up networks are lowered until a few cells score well, as in a frame
with a few animals; pairs look into as many boxes as the model has animals, conditional networks at the animals of a
bottom-up one. Bundles from here have no proof, no golden frames and no use but this one.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from reference_weights import fill

from rigpose.arrays import Frames
from rigpose.bundles.bundle import (
    FORMAT,
    TRAINING_CONFIG,
    BackendName,
    Bundle,
    Display,
    Manifest,
    Provenance,
    record_files,
    seal,
)
from rigpose.progress import silent
from rigpose_export.evidence import Pictures
from rigpose_export.graphs.files import ExportOptions, write_graphs
from rigpose_export.graphs.regions import dataflow, network_nodes
from rigpose_export.reference import Reference, ReferenceSession
from rigpose_export.source import ExportSource
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.model_table import ONE_ANIMAL, THREE_ANIMALS, model_table
from rigpose_training.models import PoseModel, build_model
from rigpose_training.models.detectors import Detector, build_detector
from rigpose_training.pose_config.detectors import make_detector_config
from rigpose_training.pose_config.templates import make_pose_config
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.scene.world import Scene
from rigpose_training.spec import model_spec
from rigpose_training.torch_detector import box_analyzer

ABOVE = 20
"""Cells of each heatmap that keep at least ``SCORE``."""
SCORE = 0.1
"""Ten times what a peak must have: heatmaps are smoothed before peaks are looked for."""
CALIBRATED_ON = 4
TOLD_BY = "resnet_50 bottom-up"
"""What runs before conditional networks; it finds two or three animals in a drawn frame of 640x480."""
NETWORK = ".network.onnx"
"""How the file of a network without its decoding ends; it lies beside the bundle's folder, not in it."""


@dataclass(frozen=True)
class Architecture:
    """A documented network in one kind of project.

    Attributes:
        name: For people and results, such as ``resnet_50 single``.
        model: What ``create-training-dataset`` calls it.
        task: As ``rigpose models`` says it.
    """

    name: str
    model: str
    task: str


def architectures() -> list[Architecture]:
    """All that are documented."""
    return [Architecture(f"{row.name} {row.task}", row.name, row.task) for row in model_table()]


def asked_for(names: Sequence[str]) -> list[Architecture]:
    """Architectures by name, in the order in which they were named; all of them where none was.

    Raises:
        SystemExit: A name is none of them.
    """
    known = {entry.name: entry for entry in architectures()}
    unknown = set(names) - set(known)
    if unknown:
        raise SystemExit(f"no such architecture: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


def random_bundle(architecture: Architecture, cache: Path, *, detector: str) -> Path:
    """The bundle of an architecture in fp32, fp16 and int8, made if the cache lacks it.

    Beside it lies, for every graph file, the network without its decoding; see ``NETWORK``.
    """
    name = architecture.name.replace(" ", "-")
    if architecture.task == "top-down":
        name = f"{name}-{detector}"
    folder, part = cache / f"{name}.bundle", cache / f".{name}.part"
    if (folder / "manifest.yaml").exists():
        return folder
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    config = make_pose_config(architecture.model, ONE_ANIMAL if architecture.task == "single" else THREE_ANIMALS)
    if architecture.task == "top-down":
        config["detector"] = make_detector_config(detector)
    frames = _drawn_frames()
    reference = _reference(architecture, config, frames[0])
    source = ExportSource(
        config=config,
        config_path=part,
        snapshot=part,
        scorer=name,
        skeleton=(),
        display=Display(),
        frames=frames,
        frames_described="drawn frames",
        described="random weights",
    )
    pictures = Pictures(reference, source, (), CALIBRATED_ON, "drawn frames")
    options = ExportOptions(precisions=("fp16", "int8"))
    graphs = write_graphs(part, reference, options, pictures, show=silent)
    (part / TRAINING_CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    manifest = Manifest(
        rigpose_bundle=FORMAT,
        created="",
        scorer=name,
        model=reference.spec,
        detector=reference.detector_spec,
        graphs=tuple(graphs),
        display=Display(),
        provenance=Provenance("", str(torch.__version__), "random weights", "", "", None, "random weights", None, None),
        files=record_files(part),
    )
    seal(part, manifest)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return folder


def told_by(architecture: Architecture) -> Architecture | None:
    """The bottom-up network whose rough poses a conditional one is told, none for the others."""
    return asked_for([TOLD_BY])[0] if architecture.task == "conditional" else None


def network_file(bundle: Bundle, file: str) -> Path | None:
    """A graph file's network alone, from its frames to its maps, cut out when it is first asked for.

    The pixels' normalisation is inside; of a detector with two stages, so are the proposals between them.

    Returns:
        None where quantisation has left no clean cut.
    """
    out = bundle.path.parent / f"{bundle.path.name}.{file.removesuffix('.onnx')}{NETWORK}"
    if out.exists():
        return out
    role: Any = file.split(".", maxsplit=1)[0]
    cut = maps_of(bundle.file(bundle.manifest.graph(role, backend=_runs(file)).file))
    made = {value for node in onnx.load(str(bundle.file(file))).graph.node for value in node.output}
    if not cut or not set(cut) <= made:
        return None
    inputs = [value.name for value in next(g for g in bundle.manifest.graphs if g.file == file).inputs]
    part = out.with_name(f".{out.name}")
    onnx.utils.extract_model(str(bundle.file(file)), str(part), inputs, cut)
    part.rename(out)
    return out


def _runs(file: str) -> BackendName:
    """Whose fp32 graph a graph file was made of."""
    if any(word in file for word in ("portable", "fp16", "symmetric")):
        return "tensorrt"
    return "openvino" if "openvino" in file else "onnxruntime"


def maps_of(file: Path) -> list[str]:
    """The floating values that a network gives to what is not the network."""
    model = onnx.load(str(file))
    flow = dataflow(model)
    inside = network_nodes(model, flow)
    numbers = {value.name for value in model.graph.value_info if not value.type.tensor_type.shape.dim}
    return [
        value
        for node in model.graph.node
        if node.name in inside
        for value in node.output
        if value in flow.floating
        and value not in numbers  # computed from the frames' size
        and any(r.name not in inside and r.op_type != "Shape" for r in flow.readers.get(value, ()))
    ]


def random_snapshots(architecture: Architecture, cache: Path, *, detector: str) -> tuple[Path, Path | None]:
    """The weights of an architecture's bundle as files that DeepLabCut loads: pose network, and detector of a pair."""
    bundle = random_bundle(architecture, cache, detector=detector)
    made = [bundle.with_name(f"{bundle.name}.{role}.pt") for role in ("pose", "detector")]
    there = 1 + (architecture.task == "top-down")
    if not all(path.exists() for path in made[:there]):
        config = yaml.safe_load((bundle / TRAINING_CONFIG).read_text(encoding="utf-8"))
        for path, network in zip(made, _networks(architecture, config, _drawn_frames()[0]), strict=True):
            if network is not None:
                part = path.with_name(f".{path.name}")
                torch.save({"model": network.state_dict(), "metadata": {"epoch": 0}}, part)
                part.rename(path)
    return made[0], made[1] if there == 2 else None


def _drawn_frames() -> tuple[Frames, ...]:
    return tuple(Scene(seed=3, size=(256, 256), animals=3).frame(7 * i)[0] for i in range(CALIBRATED_ON))


def _networks(architecture: Architecture, config: dict[str, Any], frame: Frames) -> tuple[PoseModel, Detector | None]:
    """Pose network and detector with their weights; no detector where the network looks at whole frames."""
    model = build_model(config)
    model.eval()
    fill(model, architecture.name)
    if model_spec(config).grouping is not None:
        calm(model, ReferenceSession(PoseGraph(model, config)), frame)
    if architecture.task != "top-down":
        return model, None
    boxes = build_detector(config["detector"]["model"])
    boxes.eval()
    fill(boxes, "x")
    return model, boxes


def _reference(architecture: Architecture, config: dict[str, Any], frame: Frames) -> Reference:
    model, boxes = _networks(architecture, config, frame)
    spec, session = model_spec(config), ReferenceSession(PoseGraph(model, config))
    if boxes is None:
        return Reference(spec, session)
    looks = ReferenceSession(DetectorGraph(boxes, config["detector"]))
    return Reference(spec, session, box_analyzer(boxes, config).spec, looks)


def calm(model: Any, session: ReferenceSession, frame: Any) -> None:
    """Lower every channel of the heatmaps until ``ABOVE`` cells of a drawn frame have ``SCORE`` or more."""
    head = model.heads["bodypart"].heatmap_head
    maps: list[torch.Tensor] = []
    hook = head.register_forward_hook(lambda _layer, _inputs, output: maps.append(output))
    session.run({"frames": np.ascontiguousarray(frame[None])})
    hook.remove()
    flat = maps[0][0].flatten(1)
    level = flat.topk(min(ABOVE, flat.shape[1]), dim=1).values[:, -1]
    last = [module.bias for module in head.modules() if getattr(module, "bias", None) is not None][-1]
    with torch.no_grad():
        last += np.log(SCORE / (1 - SCORE)) - level
