"""``rigpose check BUNDLE``: does this machine give the training framework's poses?"""

from __future__ import annotations

import argparse

from rigpose.bundle import Bundle
from rigpose.certificate import open_sessions, read_certificate, replay
from rigpose.commands.backend_arguments import add_backend_arguments
from rigpose.commands.command import Command
from rigpose.differences import Difference


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="the bundle's folder")
    add_backend_arguments(parser)


def _run(arguments: argparse.Namespace) -> int:
    bundle = Bundle.open(arguments.bundle)
    sessions = open_sessions(bundle, device=arguments.device, backend=arguments.backend, precision=arguments.precision)
    tolerance = read_certificate(bundle).tolerance
    beyond = 0
    for graph, difference in replay(bundle, sessions).items():
        what, allowed = ("boxes", tolerance.box_px) if graph == "detector" else ("keypoints", tolerance.position_px)
        print(
            f"{bundle.path}: {difference.compared} {what} of the golden frames "
            f"on {sessions[graph].device} by {_runs(arguments)}: worst {difference.worst_px:.2g} px and "
            f"{difference.worst_score:.2g} in score (allowed {allowed:g} px, {tolerance.score:g}){_ties(difference)}."
        )
        beyond += difference.beyond + (0 if difference.compared else 1)
    if not beyond:
        print("PASSED: this machine gives the training framework's answers.")
        return 0
    if arguments.precision == "bf16":
        print(
            f"FAILED: {beyond} differ, as bf16 rounds (inf stands for another animal, or the same in another place of "
            "the list); use it only where these distances do not matter, and otherwise leave out --precision."
        )
        return 1
    print(
        f"FAILED: {beyond} differ; do not use this machine for this bundle before you know why "
        "(rigpose doctor shows versions and devices)."
    )
    return 1


def _runs(arguments: argparse.Namespace) -> str:
    return arguments.backend if arguments.precision is None else f"{arguments.backend} in {arguments.precision}"


def _ties(difference: Difference) -> str:
    return f", {difference.ties} of them decided by rounding alone" if difference.ties else ""


COMMAND = Command("check", "Replay a bundle's golden frames on this machine and compare.", _configure, _run)
