"""``rigpose check BUNDLE``: does this machine give the training framework's poses?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import cast

from rigpose.bundles.bundle import Bundle, Precision
from rigpose.bundles.certificate import read_certificate
from rigpose.commands.backend_arguments import add_backend_arguments
from rigpose.commands.command import Command
from rigpose.errors import BackendError, ConfigError, RigposeError
from rigpose.measures.differences import Difference
from rigpose.parity.replay import open_sessions, precisions_for, replay, replay_precision
from rigpose.sessions import Session
from rigpose.sessions.backends import Backend
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="the bundle's folder")
    add_backend_arguments(parser)


def _run(arguments: argparse.Namespace) -> int:
    bundle = Bundle.open(arguments.bundle)
    backend: str = arguments.backend
    asked: str | None = arguments.precision
    wrong: dict[str, int] = {}
    refused: list[tuple[str, RigposeError]] = []
    for precision in [asked] if asked else precisions_for(bundle, Backend(backend).graphs) or ("fp32",):
        try:
            sessions = open_sessions(bundle, device=arguments.device, backend=backend, precision=precision)
        except (ConfigError, BackendError) as error:
            # Without fp32 nothing works, but that a rig may have TensorRT engines in another precision alone.
            if asked or (precision == "fp32" and backend != "tensorrt"):
                raise
            refused.append((precision, error))
            continue
        wrong[precision] = _wrong_answers(bundle, sessions, precision, backend, asked)
    if not wrong:
        raise refused[0][1]
    for precision, error in refused:
        print(f"{bundle.path}: NOT CHECKED in {precision}, which does not run here: {error}")
    failed = [precision for precision, count in wrong.items() if count]
    if not failed:
        print(
            f"PASSED in {', '.join(wrong)}: this machine gives the training framework's answers, as near as the "
            "certificate says."
        )
        return 0
    differ = f"FAILED in {', '.join(failed)}: {sum(wrong.values())} differ"
    if asked == "bf16":
        print(
            f"{differ}, as bf16 rounds; use it only where these distances do not matter, and otherwise leave out "
            "--precision."
        )
        return 1
    print(
        f"{differ}; do not use this machine for this bundle in {' or '.join(failed)} before "
        "you know why (rigpose doctor shows versions and devices)."
    )
    return 1


def _wrong_answers(
    bundle: Bundle, sessions: Mapping[str, Session], precision: str, backend: str, asked: str | None
) -> int:
    """Print what the golden frames give and how many answers are beyond what is allowed."""
    for role, session in sessions.items():
        if isinstance(session, OnnxRuntimeSession) and session.placement is not None:
            print(f"{bundle.path}: {role}: {session.placement}.")
    if precision in ("fp16", "int8"):
        return _in_other_precision(bundle, sessions, cast(Precision, precision), backend)
    return _in_fp32(bundle, sessions, f"{backend} in {precision}" if asked else backend)


def _in_fp32(bundle: Bundle, sessions: Mapping[str, Session], runs: str) -> int:
    """How many answers lie beyond the tolerance."""
    tolerance, beyond = read_certificate(bundle).tolerance, 0
    for graph, difference in replay(bundle, sessions).items():
        what, px, score = {
            "pose": ("keypoints", tolerance.position_px, tolerance.score),
            "detector": ("boxes", tolerance.box_px, tolerance.box_score),
            "pair": ("keypoints (combined graph)", tolerance.position_px, tolerance.score),
        }[graph]
        print(
            f"{bundle.path}: {difference.compared} {what} of the golden frames "
            f"on {sessions[graph].device} by {runs}: worst {difference.worst_px:.2g} px and "
            f"{difference.worst_score:.2g} in score (allowed {px:g} px, {score:g})"
            f"{_missing(difference)}{_ties(difference)}."
        )
        beyond += difference.beyond + (0 if difference.compared else 1)
    return beyond


def _in_other_precision(bundle: Bundle, sessions: Mapping[str, Session], precision: Precision, backend: str) -> int:
    """How many graphs do not do as well as their certificates say."""
    graphs, wrong = Backend(backend).graphs, 0
    for graph, allowed in replay_precision(bundle, sessions, precision=precision, backend=graphs).items():
        found = allowed.drift
        what = "sure boxes" if graph == "detector" else "sure keypoints"
        print(
            f"{bundle.path}: {found.compared} {what} of the golden frames on {sessions[graph].device} by {backend} in "
            f"{precision}: p99 {found.p99_px:.2g} px, median {found.median_px:.2g} px and "
            f"{found.worst_score:.2g} in score (allowed {allowed.p99_px:.2g} px, {allowed.median_px:.2g} px, "
            f"{allowed.score:.2g}), {found.lost} lost (allowed {allowed.lost})."
        )
        wrong += not allowed.within
    return wrong


def _missing(difference: Difference) -> str:
    return f", {difference.missing} only on one side" if difference.missing else ""


def _ties(difference: Difference) -> str:
    return f", {difference.ties} of them decided by rounding alone" if difference.ties else ""


COMMAND = Command("check", "Replay a bundle's golden frames on this machine and compare.", _configure, _run)
