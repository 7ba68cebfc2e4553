"""How far apart the keypoints of a shuffle's labelled animals lie, for grouping that knows it."""

from __future__ import annotations

import numpy as np

from rigpose.arrays import Floats
from rigpose.errors import ConfigError
from rigpose.models.model_spec import PafGrouping
from rigpose.models.paf_calibration import PafCalibration
from rigpose.models.preprocess import plan
from rigpose_training.data.loaders import Loader
from rigpose_training.spec import model_spec


def paf_calibration(loader: Loader) -> PafCalibration:
    """Measure the animals that are labelled in the training images, in pixels of the network's input.

    DeepLabCut measures all labelled animals, those of the test images, too; here these stay unseen.

    Raises:
        ConfigError: The model has no part affinity fields, or too few animals are labelled.
    """
    spec = model_spec(loader.model_cfg)
    if not isinstance(spec.grouping, PafGrouping):
        raise ConfigError(
            f"{loader.model_config_path}: a model of the task {spec.task} is not calibrated; only models with part "
            "affinity fields are."
        )
    poses: list[Floats] = [np.empty((0, len(spec.keypoints), 2))]
    for image in loader.images("train"):
        to_input = plan(spec.input, *image.shape).to_frame.inverse()
        poses.append(to_input.apply(image.xy.astype(np.float64)))
    return PafCalibration.measured(np.concatenate(poses))
