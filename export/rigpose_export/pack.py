"""Source -> bundle: trace, prove, seal; the folder has its name only when it is whole."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch
import yaml

from rigpose import __version__
from rigpose.bundle import (
    FORMAT,
    MANIFEST,
    PARITY,
    TRAINING_CONFIG,
    Bundle,
    GraphSpec,
    Manifest,
    Provenance,
    file_sha256,
    record_files,
    seal,
)
from rigpose.certificate import Certificate, open_sessions, replay
from rigpose.errors import BundleError
from rigpose.golden import write_golden
from rigpose.schema import to_mapping
from rigpose.sessions import Session
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose_export.evidence import gather_evidence
from rigpose_export.onnx_file import write_detector, write_onnx
from rigpose_export.parity import certify, choose_golden
from rigpose_export.reference import Reference, ReferenceSession
from rigpose_export.source import ExportSource
from rigpose_training.detector_graph import DetectorGraph
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.spec import model_spec
from rigpose_training.torch_detector import box_analyzer


def export_bundle(source: ExportSource, destination: Path, *, overwrite: bool = False) -> Bundle:
    """Make a bundle and prove it before it gets its name.

    Args:
        source: What to export.
        destination: The bundle's folder.
        overwrite: Replace a bundle that is there.

    Returns:
        The sealed bundle, opened again and checked.

    Raises:
        BundleError: The destination is taken, the disk is full, or a graph's answers are not the network's.
    """
    _check_free(destination, overwrite=overwrite)
    place = destination.absolute()  # so that "." has a name
    part, replaced = (place.with_name(f".{place.name}.{kind}") for kind in ("part", "replaced"))
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "golden").mkdir(parents=True)
        _fill(part, source)
        sealed = Bundle.open(part)
        _check_replay(sealed, source)
        if destination.exists():
            # One rename, so that there is no moment with half of the old bundle.
            shutil.rmtree(replaced, ignore_errors=True)
            destination.rename(replaced)
        part.rename(destination)
    except OSError as error:
        raise BundleError(
            f"{destination}: cannot be written ({error.strerror}); free space or choose another place."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
    return Bundle.open(destination)


def _check_replay(sealed: Bundle, source: ExportSource) -> None:
    for graph, difference in replay(sealed, open_sessions(sealed, device="cpu")).items():
        if not difference.compared:
            raise BundleError(f"{source.snapshot}: {_nothing_found(graph, source.frames_described)}.")
        if not difference.within:
            raise BundleError(f"{source.snapshot}: the golden frames do not give the golden poses; report this model.")


def _check_free(destination: Path, *, overwrite: bool) -> None:
    if not destination.exists():
        return
    if not overwrite:
        raise BundleError(f"{destination}: exists already; give --overwrite to replace it, or another --output.")
    if not (destination / MANIFEST).is_file():
        # Overwriting deletes the whole folder, and this one may be anything.
        raise BundleError(f"{destination}: is no bundle and is not overwritten; remove it or give another --output.")


@dataclass(frozen=True)
class _Networks:
    """The source in torch, and how long its pose network was trained."""

    reference: Reference
    epoch: int | None


def _read(source: ExportSource) -> _Networks:
    content = read_snapshot(source.snapshot)
    spec = model_spec(source.config, skeleton=source.skeleton)
    if source.calibration is not None:
        spec = spec.regrouped(calibration=source.calibration)
    model = build_model(source.config).eval()
    load_weights(model, content["model"], source=source.snapshot)
    reference = Reference(spec, ReferenceSession(PoseGraph(model, source.config)))
    # A model that DeepLabCut exported has its detector in the same file.
    path = source.detector or source.snapshot
    weights = read_snapshot(path)["model"] if source.detector else content.get("detector")
    if spec.task == "top_down" and weights is not None:
        section = source.config["detector"]
        detector = build_detector(section["model"]).eval()
        load_weights(detector, weights, source=path)
        of_boxes = box_analyzer(detector, source.config).spec
        reference = Reference(spec, reference.pose, of_boxes, ReferenceSession(DetectorGraph(detector, section)))
    epoch = content["metadata"].get("epoch")
    return _Networks(reference, None if epoch is None else int(epoch))


def _write_graphs(folder: Path, reference: Reference) -> list[GraphSpec]:
    assert isinstance(reference.pose.graph, PoseGraph)
    graphs = [write_onnx(reference.pose.graph, reference.spec, folder / "pose.onnx")]
    if reference.detector is not None and reference.detector_spec is not None:
        assert isinstance(reference.detector.graph, DetectorGraph)
        graphs.append(write_detector(reference.detector.graph, reference.detector_spec, folder / "detector.onnx"))
    return graphs


def _fill(folder: Path, source: ExportSource) -> None:
    networks = _read(source)
    graphs = _write_graphs(folder, networks.reference)
    exported: dict[str, Session] = {
        graph.role: OnnxRuntimeSession(folder / graph.file, device="cpu") for graph in graphs
    }
    evidence = gather_evidence(networks.reference, source)
    certificate = certify(networks.reference, exported, evidence)
    if not certificate.passed:
        raise BundleError(f"{source.snapshot}: {_verdict(certificate)}.")
    (folder / PARITY).write_text(yaml.safe_dump(to_mapping(certificate), sort_keys=False), encoding="utf-8")
    write_golden(folder, choose_golden(networks.reference, exported, evidence))
    (folder / TRAINING_CONFIG).write_text(yaml.safe_dump(dict(source.config), sort_keys=False), encoding="utf-8")
    seal(folder, _manifest(folder, source, graphs, networks))


def _manifest(folder: Path, source: ExportSource, graphs: list[GraphSpec], networks: _Networks) -> Manifest:
    return Manifest(
        rigpose_bundle=FORMAT,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        scorer=source.scorer,
        model=networks.reference.spec,
        detector=networks.reference.detector_spec,
        graphs=tuple(graphs),
        display=source.display,
        provenance=Provenance(
            rigpose=__version__,
            torch=str(torch.__version__),
            snapshot=source.snapshot.name,
            snapshot_sha256=file_sha256(source.snapshot),
            config_sha256=file_sha256(source.config_path),
            epoch=networks.epoch,
            source=source.described,
            detector=source.detector.name if source.detector else None,
            detector_sha256=file_sha256(source.detector) if source.detector else None,
        ),
        files=record_files(folder),
    )


def _verdict(certificate: Certificate) -> str:
    worst = max(certificate.cases, key=lambda case: case.difference.beyond)
    d = worst.difference
    if not d.beyond:
        judged = [case for case in certificate.cases if case.what != "candidates"]
        silent = {case.graph for case in judged} - {case.graph for case in judged if case.difference.compared}
        return _nothing_found(silent.pop(), certificate.frames)
    allowed = certificate.tolerance.box_px if worst.what == "boxes" else certificate.tolerance.position_px
    return (
        f"the {worst.graph} graph in ONNX Runtime differs from torch at batch {worst.batch}, "
        f"{worst.height}x{worst.width}: {d.beyond} of {d.compared} {worst.what} beyond {allowed:g} px (worst "
        f"{d.worst_px:.3g} px, {d.worst_score:.2g} in score), so no bundle was made; report this model"
    )


def _nothing_found(graph: str, frames: str) -> str:
    return (
        f"the {graph} network finds nothing in {frames}, or nothing that it is surer of than of all else, so there is "
        "nothing to prove; train it longer, or give frames that show animals with --frames"
    )
