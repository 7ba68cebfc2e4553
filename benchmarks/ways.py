"""What benchmarks call a way: a bundle by a backend in a precision, such as ``openvino int8``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from rigpose.analyzers.run_options import RunOptions
from rigpose.bundles.bundle import Bundle
from rigpose.errors import BackendError, ConfigError
from rigpose.load import BundleAnalyzer, load


def open_way(
    bundle: Bundle | Path, way: str, threads: int | None, *, conditions: Path | None = None, device: str = "cpu"
) -> BundleAnalyzer:
    """The bundle by a backend in a precision; of a pair, ``every 5`` behind them is its ``--detect-every``.

    Args:
        bundle: Of any task.
        way: Such as ``openvino int8``.
        threads: Of each session; none for all cores.
        conditions: The bundle of the bottom-up model that a conditional one is told by.
        device: Where the sessions run.

    Raises:
        BackendError: This machine cannot run it.
        ConfigError: The bundle does not have it.
    """
    backend, precision, *every = way.split()
    options = RunOptions(detect_every=int(every[-1]) if every else 1)
    return load(
        bundle,
        conditions=conditions,
        device=device,
        threads=threads,
        backend=backend,
        precision=precision,
        options=options,
    )


def each_way(
    bundle: Bundle | Path,
    ways: Iterable[str],
    threads: int | None,
    *,
    conditions: Path | None = None,
    device: str = "cpu",
) -> tuple[dict[str, BundleAnalyzer], dict[str, str]]:
    """The bundle in every way that it and this machine have, and why not in the others; see ``open_way``."""
    found = {
        way: _attempt(partial(open_way, bundle, way, threads, conditions=conditions, device=device)) for way in ways
    }
    loaded = {way: made for way, made in found.items() if isinstance(made, BundleAnalyzer)}
    return loaded, {way: str(made) for way, made in found.items() if not isinstance(made, BundleAnalyzer)}


def _attempt(open_it: Callable[[], BundleAnalyzer]) -> BundleAnalyzer | BackendError | ConfigError:
    try:
        return open_it()
    except (BackendError, ConfigError) as error:
        return error
