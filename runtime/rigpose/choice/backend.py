"""``--backend auto`` and ``--precision auto``: the fastest that keeps keypoints within a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from rigpose.analyzers.analyzer import VideoAnalyzer
from rigpose.bundles.bundle import Bundle
from rigpose.bundles.engines import ENGINES
from rigpose.bundles.golden import Golden, read_golden
from rigpose.choice.accuracy import Accuracy, accuracy_of_chain, accuracy_of_graph
from rigpose.choice.remembered import recall, remember, this_machine
from rigpose.choice.timing import filled_batch, median_seconds
from rigpose.errors import BackendError, ConfigError
from rigpose.poses import Poses
from rigpose.schema import parse, to_mapping
from rigpose.sessions import Session
from rigpose.sessions.backends import Backend

ACCURACY_PX = 0.2
"""Default bound: people who label one frame twice differ by a pixel and more, so that nobody can see a fifth of one."""


@dataclass(frozen=True)
class AutoOptions:
    """What an automatic choice is asked for.

    Attributes:
        frame_size: (H, W) of the frames that will come; none for the bundle's golden frames' size.
        accuracy_px: Largest 99th percentile of sure keypoints' distances to fp32 [px].
        again: Measure even where a choice is remembered.
        batch: Frames at a time on a GPU; on a CPU one, which tells as much in an eighth of the time.
    """

    frame_size: tuple[int, int] | None = None
    accuracy_px: float = ACCURACY_PX
    again: bool = False
    batch: int = 8

    def __post_init__(self) -> None:
        if not self.accuracy_px >= 0:
            raise ConfigError(f"accuracy: {self.accuracy_px:g} is no distance; give pixels, such as {ACCURACY_PX:g}.")


@dataclass(frozen=True)
class Measured:
    """What was found out about one backend in one precision.

    Attributes:
        backend: Its name.
        precision: Of the network's products.
        milliseconds: Median per frame; none where it cannot run.
        accuracy: What it costs; none where that was not asked, or it cannot run.
        within: Whether it may be taken.
        reason: Why it cannot run, a sentence; nothing where it can, or where the bundle has no graph for it.
    """

    backend: str
    precision: str
    milliseconds: float | None
    accuracy: Accuracy | None
    within: bool
    reason: str = ""

    def __str__(self) -> str:
        """Name, time and, where it is not fp32, its cost."""
        if self.milliseconds is None:
            return f"{self.backend} {self.precision}"
        cost = f", {self.accuracy.p99_px:.3f} px" if self.accuracy and self.precision != "fp32" else ""
        lost = (
            f", {self.accuracy.lost} of {self.accuracy.compared} lost" if self.accuracy and self.accuracy.lost else ""
        )
        return f"{self.backend} {self.precision} {self.milliseconds:.1f} ms{cost}{lost}"


@dataclass(frozen=True)
class Choice:
    """What was chosen, and the figures of the others.

    Attributes:
        measured: Of everything that came into question, what was chosen first and the others by their time.
        frame_size: (H, W) that it was measured for.
        accuracy_px: The bound; none where the precision was not to be chosen.
        device: Where the chosen one runs.
        remembered: Whether it was measured in an earlier run.
        unkept: Why the next run will not know of it, if so.
    """

    measured: tuple[Measured, ...]
    frame_size: tuple[int, int]
    accuracy_px: float | None
    device: str
    remembered: bool = False
    unkept: str = ""

    @property
    def sentence(self) -> str:
        """What was chosen and why, in one line."""
        (chosen, *others), (height, width) = self.measured, self.frame_size
        cost = chosen.accuracy
        why = f"the fastest for {width}x{height} on {self.device}"
        if self.accuracy_px is not None:
            why += f" within {self.accuracy_px:g} px of fp32 (99 % of sure keypoints"
            why += f", by {cost.source})" if cost and chosen.precision != "fp32" else ")"
        groups = {
            "slower": [m for m in others if m.within],
            "not within the bound": [m for m in others if not m.within and m.milliseconds is not None],
            "not in the bundle": [m for m in others if m.milliseconds is None and not m.reason],
        }
        said = [f"{name}: {'; '.join(map(str, found))}" for name, found in groups.items() if found]
        said += [f"{m.backend} {m.precision} cannot run ({m.reason.rstrip('.')})" for m in others if m.reason]
        said += ["measured in an earlier run, --choose-again measures anew"] if self.remembered else []
        said += [self.unkept] if self.unkept else []
        return f"auto: {chosen} per frame, {why}; " + "; ".join(said or ["nothing else comes into question"]) + "."


class Opened(VideoAnalyzer, Protocol):
    """An analyzer over a backend's sessions."""

    @property
    def session(self) -> Session:
        """Of the graph that finds poses."""
        ...


A = TypeVar("A", bound=Opened)


@dataclass(frozen=True)
class Chosen(Generic[A]):
    """The choice, and the analyzer that it means."""

    choice: Choice
    analyzer: A


def choose_backend(  # noqa: PLR0913  # what is chosen, out of what, and how it is judged
    bundle: Bundle,
    among: Sequence[Backend],
    open_with: Callable[[Backend], A],
    options: AutoOptions,
    *,
    judged: bool,
    chain: bool,
    also: Mapping[str, Any],
) -> Chosen[A]:
    """Measure for some seconds, or recall what was measured before.

    Args:
        bundle: The model.
        among: What comes into question.
        open_with: Loads the model's graphs with a backend.
        options: What is asked for.
        judged: Whether the precision is to be chosen, too, so that it must keep the bound.
        chain: Whether another graph's results decide what the pose graph sees.
        also: What else speed depends on, in builtin types.

    Raises:
        ConfigError: Nothing that can run keeps the bound, or an option that the model does not have.
        BackendError: Nothing can run.
    """
    golden = read_golden(bundle)
    size = options.frame_size or (golden.frames[0].shape[0], golden.frames[0].shape[1])
    question = {
        "bundle": bundle.checksum,
        "engines": sorted(path.name for path in (bundle.path / ENGINES).rglob("*") if path.is_file()),
        "machine": this_machine(),
        "among": [to_mapping(runs) for runs in among],
        "frame_size": size,
        "accuracy_px": options.accuracy_px if judged else None,
        "batch": options.batch,
        **also,
    }
    before = None if options.again else _recalled(question, among, open_with)
    if before is not None:
        return before
    opened, reasons = _open_all(among, open_with)
    accuracies = _accuracies(bundle, golden, opened, chain=chain) if judged else {}
    times = _times(opened, golden, size, options.batch)
    found = [
        Measured(
            runs.name,
            runs.precision,
            times.get(runs),
            accuracies.get(runs),
            runs in opened and (not judged or (runs in accuracies and accuracies[runs].within(options.accuracy_px))),
            reasons.get(runs, ""),
        )
        for runs in among
    ]
    found.sort(key=lambda one: (not one.within, one.milliseconds is None, one.milliseconds))
    if not found[0].within:
        raise ConfigError(
            f"{bundle.path}: nothing that can run here stays within {options.accuracy_px:g} px of fp32 "
            f"({'; '.join(map(str, found))}); give a larger --accuracy, or name a --precision."
        )
    analyzer = opened[_named(among, found[0])]
    choice = Choice(tuple(found), size, options.accuracy_px if judged else None, analyzer.device)
    unkept = remember(question, to_mapping(choice))
    return Chosen(Choice(choice.measured, size, choice.accuracy_px, choice.device, unkept=unkept), analyzer)


def _recalled(
    question: Mapping[str, Any], among: Sequence[Backend], open_with: Callable[[Backend], A]
) -> Chosen[A] | None:
    answer = recall(question)
    try:
        kept = parse(Choice, answer, where="remembered choice")
        analyzer = open_with(_named(among, kept.measured[0]))
    except (ConfigError, IndexError, KeyError, BackendError):
        # Broken, or what ran then does not run now, as where engines were deleted.
        return None
    choice = Choice(kept.measured, kept.frame_size, kept.accuracy_px, kept.device, remembered=True)
    return Chosen(choice, analyzer)


def _named(among: Sequence[Backend], measured: Measured) -> Backend:
    """The backend of a measurement.

    Raises:
        KeyError: None of them is it.
    """
    return {(runs.name, runs.precision): runs for runs in among}[measured.backend, measured.precision]


def _open_all(
    among: Sequence[Backend], open_with: Callable[[Backend], A]
) -> tuple[dict[Backend, A], dict[Backend, str]]:
    """Analyzers by backend, and why the others cannot run; nothing where the bundle has no graph for them.

    Raises:
        RigposeError: None can run; the first one's reason.
    """
    opened: dict[Backend, A] = {}
    errors: dict[Backend, ConfigError | BackendError] = {}
    for runs in among:
        try:
            opened[runs] = open_with(runs)
        except (ConfigError, BackendError) as error:  # noqa: PERF203
            errors[runs] = error
    if not opened:
        raise next(iter(errors.values()))
    return opened, {runs: "" if isinstance(error, ConfigError) else str(error) for runs, error in errors.items()}


def _accuracies(
    bundle: Bundle, golden: Golden, opened: Mapping[Backend, Opened], *, chain: bool
) -> dict[Backend, Accuracy]:
    """Of each; behind another graph it is the worse of the pose graph's own and the whole chain's."""
    exact = next((analyzer for runs, analyzer in opened.items() if runs.precision == "fp32"), None)
    right: list[Poses] = exact.predict(golden.frames) if chain and exact is not None else []
    found = {}
    for runs, analyzer in opened.items():
        found[runs] = accuracy_of_graph(bundle, runs, analyzer.session, golden)
        if not chain or runs.precision == "fp32":
            continue
        if exact is None:
            # Nothing tells what it should find.
            del found[runs]
            continue
        whole = accuracy_of_chain(right, analyzer, golden)
        found[runs] = max(found[runs], whole, key=lambda one: (one.lost / max(one.compared, 1), one.p99_px))
    return found


def _times(opened: Mapping[Backend, Opened], golden: Golden, size: tuple[int, int], batch: int) -> dict[Backend, float]:
    """Median milliseconds per frame."""
    tasks, frames = {}, {}
    for runs, analyzer in opened.items():
        run = analyzer.run_of(*size)
        wanted = 1 if analyzer.device == "cpu" else batch
        frames[runs] = -(-wanted // run.period) * run.period
        slots = filled_batch(run, golden.frames, size, frames[runs])
        tasks[runs] = lambda run=run, slots=slots: run.infer(slots)
    return {runs: 1000 * seconds / frames[runs] for runs, seconds in median_seconds(tasks).items()}
