"""``rigpose analyze --cluster``: what was typed, and what every device did."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rigpose.choice import AUTO
from rigpose.commands.run_arguments import run_options
from rigpose.errors import ConfigError

if TYPE_CHECKING:
    from rigpose.videos.analysis import AnalysisOptions, VideoFailure, VideoResult


def analyze_there(
    arguments: argparse.Namespace,
    videos: Sequence[Path],
    images: Sequence[Path],
    options: AnalysisOptions,
    each: Callable[[VideoResult | VideoFailure], None],
) -> None:
    """Analyse videos on a cluster.

    Raises:
        ConfigError: Something was asked for that a cluster does not have.
        RigposeError: See ``analyze_on_cluster``.
    """
    if images:
        raise ConfigError("cluster: images are analysed on one machine; name them in a run without --cluster.")
    for name in ("backend", "precision", "batch"):
        if getattr(arguments, name) == AUTO:
            raise ConfigError(
                f"cluster: {name} auto is measured on one machine, and all must do the same; name it (rigpose bench "
                "shows what is fastest)."
            )
    from rigpose.cluster.analysis import ClusterModel, analyze_on_cluster
    from rigpose.progress import progress

    model = ClusterModel(
        arguments.bundle,
        device=arguments.device,
        threads=arguments.threads,
        backend=arguments.backend,
        precision=arguments.precision,
        conditions=arguments.conditions,
        options=run_options(arguments),
    )
    begun = time.perf_counter()
    done = analyze_on_cluster(
        arguments.cluster,
        model,
        videos,
        options=options,
        each=each,
        warn=lambda sentence: print(f"rigpose analyze: {sentence}", file=sys.stderr),
        show=progress,
    )
    seconds = time.perf_counter() - begun
    for device, frames in done.most_common():
        print(f"{device}: {frames} frames, {frames / seconds:.1f} frames/s")
