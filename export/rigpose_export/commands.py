"""``rigpose export | demo``. Heavy imports happen when a command runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from rigpose.bundle import Bundle
from rigpose.commands.command import Command
from rigpose.errors import ConfigError
from rigpose_training.commands import shuffle_options


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
        help="with --config: a video, images or a folder of images to prove parity on (default: drawn frames)",
    )
    parser.add_argument(
        "--output",
        "-o",
        metavar="FOLDER",
        type=Path,
        help="the bundle's folder (default: exported-models-rigpose in the project)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")


def _export(arguments: argparse.Namespace) -> int:
    if (arguments.project is None) == (arguments.config is None):
        raise ConfigError("give either a project or --config with --snapshot; see: rigpose export --help.")
    from rigpose.certificate import read_certificate
    from rigpose_export.analysis import bundle_folder
    from rigpose_export.pack import export_bundle
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
    weights = source.snapshot.name if source.detector is None else f"{source.snapshot.name}, {source.detector.name}"
    print(f"exporting {weights} ({source.described}); tracing and proving take a minute ...")
    bundle = export_bundle(source, folder, overwrite=arguments.overwrite)
    certificate = read_certificate(bundle)
    for case in certificate.cases:
        d = case.difference
        print(
            f"  {case.graph}, batch {case.batch}, {case.width}x{case.height}: {d.compared} {case.what}, worst "
            f"{d.worst_px:.2g} px, worst score difference {d.worst_score:.2g}"
        )
    print(f"bundle: {bundle.path}")
    print(_next_step(bundle))
    return 0


def _next_step(bundle: Bundle) -> str:
    manifest = bundle.manifest
    if manifest.model.task == "conditional_top_down":
        return (
            f"next: rigpose analyze {bundle.path} VIDEO --conditions BUNDLE (a bottom-up model of the same keypoints)"
        )
    if manifest.model.task == "top_down" and manifest.detector is None:
        return (
            "The bundle has no detector, because the model's was not trained or not given, so it needs boxes and "
            "cannot analyse videos by itself; train the detector with rigpose train and export again."
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
        from rigpose_export.demo import run_demo

        run_demo(arguments.folder or Path("rigpose-demo"), seed=arguments.seed, say=print)
        return 0
    from rigpose_export.demo_animals import plan_of, run_animals_demo

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
