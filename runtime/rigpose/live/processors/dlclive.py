"""``from rigpose.live.processors.dlclive import DLCLive, Processor``: scripts for DeepLabCut-Live, with a bundle.

Names, parameters and shapes are DeepLabCut-Live's. What is different is refused with a sentence, or is one of these:

- ``model_path`` is a bundle's folder; ``model_type`` says what runs its graphs, and ONNX Runtime does for ``base`` and
  ``pytorch``.
- Frames are BGR as OpenCV gives them, or grey. They become RGB inside the graph, so ``process_frame`` returns BGR.
- The pose that the network found steers dynamic cropping, never what a processor made of it. A processor that returns
  nothing leaves the pose as it is.
- Poses are in pixels of the frame that was given, with any combination of ``cropping``, ``dynamic`` and ``resize``.
- A region that follows an animal has one size, at least half of the frame's sides, so that ``margin`` is the least
  distance of sure keypoints to its border and not what is added to their box.
- Where no animal is, ``single_animal`` gives keypoints at NaN with score 0, and otherwise there are no rows.
- A processor runs inside ``get_pose``, as there; ``rigpose.live`` gives it a thread of its own instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from rigpose.arrays import Array, Frames
from rigpose.bundles.bundle import Bundle
from rigpose.errors import ConfigError
from rigpose.geometry import ScaleShift
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import now
from rigpose.live.faults import LiveError
from rigpose.live.finding.open_finder import open_finder
from rigpose.live.finding.pose_finder import PoseFinder
from rigpose.live.processors.dlclive_parameters import backend_of, bundle_folder, part_of, run_options
from rigpose.live.processors.pose_array import pose_array
from rigpose.videos.video import Crop

_CAMERA = "camera"


class Processor:
    """What a user's processor may inherit from; any object with these two methods will do."""

    def process(self, pose: Any, **_: Any) -> Any:
        """Return the pose (K, 3) or (N, K, 3) that ``get_pose`` shall return.

        Args:
            pose: x, y [frame px], score.
            **_: What ``get_pose`` was given beside the frame, by custom ``frame_time`` and ``record``.
        """
        return pose

    def save(self, file: str = "") -> Any:  # noqa: ARG002  # the face of it
        """Write down what was collected."""
        return 0


class DLCLive:
    """A model that is shown one frame after another.

    Args:
        model_path: A bundle's folder.
        model_type: ``base``, ``pytorch`` or ``onnxruntime``, ``openvino``, ``tensorrt``, ``onnxruntime-tensorrt``.
        precision: ``FP32``, and ``FP16`` or ``INT8`` where the bundle has it.
        tf_config: None; there is no TensorFlow.
        single_animal: Poses are (K, 3), of the animal with the best score if there are several; else (N, K, 3).
        device: ``cpu``, ``cuda``, ``cuda:N``; none for CUDA where there is a GPU.
        top_down_config: ``bbox_cutoff``, ``max_detections`` and ``skip_frames`` (with ``skip``) of a pair's detector.
        top_down_dynamic: For a top-down model without a detector: ``type`` ``TopDownDynamicCropper`` with
            ``patch_counts``, ``patch_overlap``, ``threshold`` and ``min_bbox_size``.
        cropping: x1, x2, y1, y2 of the part of the frames that is looked at.
        dynamic: Whether a region follows the one animal, from which score on keypoints count, margin [frame px].
        resize: By what the part is made larger before anything looks at it.
        convert2rgb: True; the graph does it.
        processor: Has ``process(pose, **kwargs)``.
        display: False; ``rigpose live --show`` has a window that holds nothing up.
        pcutoff: Of the display.
        display_radius: Of the display.
        display_cmap: Of the display.

    Attributes:
        pose: The last pose, as ``get_pose`` returned it.
        is_initialized: Whether the model is loaded.

    Raises:
        LiveError: A parameter that means nothing here.
        ConfigError: A value that makes no sense.
    """

    PARAMETERS = ("path", "cfg", "model_type", "precision", "cropping", "dynamic", "resize", "processor")

    def __init__(  # noqa: PLR0913  # DeepLabCut-Live's, in its order
        self,
        model_path: str | Path,
        model_type: str = "base",
        precision: str = "FP32",
        tf_config: None = None,
        single_animal: bool = True,  # noqa: FBT001, FBT002  # as above
        device: str | None = None,
        top_down_config: Mapping[str, Any] | None = None,
        top_down_dynamic: Mapping[str, Any] | None = None,
        cropping: Sequence[int] | None = None,
        dynamic: tuple[bool, float, float] = (False, 0.5, 10),
        resize: float | None = None,
        convert2rgb: bool = True,  # noqa: FBT001, FBT002  # as above
        processor: Any = None,
        display: bool = False,  # noqa: FBT001, FBT002  # as above
        pcutoff: float = 0.5,
        display_radius: int = 3,
        display_cmap: str = "bmy",
    ) -> None:
        if tf_config is not None:
            raise LiveError("tf_config: nothing runs TensorFlow here; leave it out.")
        if not convert2rgb:
            raise LiveError("convert2rgb: bundles take BGR frames as OpenCV gives them; leave it out and give those.")
        if display:
            raise LiveError("display: a window would hold up every frame; leave it out, or use rigpose live --show.")
        if resize is not None and not 0 < resize < math.inf:
            raise ConfigError(f"resize: {resize:g} is no scale; give a number above 0.")
        self.path = model_path
        self.model_type, self.precision, self.device = model_type, precision, device
        self.single_animal, self.processor = single_animal, processor
        self.cropping, self.dynamic, self.resize = cropping, dynamic, resize
        self.pcutoff, self.display_radius, self.display_cmap = pcutoff, display_radius, display_cmap
        self.pose: Any = None
        self._backend = backend_of(model_type)
        self._part = part_of(cropping)
        self._options = run_options(top_down_config, top_down_dynamic, dynamic, resize or 1.0)
        self._cfg: dict[str, Any] | None = None
        self._finder: PoseFinder | None = None
        self._shown = 0

    def __enter__(self) -> DLCLive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def cfg(self) -> dict[str, Any]:
        """The configuration that the weights were trained with."""
        if self._cfg is None:
            self._cfg = Bundle.open(bundle_folder(self.path)).pytorch_config()
        return self._cfg

    @property
    def is_initialized(self) -> bool:
        """See the class."""
        return self._finder is not None

    @property
    def parameterization(self) -> dict[str, Any]:
        """What it was made with."""
        return {name: getattr(self, name) for name in self.PARAMETERS}

    def read_config(self) -> None:
        """Read ``cfg`` anew.

        Raises:
            BundleError: The bundle is damaged.
        """
        self._cfg = None
        _ = self.cfg

    def init_inference(self, frame: Array | None = None, **kwargs: Any) -> Any:
        """Load the model, run it until it is warm, and then as ``get_pose``.

        Args:
            frame: (H, W, 3) uint8 BGR, or (H, W) grey; none to load only.
            **kwargs: For the processor.

        Raises:
            BundleError: The bundle cannot be used.
            BackendError: The device cannot run it as it was asked to.
        """
        shown = None if frame is None else self.process_frame(frame)
        finder = open_finder(
            bundle_folder(self.path),
            device=self.device or "auto",
            backend=self._backend,
            precision=self.precision.lower(),
            options=self._options,
        )
        if shown is not None:
            finder.warm_up(shown.shape[0], shown.shape[1], 1)
        self._finder = finder
        return None if frame is None else self.get_pose(frame, **kwargs)

    def process_frame(self, frame: Array) -> Frames:
        """The part of a frame that is looked at, in its scale, (h, w, 3) uint8 BGR.

        Raises:
            LiveError: It is no frame.
            ConfigError: ``cropping`` is not inside it.
        """
        if frame.dtype != np.uint8 or not (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] in (1, 3))):
            raise LiveError(f"frame: expected uint8 (H, W, 3) BGR or (H, W) grey, got {frame.dtype} {frame.shape}.")
        if self._part is not None:
            self._part.check_inside(Path("cropping"), height=frame.shape[0], width=frame.shape[1])
            frame = frame[self._part.y1 : self._part.y2, self._part.x1 : self._part.x2]
        if frame.ndim == 2 or frame.shape[2] == 1:
            frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
        if self.resize not in (None, 1):
            height, width = self._resized(frame.shape)
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        return frame

    def get_pose(self, frame: Array | None = None, **kwargs: Any) -> Any:
        """The pose of the next frame: x, y [px of ``frame``], score, as the processor returns it.

        Args:
            frame: As of ``init_inference``.
            **kwargs: For the processor.

        Returns:
            (K, 3), or (N, K, 3) where ``single_animal`` is false.

        Raises:
            LiveError: ``init_inference`` has not been called, or there is no frame.
        """
        if self._finder is None:
            raise LiveError("get_pose: the model is not loaded; call init_inference first.")
        if frame is None:
            raise LiveError("get_pose: there is no frame; give one.")
        at = now()
        image = self.process_frame(frame)
        self._shown += 1
        [found] = self._finder.find([CapturedFrame(_CAMERA, self._shown, image, arrived=at, exposed=at)])
        poses = found.poses.moved(self._to_frame(frame.shape, image.shape))
        self.pose = pose_array(poses, one_animal=self.single_animal)
        if self.processor is not None:
            processed = self.processor.process(self.pose, **kwargs)
            if processed is not None:
                self.pose = processed
        return self.pose

    def close(self) -> None:
        """Let go of the model; ``init_inference`` loads it anew. The processor is the caller's."""
        self._finder = None

    def _resized(self, shape: tuple[int, ...]) -> tuple[int, int]:
        scale = self.resize or 1.0
        return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))

    def _to_frame(self, frame: tuple[int, ...], image: tuple[int, ...]) -> ScaleShift:
        """From what was looked at to the frame; both sides are whole numbers of pixels, so the scales may differ."""
        part = self._part or Crop(0, frame[1], 0, frame[0])
        scale = (part.x2 - part.x1) / image[1], (part.y2 - part.y1) / image[0]
        return ScaleShift(scale, (part.x1, part.y1))
