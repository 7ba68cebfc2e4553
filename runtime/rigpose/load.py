"""Bundle -> analyzer: ``rigpose.load(path)``."""

from __future__ import annotations

from pathlib import Path

from rigpose.analysis import AnalysisOptions, ResultIdentity, VideoResult, analyze_video
from rigpose.analyzer import Analyzer
from rigpose.bundle import Bundle
from rigpose.progress import progress
from rigpose.sessions import Session
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession


class BundleAnalyzer(Analyzer):
    """An analyzer that knows its bundle, and so what its result files are called."""

    def __init__(self, bundle: Bundle, session: Session) -> None:
        super().__init__(bundle.manifest.model, session)
        self.bundle = bundle

    def identity(self) -> ResultIdentity:
        """Whose results these are."""
        config = self.bundle.pytorch_config()
        return ResultIdentity(
            scorer=self.bundle.manifest.scorer,
            model_checksum=self.bundle.checksum,
            pytorch_config=config,
            model_config_file=config,
            display=self.bundle.manifest.display,
        )

    def analyze(self, video: str | Path, options: AnalysisOptions | None = None) -> VideoResult:
        """Write DeepLabCut's result files for one video, with a progress bar.

        Raises:
            MediaError: The video cannot be read.
            ResultError: The results cannot be written.
        """
        return analyze_video(self, video, identity=self.identity(), options=options, show=progress)


def load(bundle: str | Path | Bundle, *, device: str = "auto", threads: int | None = None) -> BundleAnalyzer:
    """Open and verify a bundle and load its graph.

    Args:
        bundle: The bundle's folder.
        device: ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: CUDA where the driver reports a GPU, else the CPU.
        threads: CPU threads of the session; none for all cores.

    Returns:
        An analyzer with ``predict(frames)`` and ``analyze(video)``.

    Raises:
        BundleError: The bundle is damaged or too new.
        BackendError: The device cannot run it.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    graph = opened.file(opened.manifest.graphs["pose"].file)
    return BundleAnalyzer(opened, OnnxRuntimeSession(graph, device=device, threads=threads))
