"""What was typed for ``rigpose live`` -> everything that a run is made of."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rigpose.bundles.bundle import Display
from rigpose.commands.live_checks import CHANGES, check_options, check_places, check_settings
from rigpose.commands.run_arguments import DYNAMIC, run_options
from rigpose.errors import ConfigError, RigposeError
from rigpose.live.finding.drawn_animals import DrawnAnimals
from rigpose.live.finding.open_finder import finder_of
from rigpose.live.finding.pose_finder import PoseFinder
from rigpose.live.outputs.open_output import open_output
from rigpose.live.outputs.output import Output
from rigpose.live.prediction.fitted import MotionFit
from rigpose.live.prediction.predictor import Predictor
from rigpose.live.recording.side_car import read_lines
from rigpose.live.report.recorded import recorded, went_wrong
from rigpose.live.running.loop import LiveRun
from rigpose.live.running.run_options import LiveOptions
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.frame_source import FrameSource
from rigpose.live.sources.open_source import open_sources
from rigpose.live.sources.simulated import SimulatedCamera
from rigpose.live.status import RunStatus
from rigpose.live.triggers.change_log import write_changes
from rigpose.live.triggers.triggers import Triggers, read_triggers
from rigpose.live.viewing.picture import LiveDrawing
from rigpose.live.viewing.web import WebPage
from rigpose.live.viewing.window import Window
from rigpose.live.watched_session import TakesTime, watch_sessions
from rigpose.load import load
from rigpose.videos.video import Crop

if TYPE_CHECKING:
    from rigpose.live.recording.recorder import Recorder


@dataclass(frozen=True)
class Model:
    """What finds animals, and what is known of it.

    Attributes:
        finder: Of live frames.
        session_time: What its graphs take.
        display: How its project draws poses.
        scorer: DeepLabCut's name for it.
        checksum: Of its bundle; empty for the demonstration's.
        described: For people.
    """

    finder: PoseFinder
    session_time: TakesTime
    display: Display
    scorer: str
    checksum: str
    described: str


@dataclass(frozen=True)
class Closed:
    """What is left of a run, in sentences.

    Attributes:
        written: What there is.
        troubles: What could not be written.
        whole: Whether all was recorded that was to be.
    """

    written: list[str]
    troubles: list[str]
    whole: bool


@dataclass(frozen=True)
class Opened:
    """A run that can be started, and what is left to do for it.

    Attributes:
        run: It.
        pages: Web pages, whose addresses people want to know.
        recorders: One per camera.
        triggers: Rules, if there are any.
        recording: Where recordings go.
    """

    run: LiveRun
    pages: Sequence[WebPage]
    recorders: Sequence[Recorder]
    triggers: Triggers | None
    recording: Path | None

    def told(self) -> list[str]:
        """What people must know when it has started."""
        said = [sentence for applied in self.run.applied().values() for sentence in applied.differences]
        return said + [f"web page: {page.address}" for page in self.pages]

    def close(self) -> Closed:
        """Finish the recordings, after the run was stopped; one that cannot be finished keeps no other from it."""
        written, troubles, whole = [], [], True
        for recorder in self.recorders:
            try:
                finished = recorder.finish()
            except RigposeError as error:
                troubles.append(f"{error}")
                continue
            written += recorded(finished)
            whole = whole and not went_wrong(finished)
        if self.triggers is not None and self.recording is not None:
            path = self.recording / CHANGES
            try:
                write_changes(path, self.triggers.changes)
                written.append(f"wrote {path}")
            except RigposeError as error:
                troubles.append(f"{error}")
        return Closed(written, troubles, whole and not troubles)

    def forget(self) -> None:
        """Delete the recordings of a run that never began: there is no frame in them, and they would be in the way."""
        for recorder in self.recorders:
            files = recorder.files
            with suppress(RigposeError, OSError), files.held():  # another process may have them
                if next(read_lines(files.side_car), None) is None:
                    for path in (files.video, files.poses, files.side_car):
                        path.unlink(missing_ok=True)


def open_run(typed: argparse.Namespace) -> Opened:
    """Open the model and make all else; cameras and outputs open when the run starts.

    Raises:
        RigposeError: Something that was typed makes no sense or is not there.
    """
    check_options(typed)
    sources = open_sources(typed.source, _asked(typed))
    cameras = [source.name for source in sources]
    check_settings(typed, sources)
    check_places(typed, cameras)
    model = _model(typed, sources)
    spec = model.finder.spec
    predictor = _predictor(typed, model)
    triggers = None
    if typed.triggers is not None:
        triggers = read_triggers(typed.triggers, spec, cameras, predicting=predictor is not None)
    rules = () if triggers is None else triggers.names
    outputs: list[Output] = [open_output(text, spec, rules) for text in typed.to]
    drawing = LiveDrawing.of(spec, model.display)

    def status() -> RunStatus:
        return run.status()

    pages = [] if typed.web is None else [WebPage(status, drawing, port=typed.web)]
    windows = [Window(drawing)] if typed.show else []
    folder, recorders = _recorders(typed, model, sources)
    run = LiveRun(
        model.finder,
        sources,
        outputs=[*outputs, *pages, *windows],
        recorders=recorders,
        taps=recorders,
        predictor=predictor,
        triggers=triggers,
        options=_options(typed),
        session_time=model.session_time,
        facts={"model": model.described, "device": model.finder.device},
    )
    return Opened(run, pages, recorders, triggers, folder)


def _model(typed: argparse.Namespace, sources: Sequence[FrameSource]) -> Model:
    if typed.bundle is None:
        drawn = {source.name: source.animals for source in sources if isinstance(source, SimulatedCamera)}
        stand_in = DrawnAnimals(drawn)
        return Model(stand_in, stand_in.session_time, Display(), "drawn_animals", "", "a stand-in that takes 25 ms")
    analyzer = load(
        typed.bundle,
        device=typed.device,
        threads=typed.threads,
        backend=typed.backend,
        precision=typed.precision,
        conditions=typed.conditions,
        options=run_options(typed),
    )
    finder = finder_of(analyzer, part=_part(typed.crop), redetect_s=typed.redetect)
    manifest = analyzer.bundle.manifest
    return Model(
        finder,
        watch_sessions(finder),
        manifest.display,
        manifest.scorer,
        analyzer.bundle.checksum,
        f"{analyzer.bundle.path.name} ({manifest.model.architecture}, {typed.precision or 'fp32'} by {typed.backend})",
    )


def _part(words: Sequence[str]) -> Crop | None:
    parts = [Crop.parse(word) for word in words if word != DYNAMIC]
    if len(parts) > 1:
        raise ConfigError(f"crop: one part of the frames can be looked at, and {len(parts)} were given; give one.")
    return parts[0] if parts else None


def _asked(typed: argparse.Namespace) -> Asked:
    width, height = typed.size or (None, None)
    return Asked(
        width=width,
        height=height,
        frames_per_second=typed.fps,
        exposure=typed.exposure,
        trigger_line=typed.trigger_line,
        pixel_format=typed.pixel_format,
        paced=not typed.unpaced,
        loop=typed.loop,
    )


def _predictor(typed: argparse.Namespace, model: Model) -> Predictor | None:
    if typed.predict is None:
        return None
    lead = None if typed.lead is None else typed.lead / 1000
    fit = MotionFit.read(typed.predict)
    return Predictor(fit, model.finder.spec.keypoints, lead=lead, actuator_delay=(typed.actuator or 0) / 1000)


def _recorders(
    typed: argparse.Namespace, model: Model, sources: Sequence[FrameSource]
) -> tuple[Path | None, list[Recorder]]:
    if typed.record is None:
        return None, []
    from rigpose.live.recording.recorder import Recorder

    return typed.record, [
        Recorder(
            typed.record,
            source.name,
            spec=model.finder.spec,
            scorer=model.scorer,
            model=model.checksum,
            frames_per_second=typed.fps,
            codec=typed.codec or "h264",
        )
        for source in sources
    ]


def _options(typed: argparse.Namespace) -> LiveOptions:
    return LiveOptions(
        max_age=None if typed.max_age is None else typed.max_age / 1000,
        max_wait=typed.max_wait / 1000,
        deadline=typed.deadline,
        stale_after=typed.stale / 1000,
        summary=typed.summary,
    )
