"""A network under reproducible weights twice: in torch, and as an exported graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from reference_weights import fill
from torch import nn

from rigpose.analyzers.analyzer import Analyzer
from rigpose.arrays import Frames
from rigpose.bundles.bundle import GraphSpec
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose_export.graphs.onnx_file import write_onnx
from rigpose_export.reference import ReferenceSession
from rigpose_training.models import PoseModel, build_model
from rigpose_training.models.heads.heatmap import Deconvolutions
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.pose_graph import PixelNormalisation, PoseGraph
from rigpose_training.scene.world import Scene
from rigpose_training.spec import model_spec, normalisation

NAMES = ("snout", "leftear", "rightear", "tailbase")


@dataclass(frozen=True)
class Pair:
    """One model in both frameworks, and what the manifest would say about the graph."""

    reference: Analyzer
    exported: Analyzer
    graph: GraphSpec
    file: Path

    @property
    def model(self) -> PoseModel:
        return cast(PoseGraph, self.torch.graph).model

    @property
    def torch(self) -> ReferenceSession:
        """The reference's session."""
        return cast(ReferenceSession, self.reference.session)


def documented_config(net_type: str) -> dict[str, Any]:
    """The whole configuration of a new shuffle with four keypoints."""
    return make_pose_config(net_type, Metadata(project_path="", pose_config_path="", bodyparts=NAMES))


def export_pair(config: Mapping[str, Any], folder: Path, *, salt: str = "export") -> Pair:
    """Build, weigh and export the network of a configuration."""
    torch.set_num_threads(2)
    model = build_model(config).eval()
    fill(model, salt)
    calibrate(model, config)
    network = PoseGraph(model, config)
    reference = Analyzer(model_spec(config), ReferenceSession(network))
    file = folder / "pose.onnx"
    graph = write_onnx(network, reference.spec, file)
    return Pair(reference, Analyzer(reference.spec, OnnxRuntimeSession(file, device="cpu", threads=2)), graph, file)


def calibrate(model: PoseModel, config: Mapping[str, Any]) -> None:
    """Scale the head's last layers so that scores lie inside 0..1 and offsets are some pixels.

    Random networks give maps of any size: clipped, every score would be 1 and compare equal.
    """
    head = cast(Any, model.heads["bodypart"])
    images = PixelNormalisation(normalisation(config))(torch.from_numpy(drawn(0, 128, 160)[None]))
    with torch.inference_mode():
        maps = model(images)["bodypart"]
    scale_output(head.heatmap_head, 0.5 / float(maps["heatmap"].amax()))
    if "locref" in maps:
        scale_output(head.locref_head, 1.0 / float(maps["locref"].std()))


def scale_output(stack: Deconvolutions, factor: float) -> None:
    """Multiply what a stack gives, which is linear in its last layer."""
    layer = cast(nn.Sequential, stack.deconv_layers)[-1]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(factor)


def drawn(number: int, height: int, width: int) -> Frames:
    """(H, W, 3) uint8 BGR, a picture of the drawn world; another for each number."""
    return Scene(seed=3, size=(height, width)).frame(7 * number)[0]
