"""New configurations equal those that DeepLabCut makes, value for value, but for the corrections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rigpose.errors import ConfigError
from rigpose_training.pose_config.corrections import CORRECTIONS, corrected
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.pose_config.templates import ALIASES, Metadata, available_models, make_pose_config

# DeepLabCut 3.0.2; made by tests/deeplabcut/record_pose_configs.py.
RECORDED = Path(__file__).with_name("recorded_pose_configs.jsonl")
ANIMALS = ("one", "two", "three")
WEIGHTS = {
    "snapshot_path": "/weights/snapshot.pt",
    "dataset": "other",
    "with_decoder": True,
    "conversion_array": [3, 1, 2, 0],
    "bodyparts": ["snout", "leftear", "rightear", "tailbase"],
}


def flat(value: object, where: str = "") -> dict[str, object]:
    """Leaves by dotted key, so that a difference names its place."""
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in flat(item, f"{where}.{key}".lstrip(".")).items()}
    return {where: value}


def recorded() -> dict[str, dict[str, Any]]:
    configs: dict[str, dict[str, Any]] = {}
    for text in RECORDED.read_text().splitlines():
        line = json.loads(text)
        base = configs.get(line["like"], {})
        configs[line["name"]] = {k: v for k, v in base.items() if k not in line["absent"]} | line["changes"]
    return configs


THEIRS = recorded()


def options(name: str) -> tuple[str, dict[str, Any]]:
    """Net type and keywords of a recorded configuration's name."""
    kind, _, net_type = name.partition("/")
    if kind == "detector":
        return "top_down_resnet_50", {"detector_type": net_type}
    if kind == "conditions":
        return "ctd_coam_w32", {"ctd_conditions": (3, -2) if net_type == "index" else (3, "snapshot-010.pt")}
    if kind == "weights":
        return net_type, {"weight_init": WEIGHTS}
    return net_type, {"ctd_conditions": 1} if net_type.startswith("ctd_") else {}


def make(name: str, **changed: Any) -> dict[str, Any]:
    kind = name.partition("/")[0]
    net_type, keywords = options(name)
    several = kind not in ("single", "weights")
    metadata = Metadata(
        project_path="/project",
        pose_config_path="/project/pytorch_config.yaml",
        bodyparts=("snout", "leftear", "rightear", "tailbase"),
        unique_bodyparts=("corner", "door") if kind == "unique" else (),
        individuals=ANIMALS if several else ("individual_1",),
        with_identity=kind == "identity",
    )
    return make_pose_config(net_type, metadata, multi_animal=several, **{**keywords, **changed})


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, object]:
    """What ours says where theirs says otherwise; numbers must be of one kind too."""
    mine = flat(ours)
    keys = {*mine, *theirs}
    return {key: mine.get(key, "absent") for key in keys if repr(mine.get(key)) != repr(theirs.get(key))}


@pytest.mark.parametrize("name", [name for name, config in THEIRS.items() if "refused" not in config])
def test_a_configuration_equals_the_recorded_one_but_for_its_corrections(name: str) -> None:
    ours = make(name)
    assert differences(ours, THEIRS[name]) == corrected(ours["net_type"], keypoints=4)


@pytest.mark.parametrize("name", [name for name, config in THEIRS.items() if "refused" in config])
def test_what_deeplabcut_refuses_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]+ \w.*; use .*\.$"):
        make(name)


def test_every_model_of_deeplabcut_is_recorded_in_both_kinds_of_project() -> None:
    for kind in ("single", "multi"):
        names = {name.partition("/")[2] for name in THEIRS if name.startswith(f"{kind}/")}
        assert {*names, *ALIASES} == set(available_models())
    assert len(names) == 34


def test_every_correction_is_one() -> None:
    """No correction says what DeepLabCut says anyway, and all have a reason."""
    for correction in CORRECTIONS:
        for net_type in correction.net_types:
            theirs = THEIRS[f"multi/{net_type}"]
            assert {k for k, v in correction.changes.items() if theirs[k] == v} == set()
        assert len(correction.reason) > 40


def test_crowdposes_errors_stay_with_its_fourteen_keypoints() -> None:
    for keypoints, sigmas in ((14, list), (13, float)):
        metadata = Metadata("", "", tuple(f"part{i}" for i in range(keypoints)))
        sampling = make_pose_config("ctd_coam_w48_human", metadata)["data"]["gen_sampling"]
        assert isinstance(sampling["keypoint_sigmas"], sigmas)
        assert (sampling["keypoints_symmetry"] is None) == (keypoints == 13)


def golden_name(stem: str) -> str:
    kind, _, net_type = stem.rpartition(".")
    return f"{'single' if kind == 'single' else 'multi'}/{net_type}"


def test_the_configurations_of_the_recorded_networks_are_made(golden: Path) -> None:
    """Those that the networks' outputs were recorded with: random weights, and the Faster R-CNN of a MobileNet."""
    stems = sorted(path.stem for path in (golden / "networks").glob("*.yaml"))
    assert len(stems) == 27
    for stem in stems:
        theirs = read_pose_config(golden / "networks" / f"{stem}.yaml")
        detector = {"detector_type": "fasterrcnn_mobilenet_v3_large_fpn"} if theirs["method"] == "td" else {}
        ours = make(golden_name(stem), **detector)
        assert list(ours) == list(theirs)
        allowed = {*corrected(theirs["net_type"], keypoints=4), *(f"metadata.{key}" for key in theirs["metadata"])}
        found = differences(ours, flat(theirs)).keys() - allowed
        # What building the network wrote into the mapping.
        assert {key.rpartition(".")[2] for key in found} <= {"pretrained", "img_size"}, stem
        assert all(key.startswith("model.backbone.") for key in found)
