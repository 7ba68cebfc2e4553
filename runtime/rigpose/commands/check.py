"""``rigpose check BUNDLE``: does this machine give the training framework's poses?"""

from __future__ import annotations

import argparse

from rigpose.certificate import read_certificate, replay
from rigpose.commands.command import Command
from rigpose.load import load


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="the bundle's folder")
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:N, or auto: the GPU where there is one (default: %(default)s)",
    )


def _run(arguments: argparse.Namespace) -> int:
    analyzer = load(arguments.bundle, device=arguments.device)
    difference = replay(analyzer, analyzer.bundle)
    tolerance = read_certificate(analyzer.bundle).tolerance
    print(
        f"{analyzer.bundle.path}: {difference.keypoints} keypoints of the golden frames on {analyzer.session.device}: "
        f"worst {difference.worst_px:.2g} px and {difference.worst_score:.2g} in score "
        f"(allowed {tolerance.position_px:g} px, {tolerance.score:g})."
    )
    if difference.within:
        print("PASSED: this machine gives the training framework's poses.")
        return 0
    print(
        f"FAILED: {difference.beyond} keypoints differ; do not use this machine for this bundle before you know why "
        "(rigpose doctor shows versions and devices)."
    )
    return 1


COMMAND = Command("check", "Replay a bundle's golden frames on this machine and compare.", _configure, _run)
