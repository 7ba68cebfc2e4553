"""Videos -> result files, on all devices of a Ray cluster; the files are those of one machine, byte for byte."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from rigpose.analyzers.run_options import RunOptions
from rigpose.bundles.bundle import Bundle
from rigpose.cluster.connection import connected
from rigpose.cluster.devices import ClusterDevice, check_device_word
from rigpose.cluster.job import Job
from rigpose.cluster.software import difference, software
from rigpose.cluster.videos_in_hand import Each
from rigpose.cluster.worker import ModelToLoad
from rigpose.cluster.workers import Workers
from rigpose.errors import MediaError
from rigpose.files.results import ResultFiles
from rigpose.progress import Progress, silent
from rigpose.videos.analysis import each_video
from rigpose.videos.metadata import ResultIdentity
from rigpose.videos.outcome import AnalysisOptions, VideoFailure
from rigpose.videos.video import Video
from rigpose.writable import check_room, check_writable

_BYTES_PER_VALUE = 40
"""Of the journal, the tables, and as much again for what several animals have beside them."""
_LOOKERS = 8
"""Videos that are opened at once to see how long they are; most of that time is the file server's."""


@dataclass(frozen=True)
class ClusterModel:
    """What every worker loads; the words of ``rigpose.load``.

    Attributes:
        bundle: A path that all machines see alike; and so is ``conditions``.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads of each worker; none for its share of its machine.
    """

    bundle: Path
    device: str = "auto"
    threads: int | None = None
    backend: str = "onnxruntime"
    precision: str | None = None
    conditions: Path | None = None
    options: RunOptions = field(default_factory=RunOptions)


def analyze_on_cluster(  # noqa: PLR0913  # each is a word that a user says, or where it is said
    address: str,
    model: ClusterModel,
    sources: Iterable[Path],
    *,
    options: AnalysisOptions,
    each: Each,
    warn: Callable[[str], None],
    show: Progress = silent,
) -> Counter[str]:
    """Analyse videos and folders of videos; a bad one, or a machine that goes down, does not stop the others.

    Args:
        address: See ``connected``.
        model: What the workers load.
        sources: Videos and folders, which all machines must see by these names.
        options: As for one video.
        each: Called with what came of each video, in the order in which they are done.
        warn: Called with a sentence about a machine that the job goes on without.
        show: Progress of all videos together.

    Returns:
        Frames that each device has analysed.

    Raises:
        AnalysisInterrupted: Ctrl-C.
        BackendError: The cluster cannot be reached, or one of its machines cannot do the work.
        BundleError: The bundle is damaged.
        ConfigError: A result folder cannot be written, or a word makes no sense in a cluster.
        MissingExtraError: Ray is not installed.
    """
    check_device_word(model.device)
    bundle = Bundle.open(model.bundle)
    identity = ResultIdentity.of(bundle)
    if options.destination is not None:
        options = replace(options, destination=options.destination.resolve())
    videos: list[Path] = []
    for found in each_video(path.resolve() for path in sources):
        if isinstance(found, VideoFailure):
            each(found)
        else:
            videos.append(found)
    folders = [ResultFiles.of(video, identity.scorer, options.destination).h5.parent for video in videos]
    for folder in dict.fromkeys(folders):
        check_writable(folder, f"{folder}: results")
    counts = _frames_of(videos, identity, options, show)
    values = 3 * len(bundle.manifest.model.keypoints) * options.tracks(bundle.manifest.model)
    for folder in dict.fromkeys(folders):
        frames = sum(count or 0 for count, own in zip(counts, folders, strict=True) if own == folder)
        check_room(folder, frames * values * _BYTES_PER_VALUE, f"{folder}: results")
    with connected(address) as ray:
        seen = dict.fromkeys(str(video.parent) for video in videos)
        here = software()
        workers = Workers(ray, model.device, lambda device: _to_load(model, device, bundle.checksum, tuple(seen)))
        job = Job(
            workers,
            identity=identity,
            options=options,
            each=each,
            warn=warn,
            fits=lambda facts: difference(here, facts.software),
        )
        with show("loading the model", None, "devices") as advance:
            job.start(advance)
        with show(f"{len(videos)} videos", None if None in counts else sum(filter(None, counts)), "frames") as advance:
            job.run(videos, advance)
    return workers.done


def _to_load(model: ClusterModel, device: ClusterDevice, checksum: str, seen: tuple[str, ...]) -> ModelToLoad:
    return ModelToLoad(
        bundle=str(model.bundle.resolve()),
        device=device.word,
        threads=model.threads or device.threads,
        backend=model.backend,
        precision=model.precision,
        conditions=None if model.conditions is None else str(model.conditions.resolve()),
        options=model.options,
        checksum=checksum,
        must_see=seen,
    )


def _frames_of(
    videos: Sequence[Path], identity: ResultIdentity, options: AnalysisOptions, show: Progress
) -> list[int | None]:
    """What the containers promise, none where one is silent; 0 of videos that have results, or cannot be read."""

    def frames_of(video: Path) -> int | None:
        if not options.overwrite and ResultFiles.of(video, identity.scorer, options.destination).h5.exists():
            return 0
        try:
            with Video(video, crop=options.cropping, decoder=options.decoder, threads=1) as source:
                return source.frames_reported
        except MediaError:
            # Its turn will come, and then it is said.
            return 0

    counts = []
    with show("looking at the videos", len(videos), "videos") as advance, ThreadPoolExecutor(_LOOKERS) as pool:
        for count in pool.map(frames_of, videos):
            counts.append(count)
            advance(1)
    return counts
