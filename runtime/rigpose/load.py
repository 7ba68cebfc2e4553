"""Bundle -> analyzer: ``rigpose.load(path)``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rigpose.analyzers.analyzer import Analyzer, FrameRun, VideoAnalyzer
from rigpose.analyzers.combined import CombinedAnalyzer
from rigpose.analyzers.conditional import ConditionalAnalyzer
from rigpose.analyzers.patch_search import PatchSearchAnalyzer
from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.analyzers.tracking_crop import DynamicCrop, TrackingAnalyzer
from rigpose.arrays import Frames
from rigpose.bundles.bundle import Bundle
from rigpose.choice import AUTO
from rigpose.choice.backend import AutoOptions, Choice, choose_backend
from rigpose.choice.candidates import candidates
from rigpose.errors import BundleError, ConfigError
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses
from rigpose.progress import progress
from rigpose.schema import to_mapping
from rigpose.sessions import Session
from rigpose.sessions.backends import Backend
from rigpose.videos.analysis import AnalysisOptions, ResultIdentity, VideoResult, analyze_video

CROPS_AT_A_TIME = 32
"""Most crops in one batch of a pose network; the animals of eight frames are one batch up to four in each."""


class BundleAnalyzer:
    """An analyzer that knows its bundle, and so what its result files are called.

    Attributes:
        bundle: The opened bundle.
        model: What runs its graphs. A ``CropAnalyzer`` where a top-down bundle has no detector and no search was asked
            for, and a ``ConditionalAnalyzer`` that must be given rough poses where no bundle finds them: both look only
            where they are told to, and this class refuses frames alone.
        session: Of the graph that finds poses: ``pose``, or ``pair`` where both are one.
        backend: What runs its graphs.
        conditions: The bundle that finds rough poses for a conditional network, if one was named.
        choice: What was measured where the backend or the precision was chosen automatically.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: VideoAnalyzer | CropAnalyzer,
        session: Session,
        backend: Backend,
        conditions: Bundle | None = None,
    ) -> None:
        self.bundle = bundle
        self.model = model
        self.session = session
        self.backend = backend
        self.conditions = conditions
        self.choice: Choice | None = None

    @property
    def spec(self) -> ModelSpec:
        """What the poses are of."""
        return self.model.spec

    @property
    def device(self) -> str:
        """Where the graph that finds poses really runs."""
        return self.session.device

    @property
    def settings(self) -> dict[str, Any]:
        """Everything chosen at run time that changes poses.

        Raises:
            BundleError: As ``predict``.
        """
        settings = {**self._whole().settings, **self.backend.settings}
        return settings if self.conditions is None else {**settings, "conditions": self.conditions.checksum}

    def run_of(self, height: int, width: int) -> FrameRun:
        """The way of frames of this size.

        Raises:
            BundleError: As ``predict``.
        """
        return self._whole().run_of(height, width)

    def predict(self, frames: Frames | Sequence[Frames]) -> list[Poses]:
        """Poses of frames of any sizes, in order [frame px].

        Args:
            frames: One frame (H, W, 3), a batch (B, H, W, 3), or a list of frames; uint8 BGR as OpenCV reads them.

        Raises:
            BundleError: The network sees one animal at a time, and nothing says where the animals are.
        """
        return self._whole().predict(frames)

    def identity(self) -> ResultIdentity:
        """Whose results these are."""
        return ResultIdentity.of(self.bundle)

    def analyze(self, video: str | Path, options: AnalysisOptions | None = None) -> VideoResult:
        """Write DeepLabCut's result files for one video, with a progress bar.

        Raises:
            BundleError: As ``predict``.
            MediaError: The video cannot be read.
            ResultError: The results cannot be written.
        """
        return analyze_video(self, video, identity=self.identity(), options=options, show=progress)

    def check_complete(self) -> None:
        """Make sure that frames alone are enough.

        Raises:
            BundleError: As ``predict``.
        """
        self._whole()

    def _whole(self) -> VideoAnalyzer:
        if isinstance(self.model, CropAnalyzer):
            raise BundleError(
                f"{self.bundle.path}: has no detector, and its network sees one animal at a time; export the shuffle "
                "again with a snapshot of its detector, or, for one animal, add --search patches."
            )
        if isinstance(self.model, ConditionalAnalyzer) and self.model.conditions is None:
            raise BundleError(
                f"{self.bundle.path}: improves rough poses and finds none itself; name the bundle of a bottom-up model "
                "of the same body parts with --conditions."
            )
        return self.model


def load(  # noqa: PLR0913  # each is a word that a user says
    bundle: str | Path | Bundle,
    *,
    device: str = "auto",
    threads: int | None = None,
    backend: str = "onnxruntime",
    precision: str | None = None,
    conditions: str | Path | Bundle | None = None,
    options: RunOptions | None = None,
    auto: AutoOptions | None = None,
) -> BundleAnalyzer:
    """Open and verify a bundle and load its graphs.

    Args:
        bundle: The bundle's folder.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where the driver reports a GPU, else the CPU.
        threads: CPU threads of each session; none for all cores.
        backend: ``onnxruntime``, ``openvino`` on the CPU, ``tensorrt`` with engines that ``rigpose engine`` built, or
            ``onnxruntime-tensorrt``, which builds its own; or ``auto`` for the fastest of those that can run here,
            which is measured for some seconds, and remembered.
        precision: ``fp32``; ``fp16`` or ``int8`` where the bundle was exported with it; or ``bf16`` with OpenVINO,
            where the processor has it. Faster than fp32, and no longer the training framework's poses; none for fp32;
            or ``auto`` for the fastest that keeps keypoints within a bound.
        conditions: For a conditional top-down network, the bundle of the bottom-up model that finds rough poses.
        options: What to choose anew for this run; none for what the bundle says.
        auto: The frame size and the bound that ``auto`` chooses for; ``choice`` of what is returned says what it chose.

    Returns:
        An analyzer with ``predict(frames)`` and ``analyze(video)``.

    Raises:
        BundleError: The bundle is damaged or too new, or ``conditions`` is no bundle for it.
        ConfigError: An option that the model or the backend does not have, a precision that the bundle does not have,
            or rough poses without its keypoints.
        BackendError: The backend is missing or too old for it, or the device cannot run it as it was asked to.
    """
    opened, options = _opened(bundle), options or RunOptions()
    rough = None if conditions is None else _opened(conditions)
    if AUTO not in (backend, precision):
        return _open(opened, rough, options, Backend(backend, precision or "fp32", device, threads))
    chosen = choose_backend(
        opened,
        candidates(backend, precision or "fp32", device, threads),
        lambda runs: _open(opened, rough, options, runs),
        auto or AutoOptions(),
        judged=precision == AUTO,
        chain=opened.manifest.detector is not None or rough is not None,
        also={"options": to_mapping(options), "conditions": None if rough is None else rough.checksum},
    )
    chosen.analyzer.choice = chosen.choice
    return chosen.analyzer


def _open(opened: Bundle, conditions: Bundle | None, options: RunOptions, runs: Backend) -> BundleAnalyzer:
    spec = opened.manifest.model
    if spec.task == "conditional_top_down":
        return _conditional(opened, conditions, options, runs)
    if conditions is not None:
        raise BundleError(
            f"{opened.path}: a model of the task {spec.task} needs no rough poses; leave out --conditions."
        )
    if spec.task == "top_down":
        return _top_down(opened, options, runs)
    model = _of_whole_frames(opened, options.frame_model(spec), runs)
    if options.dynamic_crop is not None:
        model = _following(opened, model, options.dynamic_crop)
    return BundleAnalyzer(opened, model, model.session, runs)


def _opened(bundle: str | Path | Bundle) -> Bundle:
    return bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)


def _of_whole_frames(bundle: Bundle, spec: ModelSpec, runs: Backend) -> Analyzer:
    return Analyzer(spec, runs.open(bundle, "pose"))


def _following(bundle: Bundle, model: Analyzer, crop: DynamicCrop) -> TrackingAnalyzer:
    for entry in bundle.manifest.graph("pose").inputs:
        height, width = entry.shape[1:3]
        if isinstance(height, int) and isinstance(width, int):
            raise ConfigError(
                f"crop dynamic: the network of {bundle.path} sees {width} x {height} px and nothing else; leave it out."
            )
    return TrackingAnalyzer(model, crop)


def _of_crops(bundle: Bundle, runs: Backend) -> CropAnalyzer:
    return CropAnalyzer(bundle.manifest.model, runs.open(bundle, "pose"), batch=CROPS_AT_A_TIME)


def _top_down(bundle: Bundle, options: RunOptions, runs: Backend) -> BundleAnalyzer:
    detector = bundle.manifest.detector
    if detector is None and options.combined:
        raise ConfigError(f"combined: {bundle.path} has no detector; leave it out, or export with one and --combined.")
    if detector is None:
        search = options.search(bundle.manifest.model)
        crops = _of_crops(bundle, runs)
        model = crops if search is None else PatchSearchAnalyzer(crops, search)
        return BundleAnalyzer(bundle, model, crops.session, runs)
    chosen = options.detector(detector)
    if options.combined:
        pair = runs.open(bundle, "pair")
        one = CombinedAnalyzer(
            bundle.manifest.model, chosen, pair, animals=detector.max_animals, same_animal=options.same_animal
        )
        return BundleAnalyzer(bundle, one, pair, runs)
    crops = _of_crops(bundle, runs)
    boxes = BoxAnalyzer(chosen, runs.open(bundle, "detector"))
    model = TopDownAnalyzer(boxes, crops, detect_every=options.detect_every, same_animal=options.same_animal)
    return BundleAnalyzer(bundle, model, crops.session, runs)


def _conditional(bundle: Bundle, conditions: Bundle | None, options: RunOptions, runs: Backend) -> BundleAnalyzer:
    finder = None
    if conditions is not None:
        spec = conditions.manifest.model
        if spec.crop is not None:
            raise BundleError(
                f"{conditions.path}: a model of the task {spec.task} looks at one animal at a time; name the bundle "
                "of a bottom-up model with --conditions."
            )
        finder = _of_whole_frames(conditions, options.rough_poses(spec, bundle.manifest.model), runs)
    crops = _of_crops(bundle, runs)
    model = ConditionalAnalyzer(crops, finder, max_animals=options.max_animals, same_animal=options.same_animal)
    return BundleAnalyzer(bundle, model, crops.session, runs, conditions)
