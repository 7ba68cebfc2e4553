"""``rigpose models | create-training-dataset | train | evaluate``. Heavy imports happen when a command runs."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from rigpose.commands.command import Command


def _project_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", type=Path, help="a DeepLabCut project: its folder or its config.yaml")


def shuffle_options(parser: argparse.ArgumentParser) -> None:
    """The options that choose a shuffle of a project."""
    parser.add_argument("--shuffle", metavar="N", type=int, default=1, help="number of the shuffle (default: 1)")
    parser.add_argument(
        "--trainset-index",
        metavar="I",
        type=int,
        default=0,
        help="index into the project's TrainingFraction (default: 0)",
    )


def _models(arguments: argparse.Namespace) -> int:
    from rigpose_training.model_table import markdown, print_tables

    if arguments.markdown:
        print(markdown(), end="")
    else:
        print_tables()
    return 0


def _configure_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="print the tables as the README has them")


def _configure_create(parser: argparse.ArgumentParser) -> None:
    _project_argument(parser)
    parser.add_argument(
        "--net-type", metavar="NAME", help="a name that `rigpose models` prints (default: the project's)"
    )
    parser.add_argument(
        "--detector", metavar="NAME", help="of a top-down model: a detector that `rigpose models` prints"
    )
    parser.add_argument(
        "--conditions",
        metavar="POSES",
        help="of a ctd_ model: number of the bottom-up shuffle whose poses it corrects, or their .h5 or .json file",
    )
    parser.add_argument("--shuffle", metavar="N", type=int, help="number of the new shuffle (default: highest + 1)")
    parser.add_argument("--seed", metavar="N", type=int, default=42, help="of the random split (default: 42)")


def _create(arguments: argparse.Namespace) -> int:
    from rigpose_training.project.create import create_training_dataset

    wanted = None if arguments.shuffle is None else [arguments.shuffle]
    poses = arguments.conditions
    for index in create_training_dataset(
        arguments.project,
        Shuffles=wanted,
        net_type=arguments.net_type,
        detector_type=arguments.detector,
        ctd_conditions=int(poses) if poses and poses.isdecimal() else poses,
        seed=arguments.seed,
    ):
        print(f"shuffle {index} is there; train it with: rigpose train {arguments.project} --shuffle {index}")
    return 0


def _configure_train(parser: argparse.ArgumentParser) -> None:
    _project_argument(parser)
    shuffle_options(parser)
    parser.add_argument("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument(
        "--gpus",
        metavar="N",
        type=int,
        nargs="+",
        help="train on these together, a process on each (default: runner.gpus); on several machines start the "
        "processes with: torchrun ... --no-python rigpose train ...",
    )
    parser.add_argument(
        "--epochs", metavar="N", type=int, help="default: train_settings.epochs of pytorch_config.yaml; 0: none"
    )
    parser.add_argument(
        "--batch-size", metavar="N", type=int, help="of each process (default: train_settings.batch_size)"
    )
    parser.add_argument("--save-epochs", metavar="N", type=int, help="default: runner.snapshots.save_epochs")
    parser.add_argument(
        "--eval-interval", metavar="N", type=int, help="epochs between tests (default: runner.eval_interval)"
    )
    parser.add_argument(
        "--workers", metavar="N", type=int, help="loader processes (default: train_settings.dataloader_workers)"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="default: train_settings.seed")
    parser.add_argument(
        "--snapshot", metavar="SNAPSHOT", type=Path, help="start from these weights, e.g. a DeepLabCut snapshot"
    )
    parser.add_argument(
        "--keypoint-map",
        metavar="FILE",
        nargs="?",
        const={},
        help="fine-tune SNAPSHOT, the network of another project: YAML lines `bodypart: its keypoint there` (or CSV); "
        "without FILE, and for what it leaves out, keypoints of the same name",
    )
    parser.add_argument("--backbone-only", action="store_true", help="of SNAPSHOT; the heads begin anew")
    parser.add_argument(
        "--weights",
        choices=("imagenet", "random"),
        default="imagenet",
        help="the backbone's first weights (default: imagenet; a detector's are then COCO's)",
    )
    parser.add_argument(
        "--amp", choices=("auto", "bf16", "fp16", "off"), default="auto", help="mixed precision (default: auto)"
    )
    parser.add_argument("--fresh", action="store_true", help="begin again instead of continuing an interrupted run")
    _configure_detector(parser.add_argument_group("the detector of a top-down shuffle, which trains first"))
    _configure_options(parser.add_argument_group("beyond DeepLabCut; a run that goes on keeps what it was begun with"))


def _configure_detector(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--detector-epochs", metavar="N", type=int, help="default: detector.train_settings; 0: none")
    group.add_argument("--detector-batch-size", metavar="N", type=int, help="default: detector.train_settings")
    group.add_argument("--detector-save-epochs", metavar="N", type=int, help="default: detector.runner.snapshots")
    group.add_argument("--detector-snapshot", metavar="SNAPSHOT", type=Path, help="start from these weights")


def _configure_options(group: argparse._ArgumentGroup) -> None:
    """Absent is not off: it leaves to a run that goes on what it was begun with."""
    group.add_argument("--clip-norm", metavar="X", type=float, help="largest norm of the gradients (0: any)")
    group.add_argument(
        "--ema-decay", metavar="X", type=float, help="test and save a running mean of the weights, e.g. .999 (0: none)"
    )
    group.add_argument("--accumulate", metavar="N", type=int, help="batches for one step of the optimiser")
    group.add_argument(
        "--patience", metavar="N", type=int, help="end after so many tests without a better key metric (0: never)"
    )
    yes_or_no = argparse.BooleanOptionalAction
    group.add_argument("--channels-last", action=yes_or_no, help="memory order that GPUs like in half precision")
    group.add_argument("--compile-model", action=yes_or_no, help="run the network through torch.compile")
    group.add_argument("--tensorboard", action=yes_or_no, help="write event files for TensorBoard too")


def _train(arguments: argparse.Namespace) -> int:
    from rigpose_training.engine.options import TrainingOptions
    from rigpose_training.engine.team import speaks
    from rigpose_training.engine.train import train_network

    given = {field.name: getattr(arguments, field.name) for field in fields(TrainingOptions)}
    snapshot = train_network(
        arguments.project,
        shuffle=arguments.shuffle,
        trainingsetindex=arguments.trainset_index,
        device=arguments.device,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        save_epochs=arguments.save_epochs,
        detector_epochs=arguments.detector_epochs,
        detector_batch_size=arguments.detector_batch_size,
        detector_save_epochs=arguments.detector_save_epochs,
        detector_path=arguments.detector_snapshot,
        eval_interval=arguments.eval_interval,
        workers=arguments.workers,
        seed=arguments.seed,
        snapshot_path=arguments.snapshot,
        load_head_weights=not arguments.backbone_only,
        keypoint_map=arguments.keypoint_map,
        weights=arguments.weights,
        amp=arguments.amp,
        resume=not arguments.fresh,
        options={name: value for name, value in given.items() if value is not None},
        pytorch_cfg_updates={"runner.gpus": arguments.gpus} if arguments.gpus else None,
    )
    if speaks():
        print(f"snapshot: {snapshot}")
    return 0


def _configure_evaluate(parser: argparse.ArgumentParser) -> None:
    _project_argument(parser)
    shuffle_options(parser)
    parser.add_argument(
        "--snapshot", metavar="SNAPSHOT", default="-1", help="index, or `all`; -1 is the best (default: -1)"
    )
    parser.add_argument(
        "--detector-snapshot",
        metavar="SNAPSHOT",
        help="of a top-down model: index, `all`, or `labels` for boxes around the labels (default: the project's)",
    )
    parser.add_argument("--bodyparts", metavar="NAME", nargs="+", help="the only body parts that count (default: all)")
    parser.add_argument("--pcutoff", metavar="P", type=float, help="default: the project's")
    parser.add_argument("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--per-keypoint", action="store_true", help="write the mean error of each body part too")
    parser.add_argument("--plot", action="store_true", help="draw labels and predictions on every image")
    parser.add_argument(
        "--keep-graph",
        action="store_true",
        help="leave the graph of a model with part affinity fields as it is; its first evaluation would shorten it",
    )


def _evaluate(arguments: argparse.Namespace) -> int:
    from rigpose_training.evaluation.evaluate import evaluate_network

    detector = arguments.detector_snapshot
    table = evaluate_network(
        arguments.project,
        shuffles=(arguments.shuffle,),
        trainingsetindex=arguments.trainset_index,
        snapshotindex=_index(arguments.snapshot),
        detector_snapshot_index=None if detector is None else _index(detector),
        comparison_bodyparts=arguments.bodyparts,
        plotting=arguments.plot,
        pcutoff=arguments.pcutoff,
        device=arguments.device,
        per_keypoint_evaluation=arguments.per_keypoint,
        prune_graph=not arguments.keep_graph,
    )
    print(table.to_string())
    return 0


def _index(text: str) -> int | str:
    """A number where it is one; a word is judged by what it is given to."""
    return int(text) if text.removeprefix("-").isdecimal() else text


MODELS = Command(
    "models", "Show the models that can be trained, and the detectors.", _configure_models, _models, extra="train"
)
CREATE_TRAINING_DATASET = Command(
    "create-training-dataset",
    "Split a project's labels and write a new shuffle.",
    _configure_create,
    _create,
    extra="train",
)
TRAIN = Command(
    "train", "Train a shuffle; the same command continues an interrupted run.", _configure_train, _train, extra="train"
)
EVALUATE = Command(
    "evaluate", "Compare a shuffle's predictions with its labels.", _configure_evaluate, _evaluate, extra="train"
)
