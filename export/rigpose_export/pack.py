"""Source -> bundle: trace, prove, seal; the folder has its name only when it is whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import torch
import yaml

from rigpose import __version__
from rigpose.bundles.bundle import (
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
from rigpose.bundles.certificate import Certificate
from rigpose.bundles.engines import ENGINES
from rigpose.bundles.golden import write_golden
from rigpose.errors import ConfigError
from rigpose.progress import Progress, silent
from rigpose.schema import to_mapping
from rigpose_export.evidence import calibration_pictures, gather_evidence, measured_pictures
from rigpose_export.graphs.files import ExportOptions, write_graphs
from rigpose_export.proof.certification import Grounds, certificate_of, check_replay, prove_all
from rigpose_export.proof.exported import Exported
from rigpose_export.proof.parity import choose_golden
from rigpose_export.proof.selection import remaining
from rigpose_export.proof.tensorrt_check import rtx_library, try_graphs
from rigpose_export.reference import Reference, ReferenceSession
from rigpose_export.source import ExportSource
from rigpose_export.whole_folder import check_free, whole_folder
from rigpose_training.detector_graph import DetectorGraph, look_at_proposals, look_at_size
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_graph import PoseGraph
from rigpose_training.spec import model_spec
from rigpose_training.torch_detector import box_analyzer


def export_bundle(
    source: ExportSource,
    destination: Path,
    *,
    overwrite: bool = False,
    options: ExportOptions | None = None,
    show: Progress = silent,
) -> Bundle:
    """Make a bundle and prove it before it gets its name.

    A precision that loses more than it may is left out, and the certificate says so.

    Args:
        source: What to export.
        destination: The bundle's folder.
        overwrite: Replace a bundle that is there; its TensorRT engines stay, of which ``rigpose engine`` removes those
            that no longer fit.
        options: What it holds beside the fp32 graphs; none for nothing.
        show: How progress is shown.

    Returns:
        The sealed bundle, opened again and checked.

    Raises:
        BackendError: TensorRT for RTX shall try the graphs, and is not installed.
        BundleError: The destination is taken, the disk is full, or an fp32 graph's answers are not the network's.
        ConfigError: int8 without pictures to calibrate it on, or a size for the detector of a model without one.
        MediaError: A labelled image is missing or broken.
    """
    options = options or ExportOptions()
    check_free(destination, overwrite=overwrite, mark=MANIFEST, kind="bundle")
    if options.try_tensorrt:
        rtx_library()  # Its absence is told before the work.
    # Engines of graphs that stay the same still fit, and so does what TensorRT measured for all of them.
    with whole_folder(destination, keep=ENGINES) as part:
        (part / "golden").mkdir()
        _fill(part, source, options, show)
        check_replay(Bundle.open(part), source)
    return Bundle.open(destination)


@dataclass(frozen=True)
class _Networks:
    """The source in torch, and how long its pose network was trained."""

    reference: Reference
    epoch: int | None


def _read(source: ExportSource, options: ExportOptions) -> _Networks:
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
        if options.detector_side is not None:
            look_at_size(detector, options.detector_side)
        of_boxes = box_analyzer(detector, source.config).spec
        if options.detector_proposals is not None:
            look_at_proposals(detector, options.detector_proposals, animals=of_boxes.max_animals)
        of_boxes = replace(of_boxes, side=options.detector_side, proposals=options.detector_proposals)
        reference = Reference(spec, reference.pose, of_boxes, ReferenceSession(DetectorGraph(detector, section)))
    elif options.detector_side is not None:
        raise ConfigError(
            f"--detector-size: {source.described} has no detector to see frames in another size; leave it out."
        )
    elif options.detector_proposals is not None:
        raise ConfigError(
            f"--detector-proposals: {source.described} has no detector to look at fewer regions; leave it out."
        )
    epoch = content["metadata"].get("epoch")
    return _Networks(reference, None if epoch is None else int(epoch))


def _fill(folder: Path, source: ExportSource, options: ExportOptions, show: Progress) -> None:
    networks = _read(source, options)
    graphs, certificate = _certified(folder, networks.reference, source, options, show)
    if options.try_tensorrt:
        versions = {**certificate.versions, "tensorrt_rtx": rtx_library().version}
        certificate = replace(certificate, versions=versions, tensorrt=try_graphs(folder, graphs, show=show))
    (folder / PARITY).write_text(yaml.safe_dump(to_mapping(certificate), sort_keys=False), encoding="utf-8")
    (folder / TRAINING_CONFIG).write_text(yaml.safe_dump(dict(source.config), sort_keys=False), encoding="utf-8")
    seal(folder, _manifest(folder, source, graphs, networks))


def _certified(
    folder: Path, reference: Reference, source: ExportSource, options: ExportOptions, show: Progress
) -> tuple[list[GraphSpec], Certificate]:
    """Write the graphs and the golden frames; the graphs that may stay, and what was found out about them."""
    calibration = calibration_pictures(reference, source) if "int8" in options.precisions else None
    made = write_graphs(folder, reference, options, calibration, show=show)
    exported, evidence = Exported.opened(folder, made), gather_evidence(reference, source)
    proofs = prove_all(exported, reference, evidence, source, show=show)
    golden = choose_golden(reference, exported.plain, evidence)
    write_golden(folder, golden)
    grounds = Grounds(exported, reference, evidence, golden, measured_pictures(reference, source))
    whole = certificate_of(grounds, proofs, accept_loss=options.accept_loss, show=show)
    graphs, certificate = remaining(made, whole)
    for file in {graph.file for graph in made} - {graph.file for graph in graphs}:
        (folder / file).unlink()
    return graphs, certificate


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
