"""``rigpose check BUNDLE``: does this machine give the training framework's poses?"""

from __future__ import annotations

import argparse

from rigpose.bundle import Bundle
from rigpose.certificate import open_sessions, read_certificate, replay
from rigpose.commands.command import Command
from rigpose.differences import Difference


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="the bundle's folder")
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:N, or auto: the GPU where there is one (default: %(default)s)",
    )


def _run(arguments: argparse.Namespace) -> int:
    bundle = Bundle.open(arguments.bundle)
    sessions = open_sessions(bundle, device=arguments.device)
    tolerance = read_certificate(bundle).tolerance
    beyond = 0
    for graph, difference in replay(bundle, sessions).items():
        what, allowed = ("boxes", tolerance.box_px) if graph == "detector" else ("keypoints", tolerance.position_px)
        print(
            f"{bundle.path}: {difference.compared} {what} of the golden frames "
            f"on {sessions[graph].device}: worst {difference.worst_px:.2g} px and {difference.worst_score:.2g} "
            f"in score (allowed {allowed:g} px, {tolerance.score:g}){_ties(difference)}."
        )
        beyond += difference.beyond + (0 if difference.compared else 1)
    if not beyond:
        print("PASSED: this machine gives the training framework's answers.")
        return 0
    print(
        f"FAILED: {beyond} differ; do not use this machine for this bundle before you know why "
        "(rigpose doctor shows versions and devices)."
    )
    return 1


def _ties(difference: Difference) -> str:
    return f", {difference.ties} of them decided by rounding alone" if difference.ties else ""


COMMAND = Command("check", "Replay a bundle's golden frames on this machine and compare.", _configure, _run)
