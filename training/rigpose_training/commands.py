"""``rigpose models | create-training-dataset | train | evaluate``. Heavy imports happen when a command runs."""

from __future__ import annotations

import argparse
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
    del arguments
    from rigpose_training.pose_config.templates import available_models

    for name in available_models():
        print(name)
    return 0


def _configure_models(parser: argparse.ArgumentParser) -> None:
    del parser


def _configure_create(parser: argparse.ArgumentParser) -> None:
    _project_argument(parser)
    parser.add_argument(
        "--net-type", metavar="NAME", help="a name that `rigpose models` prints (default: the project's)"
    )
    parser.add_argument("--shuffle", metavar="N", type=int, help="number of the new shuffle (default: highest + 1)")
    parser.add_argument("--seed", metavar="N", type=int, default=42, help="of the random split (default: 42)")


def _create(arguments: argparse.Namespace) -> int:
    from rigpose_training.project.create import create_training_dataset

    wanted = None if arguments.shuffle is None else [arguments.shuffle]
    for index in create_training_dataset(
        arguments.project, Shuffles=wanted, net_type=arguments.net_type, seed=arguments.seed
    ):
        print(f"shuffle {index} is there; train it with: rigpose train {arguments.project} --shuffle {index}")
    return 0


def _configure_train(parser: argparse.ArgumentParser) -> None:
    _project_argument(parser)
    shuffle_options(parser)
    parser.add_argument("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--epochs", metavar="N", type=int, help="default: train_settings.epochs of pytorch_config.yaml")
    parser.add_argument("--batch-size", metavar="N", type=int, help="default: train_settings.batch_size")
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
        "--weights",
        choices=("imagenet", "random"),
        default="imagenet",
        help="the backbone's first weights (default: imagenet, through timm)",
    )
    parser.add_argument(
        "--amp", choices=("auto", "bf16", "fp16", "off"), default="auto", help="mixed precision (default: auto)"
    )
    parser.add_argument("--fresh", action="store_true", help="begin again instead of continuing an interrupted run")


def _train(arguments: argparse.Namespace) -> int:
    from rigpose_training.engine.train import train_network

    snapshot = train_network(
        arguments.project,
        shuffle=arguments.shuffle,
        trainingsetindex=arguments.trainset_index,
        device=arguments.device,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        save_epochs=arguments.save_epochs,
        eval_interval=arguments.eval_interval,
        workers=arguments.workers,
        seed=arguments.seed,
        snapshot_path=arguments.snapshot,
        weights=arguments.weights,
        amp=arguments.amp,
        resume=not arguments.fresh,
    )
    print(f"snapshot: {snapshot}")
    return 0


def _configure_evaluate(parser: argparse.ArgumentParser) -> None:
    _project_argument(parser)
    shuffle_options(parser)
    parser.add_argument(
        "--snapshot", metavar="SNAPSHOT", default="-1", help="index, or `all`; -1 is the best (default: -1)"
    )
    parser.add_argument("--pcutoff", metavar="P", type=float, help="default: the project's")
    parser.add_argument("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--plot", action="store_true", help="draw labels and predictions on every image")


def _evaluate(arguments: argparse.Namespace) -> int:
    from rigpose_training.evaluation.evaluate import evaluate_network

    table = evaluate_network(
        arguments.project,
        shuffles=(arguments.shuffle,),
        trainingsetindex=arguments.trainset_index,
        snapshotindex="all" if arguments.snapshot == "all" else int(arguments.snapshot),
        plotting=arguments.plot,
        pcutoff=arguments.pcutoff,
        device=arguments.device,
    )
    print(table.to_string())
    return 0


MODELS = Command("models", "Print the model names that can be trained.", _configure_models, _models, extra="train")
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
