"""``rigpose export | demo``. Heavy imports happen when a command runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rigpose.bundles.bundle import Bundle, Precision, Role
from rigpose.bundles.certificate import Certificate, Metric, read_certificate
from rigpose.commands.argument_types import at_least_one
from rigpose.commands.command import Command
from rigpose.errors import ConfigError
from rigpose.progress import progress
from rigpose_training.commands import shuffle_options

_OTHERS: tuple[Precision, ...] = ("fp16", "int8")


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", type=Path, nargs="?", help="a DeepLabCut project: its folder or its config.yaml")
    shuffle_options(parser)
    parser.add_argument(
        "--snapshot",
        metavar="SNAPSHOT",
        default="-1",
        help="of a project: index or file name, -1 is the best (default: -1); with --config: the snapshot's path",
    )
    parser.add_argument(
        "--detector-snapshot",
        metavar="SNAPSHOT",
        help="of a top-down pair: the detector's, index or file name (default: the project's detector_snapshotindex); "
        "with --config: its path",
    )
    parser.add_argument("--config", metavar="FILE", type=Path, help="instead of a project: a bare pytorch_config.yaml")
    parser.add_argument(
        "--frames",
        metavar="PATH",
        type=Path,
        nargs="+",
        default=[],
        help="with --config: videos, images or folders of images to prove parity on and to calibrate int8 on (default: "
        "drawn frames, which are nothing to calibrate on)",
    )
    parser.add_argument(
        "--output",
        "-o",
        metavar="FOLDER",
        type=Path,
        help="the bundle's folder (default: exported-models-rigpose in the project)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=("fp32", "fp16", "int8"),
        default=["fp32"],
        help="what the bundle holds beside fp32, each measured against it on the labelled test images: fp16 for GPUs, "
        "int8 for CPUs and TensorRT (default: fp32 alone)",
    )
    parser.add_argument(
        "--portable",
        action="store_true",
        help="also fp32 graphs without RoiAlign, for TensorRT (Faster R-CNN; they are in the bundle with any other "
        "precision and with --check tensorrt, too; DEKR's has no DeformConv and is there always)",
    )
    parser.add_argument(
        "--combined",
        action="store_true",
        help="of a top-down pair: also detector, crops and pose network in one graph, which rigpose analyze --combined "
        "runs; it looks for as many animals as the model has, in every frame, and is made in fp32 alone",
    )
    parser.add_argument(
        "--detector-size",
        type=at_least_one,
        metavar="PX",
        help="of a top-down pair: let the detector see frames in this size and not in the one that it was trained "
        "with: both sides of an SSDLite's square (320), the shorter side of a Faster R-CNN (800, or 320); smaller is "
        "faster, and the line of mAP says how good its boxes still are on the labelled test images",
    )
    parser.add_argument(
        "--detector-proposals",
        type=at_least_one,
        metavar="N",
        help="of a top-down pair with a Faster R-CNN: let its box head look at this many regions and not at 1000 "
        "(or 150), which is the larger part of its time; give some tens for each animal, and read the line of mAP",
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="keep a precision that loses more than it may (fp16: p99 0.1 px and 1%% of error and mAP; int8: 5%%), "
        "which is left out otherwise",
    )
    parser.add_argument(
        "--check",
        choices=("tensorrt",),
        help="parse and build every graph for TensorRT on this computer, without a GPU, and keep the result in the "
        "certificate; needs the extra tensorrt-check",
    )
    parser.add_argument(
        "--triton",
        metavar="FOLDER",
        type=Path,
        help="also write a model repository for a Triton Inference Server with a GPU: in fp16 if that is asked for, "
        "else in fp32, where it serves the combined graph if there is one",
    )


def _export(arguments: argparse.Namespace) -> int:
    _check_together(arguments)
    from rigpose_export.analysis import bundle_folder
    from rigpose_export.graphs.files import ExportOptions
    from rigpose_export.pack import export_bundle
    from rigpose_export.replaced import held_by, lost_from
    from rigpose_export.source import pair_source, shuffle_source
    from rigpose_training.project.config import read_project_config

    if arguments.config is not None:
        detector = Path(arguments.detector_snapshot) if arguments.detector_snapshot else None
        source = pair_source(arguments.config, Path(arguments.snapshot), detector=detector, frames=arguments.frames)
        folder = arguments.output or Path(f"{source.scorer}.bundle")
    else:
        project = read_project_config(arguments.project)
        source = shuffle_source(
            project,
            shuffle=arguments.shuffle,
            trainset_index=arguments.trainset_index,
            snapshot=arguments.snapshot,
            detector_snapshot=arguments.detector_snapshot,
        )
        folder = arguments.output or bundle_folder(project, source)
    if arguments.triton is not None:
        from rigpose_export.triton import check_repository

        if arguments.triton.resolve() in (folder.resolve(), *folder.resolve().parents):
            raise ConfigError(f"--triton {arguments.triton}: holds the bundle's folder {folder}; give one beside it.")
        check_repository(arguments.triton, overwrite=arguments.overwrite)
    weights = source.snapshot.name if source.detector is None else f"{source.snapshot.name}, {source.detector.name}"
    print(f"exporting {weights} ({source.described}); tracing and proving take a minute ...")
    options = ExportOptions(
        precisions=tuple(one for one in _OTHERS if one in arguments.precision),
        portable=arguments.portable or arguments.check == "tensorrt",
        combined=arguments.combined,
        detector_side=arguments.detector_size,
        detector_proposals=arguments.detector_proposals,
        accept_loss=arguments.accept_loss,
        try_tensorrt=arguments.check == "tensorrt",
    )
    before = held_by(folder)
    bundle = export_bundle(source, folder, overwrite=arguments.overwrite, options=options, show=progress)
    certificate = read_certificate(bundle)
    for line in _proven(bundle, certificate):
        print(f"  {line}")
    print(f"bundle: {bundle.path}")
    for one in certificate.left_out:
        print(f"left out: {one.reason}")
    lost = lost_from(before, bundle)
    if lost:
        print(f"replaced: the bundle that was there also held {', '.join(lost)}, and this one does not.")
    if arguments.triton is not None:
        _serve(bundle, arguments)
    print(_next_step(bundle))
    # An export needs no OpenVINO, and what it lacks without is no failure where it is installed either.
    refused = [one for one in certificate.left_out if one.backends != ("openvino",)]
    return 1 if refused or any(one.refusal for one in certificate.tensorrt) else 0


def _serve(bundle: Bundle, arguments: argparse.Namespace) -> None:
    """Write the model repository in the precision that was asked for."""
    from rigpose_export.triton import write_triton

    precision: Precision = "fp16" if "fp16" in arguments.precision else "fp32"
    if not any(graph.precision == precision for graph in bundle.manifest.graphs):
        print(
            f"triton: {arguments.triton} was not written, as it was to serve {precision}, which was left out; export "
            f"again with --accept-loss, or without {precision} to serve fp32."
        )
        return
    served = write_triton(bundle, arguments.triton, precision=precision, overwrite=arguments.overwrite)
    print(f"triton: {served} (its README.md says how to serve it)")


def _check_together(arguments: argparse.Namespace) -> None:
    """Options of a project say nothing to a bare configuration, and the other way round."""
    if (arguments.project is None) == (arguments.config is None):
        raise ConfigError("give either a project or --config with --snapshot; see: rigpose export --help.")
    if arguments.config is None and arguments.frames:
        raise ConfigError(
            "--frames: is for --config; a project is proved, calibrated and measured on its labelled images, so leave "
            "it out."
        )
    if arguments.config is not None and (arguments.shuffle, arguments.trainset_index) != (1, 0):
        raise ConfigError("--shuffle and --trainset-index: choose of a project, and --config is none; leave them out.")


def _proven(bundle: Bundle, certificate: Certificate) -> Iterator[str]:
    """What the certificate says, a line for each comparison in fp32, for each other graph and for each engine."""
    for graph in certificate.graphs:
        name = graph.file if graph.backend == "onnxruntime" else f"{graph.file} in {graph.backend}"
        for case in graph.cases:
            d = case.difference
            yield (
                f"{name}, batch {case.batch}, {case.width}x{case.height}: {d.compared} {case.what}, worst "
                f"{d.worst_px:.2g} px, worst score difference {d.worst_score:.2g}"
            )
        if graph.loss is not None:
            moved, size = graph.loss.drift, bundle.manifest.files[graph.file].bytes
            yield (
                f"{name}, {size / 1e6:.1f} MB: p99 {moved.p99_px:.2g} px and worst {moved.worst_px:.2g} px from "
                f"{graph.against} over {moved.compared} sure ones, {moved.lost} lost, {moved.flips} of {moved.unsure} "
                f"unsure ones elsewhere; {graph.verdict}"
            )
        if graph.metric is not None:
            right = certificate.metric[graph.role]
            yield f"{name}: {metric_change(graph.role, right, graph.metric)} ({certificate.measured})"
        if graph.loss is not None:
            yield from (f"{name}: accepted although {text}" for text in graph.loss.beyond)
    for trial in certificate.tensorrt:
        if trial.seconds is None or trial.plan_bytes is None:
            yield f"{trial.file}: TensorRT refuses it: {trial.refusal}"
        else:
            size = trial.plan_bytes / 1e6
            yield f"{trial.file}: TensorRT for RTX built it in {trial.seconds:.0f} s ({size:.1f} MB)"


def metric_change(role: Role, right: Metric, other: Metric) -> str:
    """How good a graph is, and in brackets torch."""
    words = [f"mAP {_figure(other.mAP, '.4g')} (torch {_figure(right.mAP, '.4g')})"]
    if role == "pose":
        words.insert(0, f"mean error [px] {_figure(other.px_error, '.3g')} (torch {_figure(right.px_error, '.3g')})")
    return ", ".join(words)


def _figure(number: float | None, digits: str) -> str:
    return "none, as nothing is found" if number is None else format(number, digits)


def _next_step(bundle: Bundle) -> str:
    manifest = bundle.manifest
    if manifest.model.task == "conditional_top_down":
        return (
            f"next: rigpose analyze {bundle.path} VIDEO --conditions BUNDLE (a bottom-up model of the same keypoints)"
        )
    if manifest.model.task == "top_down" and manifest.detector is None:
        return (
            "The bundle has no detector, because the model's was not trained or not given; train it with rigpose train "
            f"and export again, or, for one animal, rigpose analyze {bundle.path} VIDEO --search patches"
        )
    return f"next: rigpose analyze {bundle.path} VIDEO"


def _configure_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        help="where to work (default: rigpose-demo, or rigpose-demo-N of several animals)",
    )
    parser.add_argument(
        "--animals",
        metavar="N",
        type=int,
        default=1,
        help="how many walk in each picture; several are told apart and tracked (default: 1)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the drawn world (default: 0)")


def _demo(arguments: argparse.Namespace) -> int:
    if arguments.animals < 1:
        raise ConfigError(f"--animals: there must be at least 1, found {arguments.animals}.")
    if arguments.animals == 1:
        from rigpose_export.demo.single import PLAN, run_demo

        run_demo(arguments.folder or Path("rigpose-demo"), PLAN, seed=arguments.seed, say=print)
        return 0
    from rigpose_export.demo.animals import plan_of, run_animals_demo

    folder = arguments.folder or Path(f"rigpose-demo-{arguments.animals}")
    run_animals_demo(folder, plan_of(arguments.animals), seed=arguments.seed, say=print)
    return 0


EXPORT = Command(
    "export",
    "Turn a trained shuffle, or a config and snapshot, into a bundle with proven parity.",
    _configure_export,
    _export,
    extra="export",
)
DEMO = Command(
    "demo",
    "Draw a labelled project, train, evaluate, export and analyse an unseen video, with the error against the truth.",
    _configure_demo,
    _demo,
    extra="export",
)
