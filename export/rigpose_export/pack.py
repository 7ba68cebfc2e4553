"""Source -> bundle: trace, prove, seal; the folder has its name only when it is whole."""

from __future__ import annotations

import shutil
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
import yaml

from rigpose import __version__
from rigpose.bundle import (
    FORMAT,
    GOLDEN_KEYPOINTS,
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
from rigpose.certificate import Certificate, golden_frame_name, replay, write_picture
from rigpose.errors import BundleError
from rigpose.load import load
from rigpose.model_spec import ModelSpec
from rigpose.schema import to_mapping
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession
from rigpose_export.onnx_file import write_onnx
from rigpose_export.parity import ambiguous_cells, certify
from rigpose_export.source import ExportSource
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.models import build_model
from rigpose_training.spec import model_spec
from rigpose_training.torch_session import TorchSession, torch_analyzer

GOLDEN_FRAMES = 4


def export_bundle(source: ExportSource, destination: Path, *, overwrite: bool = False) -> Bundle:
    """Make a bundle and prove it before it gets its name.

    Args:
        source: What to export.
        destination: The bundle's folder.
        overwrite: Replace a bundle that is there.

    Returns:
        The sealed bundle, opened again and checked.

    Raises:
        BundleError: The model is for several animals, the destination is taken, the disk is full, or the graph's poses
            are not the network's.
    """
    _check_supported(source)
    _check_free(destination, overwrite=overwrite)
    place = destination.absolute()  # so that "." has a name
    part, replaced = (place.with_name(f".{place.name}.{kind}") for kind in ("part", "replaced"))
    shutil.rmtree(part, ignore_errors=True)
    try:
        (part / "golden").mkdir(parents=True)
        _fill(part, source)
        sealed = Bundle.open(part)
        if not replay(load(sealed, device="cpu"), sealed).within:
            raise BundleError(f"{source.snapshot}: the golden frames do not give the golden poses; report this model.")
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


def _check_supported(source: ExportSource) -> None:
    spec = model_spec(source.config)
    if spec.task != "single_animal" or set(spec.dense) != {"bodypart"}:
        heads = " and ".join(spec.dense)
        raise BundleError(
            f"{source.config_path}: only single-animal models with a bodypart head can be exported yet, this one is "
            f"{spec.task} with {heads}; evaluate it with: rigpose evaluate."
        )


def _check_free(destination: Path, *, overwrite: bool) -> None:
    if not destination.exists():
        return
    if not overwrite:
        raise BundleError(f"{destination}: exists already; give --overwrite to replace it, or another --output.")
    if not (destination / MANIFEST).is_file():
        # Overwriting deletes the whole folder, and this one may be anything.
        raise BundleError(f"{destination}: is no bundle and is not overwritten; remove it or give another --output.")


def _fill(folder: Path, source: ExportSource) -> None:
    content = read_snapshot(source.snapshot)
    model = build_model(source.config).eval()
    load_weights(model, content["model"], source=source.snapshot)
    reference = torch_analyzer(model, source.config, skeleton=source.skeleton)
    assert isinstance(reference.session, TorchSession)
    graph = write_onnx(reference.session.graph, reference.spec, folder / "pose.onnx")

    exported = type(reference)(reference.spec, OnnxRuntimeSession(folder / graph.file, device="cpu"))
    certificate = certify(reference, exported, source.frames, described=source.frames_described)
    if not certificate.passed:
        raise BundleError(f"{source.snapshot}: {_verdict(certificate)}, so no bundle was made; report this model.")
    (folder / PARITY).write_text(yaml.safe_dump(to_mapping(certificate), sort_keys=False), encoding="utf-8")

    # A frame on which rounding alone decides would make the check on another machine fail for no reason.
    unclear = np.any(ambiguous_cells(reference, source.frames, certificate.tolerance), axis=1)
    golden = [source.frames[i] for i in np.argsort(unclear, kind="stable")[:GOLDEN_FRAMES]]
    for i, frame in enumerate(golden):
        write_picture(folder / golden_frame_name(i), frame)
    np.save(folder / GOLDEN_KEYPOINTS, np.stack([p.to_array() for p in reference.predict(golden)]), allow_pickle=False)
    (folder / TRAINING_CONFIG).write_text(yaml.safe_dump(dict(source.config), sort_keys=False), encoding="utf-8")
    epoch = content["metadata"].get("epoch")
    seal(folder, _manifest(folder, source, graph, reference.spec, epoch=None if epoch is None else int(epoch)))


def _manifest(folder: Path, source: ExportSource, graph: GraphSpec, spec: ModelSpec, *, epoch: int | None) -> Manifest:
    return Manifest(
        rigpose_bundle=FORMAT,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        scorer=source.scorer,
        model=spec,
        graphs={"pose": graph},
        display=source.display,
        provenance=Provenance(
            rigpose=__version__,
            torch=str(torch.__version__),
            snapshot=source.snapshot.name,
            snapshot_sha256=file_sha256(source.snapshot),
            config_sha256=file_sha256(source.config_path),
            epoch=epoch,
            source=source.described,
        ),
        files=record_files(folder),
    )


def _verdict(certificate: Certificate) -> str:
    worst = max(certificate.cases, key=lambda case: case.difference.beyond)
    d = worst.difference
    return (
        f"ONNX Runtime differs from torch at batch {worst.batch}, {worst.height}x{worst.width}: {d.beyond} of "
        f"{d.keypoints} keypoints beyond {certificate.tolerance.position_px:g} px (worst {d.worst_px:.3g} px, "
        f"{d.worst_score:.2g} in score)"
    )
