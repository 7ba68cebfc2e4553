"""What is asked of an analysis, and what comes of a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rigpose.models.model_spec import ModelSpec
from rigpose.tracking.settings import TrackingSettings
from rigpose.videos.video import Crop


@dataclass(frozen=True)
class AnalysisOptions:
    """How to analyse.

    Attributes:
        batch: Frames that go through the graphs at once; with ``detect_every`` or a dynamic crop the next
            multiple of its period.
        overwrite: Analyse again what has a whole result; tracks that other trackers made of that are deleted.
        destination: Folder of the results; none for the video's own.
        cropping: The part of the frames to analyse. Coordinates stay in the cropped frame, as in
            DeepLabCut.
        save_csv: Write the table as text, too.
        tracking: How several animals are followed from frame to frame; none to leave them as each frame has them,
            where those that the model tells apart are in their places all the same.
        animals: Tracks in the table of several animals; none for the number of the model's individuals.
        decoder: What decodes the videos, one of ``rigpose.decoding.decoder.NAMES``.
    """

    batch: int = 8
    overwrite: bool = False
    destination: Path | None = None
    cropping: Crop | None = None
    save_csv: bool = True
    tracking: TrackingSettings | None = field(default_factory=TrackingSettings)
    animals: int | None = None
    decoder: str = "auto"

    def tracks(self, spec: ModelSpec) -> int:
        """How many animals a table has."""
        return len(spec.individuals) if self.animals is None else self.animals


@dataclass(frozen=True)
class VideoResult:
    """What came of one video.

    Attributes:
        video: The video.
        h5: Its table.
        csv: The table as text; none if it was not wanted.
        frames: Rows of the table, which are camera frames.
        frames_per_second: Of this run, from the first frame to the last; 0 if skipped.
        skipped: A whole result was there already.
        resumed_at: Frames that an interrupted run had left.
        warnings: Sentences about what is not as it should be.
        decoder: What decoded it; none if skipped.
    """

    video: Path
    h5: Path
    csv: Path | None
    frames: int
    frames_per_second: float = 0.0
    skipped: bool = False
    resumed_at: int = 0
    warnings: tuple[str, ...] = ()
    decoder: str | None = None


class AnalysisInterrupted(KeyboardInterrupt):
    """Ctrl-C; the message says how far the analysis came. Its frames are kept."""


class VideoFailure(NamedTuple):
    """A video, or a folder, that could not be analysed, and the sentence that says why."""

    video: Path
    sentence: str


@dataclass(frozen=True)
class AnalysisReport:
    """What came of many videos, in order."""

    results: tuple[VideoResult, ...]
    failures: tuple[VideoFailure, ...]
