"""The configuration files of a shuffle: read with DeepLabCut's meaning, made equal to DeepLabCut's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rigpose.errors import ConfigError
from rigpose_training.pose_config.files import (
    read_mapping,
    read_pose_config,
    update,
    write_mapping,
    write_pose_config,
)
from rigpose_training.pose_config.templates import Metadata, available_models, make_pose_config


def flat(mapping: object, where: str = "") -> dict[str, object]:
    """Leaves by dotted key, so that a difference names its place."""
    if isinstance(mapping, dict) and mapping:
        return {k: v for key, value in mapping.items() for k, v in flat(value, f"{where}.{key}").items()}
    return {where: mapping}


@pytest.mark.parametrize("net_type", ["resnet_50", "resnet_101", "hrnet_w18", "hrnet_w32", "hrnet_w48"])
def test_a_template_equals_what_deeplabcut_generates(golden: Path, net_type: str) -> None:
    theirs = yaml.safe_load((golden / "networks" / f"single.{net_type}.yaml").read_text())
    # The recording script asked for random weights; DeepLabCut leaves the key out of a project's file.
    assert theirs["model"]["backbone"].pop("pretrained") is False
    metadata = Metadata(
        project_path=theirs["metadata"]["project_path"],
        pose_config_path=theirs["metadata"]["pose_config_path"],
        bodyparts=("snout", "leftear", "rightear", "tailbase"),
        with_identity=False,
    )
    ours = make_pose_config(net_type, metadata)
    assert flat(ours) == flat(theirs)
    assert list(ours) == list(theirs)


def test_every_available_model_has_a_configuration() -> None:
    assert available_models() == ["hrnet_w18", "hrnet_w32", "hrnet_w48", "resnet_101", "resnet_50"]
    for net_type in available_models():
        config = make_pose_config(net_type, Metadata("/p", "/p/c.yaml", ("a", "b", "c")))
        assert config["model"]["heads"]["bodypart"]["heatmap_config"]["channels"][-1] == 3
        assert config["model"]["heads"]["bodypart"]["locref_config"]["channels"][-1] == 6


def test_an_unknown_net_type_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean resnet_50"):
        make_pose_config("resnet50", Metadata("/p", "/p/c.yaml", ("a",)))


def test_a_single_animal_model_is_refused_for_several_animals() -> None:
    with pytest.raises(ConfigError, match="2 individuals"):
        make_pose_config("resnet_50", Metadata("/p", "/p/c.yaml", ("a",), individuals=("m1", "m2")))


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
