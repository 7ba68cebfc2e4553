"""The configuration files of a shuffle: read with DeepLabCut's meaning, made equal to DeepLabCut's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rigpose.errors import ConfigError
from rigpose_training.pose_config.affinity import affinity_graph
from rigpose_training.pose_config.conditions import (
    FileConditions,
    ModelConditions,
    ShuffleConditions,
    read_conditions,
)
from rigpose_training.pose_config.detectors import available_detectors
from rigpose_training.pose_config.files import (
    read_mapping,
    read_pose_config,
    update,
    write_mapping,
    write_pose_config,
)
from rigpose_training.pose_config.templates import Metadata, available_models, make_pose_config
from rigpose_training.pose_config.weight_init import WeightInit, read_weight_init

MICE = Metadata("/p/mice", "/p/mice/c.yaml", ("nose", "ear", "tail"), individuals=("m1", "m2"))
MOUSE = Metadata("/p/mouse", "/p/mouse/c.yaml", ("nose", "ear", "tail"))


def test_every_available_model_has_a_configuration() -> None:
    names = available_models()
    assert len(names) == 36 and {"tokenpose_base", "animaltokenpose_base", "dlcrnet_ms5", "top_down_cspnext_x"} <= {
        *names
    }
    for net_type in names:
        config = make_pose_config(net_type, MICE)
        assert config["net_type"] in names and config["method"] in ("bu", "td", "ctd")
        assert (config["detector"] is not None) == (config["method"] == "td")


def test_a_backbone_gets_the_head_that_the_project_needs() -> None:
    one = make_pose_config("resnet_50", MOUSE)["model"]["heads"]["bodypart"]
    assert (one["type"], one["heatmap_config"]["channels"]) == ("HeatmapHead", [2048, 3])
    several = make_pose_config("resnet_50", MICE)["model"]["heads"]["bodypart"]
    assert (several["type"], several["paf_config"]["channels"]) == ("DLCRNetHead", [2048, 6])
    lone = make_pose_config("resnet_50", MOUSE, multi_animal=True)["model"]["heads"]["bodypart"]
    assert (lone["type"], lone["predictor"]["num_animals"]) == ("DLCRNetHead", 1)


def test_both_names_of_tokenpose_are_the_stored_one() -> None:
    assert make_pose_config("tokenpose_base", MICE) == make_pose_config("animaltokenpose_base", MICE)
    assert make_pose_config("tokenpose_base", MICE)["net_type"] == "animaltokenpose_base"
    assert make_pose_config("top_down_hrnet_w32", MICE)["net_type"] == "hrnet_w32"


@pytest.mark.parametrize(
    ("net_type", "metadata", "options", "says"),
    [
        ("resnet50", MICE, {}, "did you mean resnet_50"),
        ("topdown_resnet_50", MICE, {}, "did you mean top_down_resnet_50"),
        ("tokenpose", MICE, {}, "did you mean tokenpose_base"),
        ("dlcrnet_ms5", MOUSE, {}, "/p/mouse is a single-animal project; use resnet_50"),
        ("resnet_50", replace(MICE, bodyparts=("nose",)), {}, "/p/mice has only nose; use dekr_w32 or a top-down"),
        ("dlcrnet_stride32_ms5", replace(MICE, bodyparts=("nose",)), {}, "has only nose"),
        ("rtmpose_s", replace(MICE, unique_bodyparts=("door",)), {}, "unique bodyparts of /p/mice; use a bottom-up"),
        ("ctd_coam_w32", replace(MICE, with_identity=True), {}, "identity: true of /p/mice; use a bottom-up"),
        ("rtmpose_s", MICE, {"detector_type": "ssd_lite"}, "did you mean ssdlite"),
        ("dekr_w32", MICE, {"detector_type": "ssdlite"}, "dekr_w32 has no detector"),
        ("dekr_w32", MICE, {"ctd_conditions": 1}, "dekr_w32 takes no conditions"),
        ("ctd_coam_w32", MICE, {"ctd_conditions": 1.5}, "ctd_conditions: 1.5 names no poses"),
        ("ctd_coam_w32", MICE, {"ctd_conditions": (1, 2, 3)}, "give .1, -1."),
        ("ctd_coam_w32", MICE, {"ctd_conditions": "poses.csv"}, "poses.csv is no .h5 or .json"),
        ("ctd_coam_w32", MICE, {"ctd_conditions": "poses.h5"}, "poses.h5 does not exist"),
        ("ctd_coam_w32", MICE, {"ctd_conditions": {"source": "shufle", "shuffle": 1}}, "did you mean shuffle"),
        ("ctd_coam_w32", MICE, {"ctd_conditions": {"shuffle": 1, "snapshott": 2}}, "did you mean snapshot"),
        ("resnet_50", MICE, {"weight_init": {"snapshot": "a.pt"}}, "weight_init.snapshot: unknown key; did you mean"),
        ("resnet_50", MICE, {"weight_init": {"memory_replay": True}}, "weight_init.memory_replay: needs with_decoder"),
        ("resnet_50", MICE, {"weight_init": {"with_decoder": True}}, "weight_init.conversion_array: missing"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(
    net_type: str, metadata: Metadata, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make_pose_config(net_type, metadata, **options)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_fourteen_bodyparts_are_joined_pairwise_and_more_by_a_thinned_graph() -> None:
    assert affinity_graph(14) == [[i, j] for i in range(14) for j in range(i + 1, 14)]
    for keypoints in (15, 16, 40):
        graph = affinity_graph(keypoints)
        assert len(graph) == len({tuple(edge) for edge in graph}) == 3 * keypoints
        assert all(0 <= i < j < keypoints for i, j in graph)
        reached = {0}
        for _ in range(keypoints):
            reached |= {end for edge in graph if reached & set(edge) for end in edge}
        assert reached == set(range(keypoints))
        assert graph == affinity_graph(keypoints)


def test_a_thinned_graph_sets_the_width_of_the_fields() -> None:
    metadata = replace(MICE, bodyparts=tuple(f"p{i}" for i in range(16)))
    head = make_pose_config("hrnet_w18", metadata)["model"]["heads"]["bodypart"]
    assert head["predictor"]["edges_to_keep"] == list(range(48))
    assert head["paf_config"]["channels"] == [18, 96]
    assert head["predictor"]["graph"] == head["target_generator"]["generators"][1]["graph"] == affinity_graph(16)


def test_detectors_have_deeplabcuts_names_and_ssdlite_is_the_default() -> None:
    assert available_detectors() == ["fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn_v2", "ssdlite"]
    detector = make_pose_config("rtmpose_s", MICE)["detector"]
    assert (detector["model"]["type"], detector["train_settings"]["batch_size"]) == ("SSDLite", 16)


def test_no_section_is_shared_with_the_next_configuration() -> None:
    first = make_pose_config("ctd_prenet_rtmpose_s", MICE)
    first["data"]["train"]["top_down_crop"]["width"] = 8
    first["model"]["backbone"]["backbone"]["freeze_bn_stats"] = "changed"
    first["model"]["heads"]["bodypart"]["criterion"]["x"]["beta"] = 0
    second = make_pose_config("ctd_prenet_rtmpose_s", MICE)
    assert second["data"]["train"]["top_down_crop"]["width"] == second["data"]["inference"]["top_down_crop"]["width"]
    assert second["model"]["backbone"]["backbone"]["freeze_bn_stats"] is False
    assert first["model"]["heads"]["bodypart"]["criterion"]["y"]["beta"] == 10.0


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (3, ShuffleConditions("shuffle", 3)),
        ((3, -1), ShuffleConditions("shuffle", 3, snapshot_index=-1)),
        ([3, "snapshot-010.pt"], ShuffleConditions("shuffle", 3, snapshot="snapshot-010.pt")),
        ({"shuffle": 3, "trainset_index": 1}, ShuffleConditions("shuffle", 3, trainset_index=1)),
        ({"config_path": "c.yaml", "snapshot_path": "s.pt"}, ModelConditions("model", "c.yaml", "s.pt")),
        ({"source": "file", "filepath": "poses.json"}, FileConditions("file", "poses.json")),
    ],
)
def test_conditions_are_read_in_every_form_that_deeplabcut_takes(given: object, read: object, tmp_path: Path) -> None:
    assert read_conditions(given, where="ctd_conditions") == read
    config = make_pose_config("ctd_coam_w32", MICE, ctd_conditions=given)
    write_pose_config(tmp_path / "c.yaml", config)
    section = read_pose_config(tmp_path / "c.yaml")["inference"]["conditions"]
    assert read_conditions(section, where="c.yaml: inference.conditions") == read


def test_a_predictions_file_becomes_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("poses.h5").touch()
    assert read_conditions("poses.h5", where="") == FileConditions("file", str(tmp_path / "poses.h5"))


def test_first_weights_come_back_from_the_file(tmp_path: Path) -> None:
    weights = WeightInit("/w/a.pt", with_decoder=True, conversion_array=(2, 0, 1), bodyparts=("nose", "ear", "tail"))
    write_pose_config(tmp_path / "c.yaml", make_pose_config("resnet_50", MOUSE, weight_init=weights))
    section = read_pose_config(tmp_path / "c.yaml")["train_settings"]["weight_init"]
    assert section["conversion_array"] == [2, 0, 1]
    assert read_weight_init(section, where="c.yaml: train_settings.weight_init") == weights
    assert read_weight_init({"snapshot_path": "None", "dataset": "mice"}, where="") == WeightInit(dataset="mice")
    with pytest.raises(ConfigError, match=r"c\.yaml\.bodyparts: 1 names for 3 numbers"):
        read_weight_init({**section, "bodyparts": ["nose"]}, where="c.yaml")


def test_a_number_without_a_dot_is_a_number(golden: Path) -> None:
    config = read_pose_config(golden / "snapshots" / "openfield_resnet_50" / "pytorch_config.yaml")
    assert config["runner"]["scheduler"]["params"]["lr_list"] == [[1e-4], [1e-5]]


@pytest.mark.parametrize("word", ["no", "on", "y", "1e5", "2018-08-30", "0x1F", "1:30", "null", "true", "", "12", ".5"])
def test_a_name_comes_back_as_the_text_it_is(tmp_path: Path, word: str) -> None:
    write_mapping(tmp_path / "c.yaml", {"bodyparts": [word]})
    assert read_mapping(tmp_path / "c.yaml") == {"bodyparts": [word]}


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("010", 10), ("1e-05", 1e-5), ("true", True), ("", None), ("~", None), (".5", 0.5), ("-3", -3)],
)
def test_plain_scalars_mean_what_deeplabcut_means(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "c.yaml").write_text(f"key: {text}\n")
    found = read_mapping(tmp_path / "c.yaml")["key"]
    assert found == value and type(found) is type(value)


def test_writing_and_reading_keeps_every_value(tmp_path: Path, golden: Path) -> None:
    config = read_pose_config(golden / "networks" / "dekr_w18.yaml")
    write_pose_config(tmp_path / "pytorch_config.yaml", config)
    assert read_pose_config(tmp_path / "pytorch_config.yaml") == config
    assert [p.name for p in tmp_path.iterdir()] == ["pytorch_config.yaml"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_files_saved_on_windows_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "c.yaml").write_bytes("Task: Mäuse\r\nscorer: é\r\n".encode(encoding))
    assert read_mapping(tmp_path / "c.yaml") == {"Task": "Mäuse", "scorer": "é"}


def test_a_bad_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml does not exist"):
        read_pose_config(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ConfigError, match=r"list\.yaml holds list"):
        read_pose_config(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not valid YAML at line 3"):
        read_pose_config(tmp_path / "broken.yaml")


def test_update_puts_dotted_keys_into_a_copy() -> None:
    config = make_pose_config("resnet_50", Metadata("/p", "/p/c.yaml", ("a",)))
    changed = update(
        config,
        {
            "runner.optimizer.params.lr": 1e-3,
            "runner.optimizer.params.weight_decay": 0.1,
            "data.train.resize.width": 640,
            "data.train.resize.height": 480,
        },
    )
    assert changed["runner"]["optimizer"]["params"] == {"lr": 1e-3, "weight_decay": 0.1}
    assert changed["data"]["train"]["resize"] == {"width": 640, "height": 480}
    assert config["runner"]["optimizer"]["params"] == {"lr": 5e-4}


def test_update_names_the_key_that_was_meant() -> None:
    config = make_pose_config("resnet_50", Metadata("/p", "/p/c.yaml", ("a",)))
    with pytest.raises(ConfigError, match="did you mean epochs"):
        update(config, {"train_settings.epoch": 3})
    with pytest.raises(ConfigError, match="did you mean train_settings"):
        update(config, {"train_setting.epochs": 3})
    with pytest.raises(ConfigError, match=r"train_settings\.epochs is 200, not a section"):
        update(config, {"train_settings.epochs.first": 3})
