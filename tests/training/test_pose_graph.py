"""``pytorch_config.yaml`` -> spec and graph, for every family and every set of heads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from reference_weights import fill

from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DekrGrouping, ModelSpec, PafGrouping
from rigpose.schema import parse, to_mapping
from rigpose_training import available_models, build_model
from rigpose_training.data.augmentation import BBOX_MARGIN
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.spec import model_spec
from rigpose_training.torch_session import TorchSession, torch_analyzer

PARTS = ("snout", "leftear", "rightear", "tailbase")
SEVERAL = ("one", "two", "three")


def made(name: str, *, unique: tuple[str, ...] = (), identity: bool = False) -> dict[str, Any]:
    whose = Metadata("", "", PARTS, unique_bodyparts=unique, individuals=SEVERAL, with_identity=identity)
    return make_pose_config(name, whose)


def small(name: str, **heads: Any) -> dict[str, Any]:
    """The configuration with a ten-layer backbone."""
    config = made(name, **heads)
    config["model"]["backbone"] |= {"type": "ResNet", "model_name": "resnet10t", "output_stride": 16}
    config["model"]["backbone_output_channels"] = 512
    for head in config["model"]["heads"].values():
        for section in ("heatmap_config", "locref_config", "paf_config"):
            if head.get(section):
                head[section]["channels"][0] = 512
    return config


@pytest.mark.parametrize("name", available_models())
def test_every_documented_models_spec_survives_a_manifest(name: str) -> None:
    config = made(name)
    spec = model_spec(config)
    assert parse(ModelSpec, to_mapping(spec), where="manifest.model") == spec
    assert (spec.crop is not None) == (config["method"] != "bu")
    grouping = {"paf": PafGrouping, "dekr": DekrGrouping}.get(spec.task, type(None))
    assert isinstance(spec.grouping, grouping)


def test_the_parameters_of_the_grouping_are_those_of_the_configuration() -> None:
    config = made("resnet_50")
    predictor = config["model"]["heads"]["bodypart"]["predictor"]
    predictor |= {"edges_to_keep": [0, 4], "min_affinity": 0.2, "add_discarded": True}
    spec = model_spec(config)
    assert spec.grouping == PafGrouping(((0, 1), (1, 3)), 3, min_affinity=0.2, add_discarded=True)
    assert model_spec(made("dekr_w18")).grouping == DekrGrouping(3, nms_threshold=0.05)


def test_crops_are_with_context_for_top_down_and_without_for_conditional_models() -> None:
    pair = made("top_down_resnet_50")
    assert model_spec(pair).crop == CropSpec(256, 256, 0, with_context=True)
    for given, margin in ((12, 12), (None, BBOX_MARGIN), (0, 0)):
        pair["data"]["bbox_margin"] = given
        assert model_spec(pair).box_margin == margin
    assert model_spec(made("resnet_50")).box_margin == 0
    conditional = made("ctd_prenet_rtmpose_s")
    conditional["data"] |= {"bbox_margin": 7}
    conditional["data"]["inference"]["top_down_crop"] = {"width": 256, "height": 256, "margin": 3}
    spec = model_spec(conditional)
    assert spec.crop == CropSpec(256, 256, 3, with_context=False) and spec.box_margin == 7


Edit = Callable[[dict[str, Any]], Any]


def crop(config: dict[str, Any], **sides: Any) -> None:
    config["data"]["inference"]["top_down_crop"] = sides


@pytest.mark.parametrize(
    ("name", "edit", "words"),
    [
        ("rtmpose_x", lambda c: crop(c, width=256, height=256), ["top_down_crop", "384", "bodypart.input_size"]),
        ("ctd_coam_w48_human", lambda c: crop(c, width=384, height=288), ["img_size", "width: 288 and height: 384"]),
        ("tokenpose_base", lambda c: crop(c, width=192, height=256), ["neck.feature_size", "256 x 256"]),
        ("rtmpose_s", lambda c: crop(c, widht=256), ["top_down_crop.widht", "did you mean width"]),
        ("resnet_50", lambda c: crop(c, width=256, height=256), ["method bu", "method td"]),
        ("resnet_50", lambda c: c.update(method="td"), ["finds several animals", "method td"]),
        ("resnet_50", lambda c: c["model"]["heads"].update(identiy={}), ["identiy", "did you mean identity"]),
        ("resnet_50", lambda c: c["model"]["heads"].pop("bodypart"), ["no bodypart head"]),
        ("resnet_50", lambda c: c["model"]["heads"].update(identity={}), ["identity.predictor", "missing"]),
        (
            "top_down_resnet_50",
            lambda c: c["model"]["heads"].update(identity={"predictor": {"type": "IdentityPredictor"}}),
            ["model.heads.identity", "one animal at a time"],
        ),
        (
            "resnet_50",
            lambda c: c["model"]["heads"].update(unique_bodypart={"predictor": {"type": "DEKRPredictor"}}),
            ["unique_bodypart.predictor.type", "HeatmapPredictor"],
        ),
        (
            "dekr_w18",
            lambda c: c["model"]["heads"]["bodypart"]["predictor"].update(num_animls=1),
            ["did you mean num_animals"],
        ),
    ],
)
def test_what_does_not_fit_together_is_named(name: str, edit: Edit, words: list[str]) -> None:
    config = made(name)
    edit(config)
    with pytest.raises(ConfigError) as caught:
        model_spec(config)
    for word in words:
        assert word in str(caught.value)


def test_a_network_with_all_heads_gives_animals_identities_and_unique_keypoints(one_thread: None) -> None:
    config = small("resnet_50", unique=("lamp", "door"), identity=True)
    model = build_model(config)
    fill(model, "heads")
    analyzer = torch_analyzer(model, config)
    assert analyzer.spec.unique_keypoints == ("lamp", "door")
    session = cast(TorchSession, analyzer.session)
    assert session.graph.outputs == ("peaks", "affinity", "unique", "identity")
    frames = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3)).astype(np.uint8)
    candidates = analyzer.infer(frames)
    shapes = {name: values.shape for name, values in candidates.items()}
    assert shapes == {
        "peaks": (2, 4, 6, 3), "affinity": (2, 6, 6, 6), "unique": (2, 2, 3), "identity": (2, 4, 6, 3),
    }  # fmt: skip
    assert all(values.dtype == np.float32 for values in candidates.values())
    found = analyzer.predict(frames)
    assert sum(map(len, found)) > 0
    for poses in found:
        assert poses.unique is not None and poses.unique.shape == (2, 3)
        assert poses.identity is not None and len(set(poses.identity)) == len(poses)


def test_unique_keypoints_are_given_in_frame_pixels_as_the_animals_are(one_thread: None) -> None:
    config = small("resnet_50", unique=("lamp",))
    model = build_model(config)
    fill(model, "heads")
    frame = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    (direct,) = torch_analyzer(model, config).predict(frame)
    scaled = copy.deepcopy(config)
    scaled["data"]["inference"]["resize"] = {"width": 128, "height": 96, "keep_ratio": False}
    large = frame.repeat(2, axis=0).repeat(2, axis=1)
    (halved,) = torch_analyzer(model, scaled).predict(large)
    assert direct.unique is not None and halved.unique is not None
    # Halving a doubled picture gives it back, so the same place is at twice the pixel. Offsets of random networks
    # are large, hence the relative tolerance.
    np.testing.assert_allclose(halved.unique[:, :2], 2 * direct.unique[:, :2], rtol=1e-5)
    np.testing.assert_allclose(halved.xy, 2 * direct.xy, rtol=1e-5)


def test_a_conditional_network_takes_its_conditions_as_a_second_input(one_thread: None) -> None:
    config = made("ctd_prenet_rtmpose_s")
    model = build_model(config)
    fill(model, "conditions")
    session = cast(TorchSession, torch_analyzer(model, config).session)
    assert session.graph.inputs == ("frames", "conditions")
    frames = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3)).astype(np.uint8)
    near = np.random.default_rng(1).uniform(20, 90, (1, 4, 3)).astype(np.float32)
    far = near + np.array([120, 120, 0], np.float32)
    with torch.inference_mode():
        one, other = (session.run({"frames": frames, "conditions": c})["keypoints"] for c in (near, far))
    assert one.shape == (1, 4, 3) and not np.allclose(one, other)
    with pytest.raises(ValueError, match="needs conditions, too"):
        session.run({"frames": frames})
