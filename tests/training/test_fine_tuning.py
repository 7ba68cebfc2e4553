"""Which keypoint a bodypart begins with, and that training begins there."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_shuffle import write_shuffle
from drawn_training import DrawnLoader, tiny_config
from reference_weights import fill
from small_networks import small_config

from rigpose.commands.main import run
from rigpose.errors import ConfigError, SnapshotError, TrainingError
from rigpose_training.commands import TRAIN
from rigpose_training.engine.beginning import Start
from rigpose_training.engine.fine_tuning import begin_detector_with, begin_with, named_weights, source_names
from rigpose_training.engine.run import Machine
from rigpose_training.engine.runner_config import first_weights
from rigpose_training.engine.snapshots import load_weights, read_snapshot, write_whole
from rigpose_training.engine.train import train, train_network
from rigpose_training.models import build_model
from rigpose_training.models.detectors import build_detector
from rigpose_training.pose_config.files import read_mapping, read_pose_config, update, write_mapping, write_pose_config
from rigpose_training.pose_config.keypoint_map import by_conversion_table, match_keypoints, read_keypoint_map
from rigpose_training.pose_config.superanimals import SUPERANIMALS
from rigpose_training.pose_config.weight_init import WeightInit
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import find_shuffle

pytestmark = pytest.mark.usefixtures("one_thread")

PROJECT = ("nose", "ear", "tail")
SOURCE = ("snout", "tail", "hip", "ear")


def test_namesakes_and_what_the_map_lists_are_matched() -> None:
    assert match_keypoints(PROJECT, SOURCE, {}, where="m") == {"ear": 3, "tail": 1}
    assert match_keypoints(PROJECT, SOURCE, {"nose": "snout", "tail": None}, where="m") == {"nose": 0, "ear": 3}
    assert match_keypoints(PROJECT, SOURCE, {"nose": 2}, where="m") == {"nose": 2, "ear": 3, "tail": 1}
    assert match_keypoints(PROJECT, None, {"nose": "2", "ear": 0}, where="m") == {"nose": 2, "ear": 0}
    # A namesake that another bodypart was given is not used twice.
    assert match_keypoints(PROJECT, SOURCE, {"nose": "ear"}, where="m") == {"nose": 3, "tail": 1}
    # A name that is made of digits is a name first.
    assert match_keypoints(PROJECT, ("1", "0"), {"nose": "1"}, where="m") == {"nose": 0}


@pytest.mark.parametrize(
    ("names", "keypoint_map", "says"),
    [
        (SOURCE, {"nos": "snout"}, "m: nos is no bodypart of the project; did you mean nose"),
        (SOURCE, {"nose": "snoot"}, "m: the snapshot has no keypoint snoot; did you mean snout"),
        (SOURCE, {"nose": 4}, "m: the snapshot has no keypoint 4"),
        (SOURCE, {"nose": "hip", "ear": "hip"}, "m: nose and ear both begin with hip"),
        (SOURCE, {"nose": "hip", "ear": 2}, "m: nose and ear both begin with hip"),
        (None, {"nose": 1, "ear": "1"}, "m: nose and ear both begin with channel 1"),
        (None, {"nose": "snout"}, "m: nothing says which channel snout is; put the pytorch_config.yaml"),
    ],
)
def test_maps_that_do_not_fit_are_refused(
    names: tuple[str, ...] | None, keypoint_map: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        match_keypoints(PROJECT, names, keypoint_map, where="m")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_maps_are_read_from_files(tmp_path: Path) -> None:
    expected = {"nose": "snout", "ear": None}
    (tmp_path / "map.yaml").write_text("nose: snout\near:\n")
    (tmp_path / "map.csv").write_text("\ufeffbodypart,keypoint\r\nnose, snout\r\n\r\near,\r\n", encoding="utf-8")
    assert read_keypoint_map(tmp_path / "map.yaml") == read_keypoint_map(tmp_path / "map.csv") == expected
    (tmp_path / "map.csv").write_text("bodypart,keypoint\nnose,a\nnose,b\n")
    with pytest.raises(ConfigError, match=r"map.csv lists nose twice"):
        read_keypoint_map(tmp_path / "map.csv")
    (tmp_path / "map.yaml").write_text("nose: [snout]\n")
    with pytest.raises(ConfigError, match=r"map.yaml: nose is no name"):
        read_keypoint_map(tmp_path / "map.yaml")
    for name in ("none.csv", "none.yaml"):
        with pytest.raises(ConfigError, match=rf"{name} .*check the path"):
            read_keypoint_map(tmp_path / name)


def test_names_are_found_beside_the_snapshot_or_in_the_superanimals_name(tmp_path: Path) -> None:
    assert {name: len(keypoints) for name, keypoints in SUPERANIMALS.items()} == {
        "superanimal_topviewmouse": 27,
        "superanimal_quadruped": 39,
        "superanimal_bird": 42,
        "superanimal_humanbody": 17,
    }
    assert source_names(tmp_path / "a.pt").bodyparts is None
    write_pose_config(tmp_path / "pytorch_config.yaml", small_config("paf", PROJECT, individuals=("a", "b")))
    found = source_names(tmp_path / "a.pt")
    assert (found.bodyparts, found.individuals, found.graph) == (PROJECT, ("a", "b"), ((0, 1), (0, 2), (1, 2)))
    mouse = SUPERANIMALS["superanimal_topviewmouse"]
    assert source_names(tmp_path / "superanimal_topviewmouse_hrnet_w32.pt").bodyparts == mouse
    assert source_names(tmp_path / "a.pt", "superanimal_topviewmouse").bodyparts == mouse
    assert source_names(tmp_path / "a.pt", "my mice").bodyparts == PROJECT


def test_a_conversion_table_of_the_project_becomes_numbers(tmp_path: Path) -> None:
    tables = {"superanimal_topviewmouse": {"snout": "nose", "tailbase": "tail_base", "leftear": "left_ear"}}
    bodyparts = ("snout", "leftear", "nose", "tailbase")
    asked = WeightInit("/w/a.pt", dataset="superanimal_topviewmouse", with_decoder=True)
    found = by_conversion_table(asked, bodyparts, tables, where="c.yaml")
    # As DeepLabCut's create_conversion_table would have it: in the project's order, and only what it lists.
    assert found.conversion_array == (0, 1, 13) and found.bodyparts == ("snout", "leftear", "tailbase")
    backbone = WeightInit("/w/a.pt", dataset="superanimal_topviewmouse")
    assert by_conversion_table(backbone, bodyparts, {}, where="c.yaml") == backbone
    for wrong, says in (
        ({}, r"c.yaml: SuperAnimalConversionTables has no superanimal_topviewmouse; list there"),
        (
            {"superanimal_topviewmouse": {"snout": "nos"}},
            r"SuperAnimalConversionTables.superanimal_topviewmouse: .*nose",
        ),
    ):
        with pytest.raises(ConfigError, match=says):
            by_conversion_table(asked, bodyparts, wrong, where="c.yaml")
    with pytest.raises(ConfigError, match=r"weight_init.dataset: 'mice' is none of superanimal_topviewmouse"):
        by_conversion_table(WeightInit(dataset="mice", with_decoder=True), bodyparts, tables, where="c.yaml")


def test_memory_replay_is_refused() -> None:
    section = {"with_decoder": True, "memory_replay": True, "conversion_array": [0]}
    with pytest.raises(
        ConfigError, match=r"train_settings.weight_init.memory_replay: .* is not supported; write false"
    ):
        first_weights({"train_settings": {"weight_init": section}})
    assert first_weights({"train_settings": {}}) == WeightInit()


def written(folder: Path, names: tuple[str, ...], salt: str = "source", **changes: Any) -> Path:
    """A snapshot of a small network, with its configuration beside it."""
    folder.mkdir()
    config = small_config("heatmap", names, **changes)
    model = build_model(config)
    fill(model, salt)
    write_pose_config(folder / "pytorch_config.yaml", config)
    write_whole({"model": model.state_dict(), "metadata": {"epoch": 9}}, folder / "snapshot-009.pt")
    return folder / "snapshot-009.pt"


def channel(weights: dict[str, torch.Tensor], number: int) -> torch.Tensor:
    return weights["heads.bodypart.heatmap_head.deconv_layers.0.weight"][:, number]


def test_a_section_of_deeplabcut_is_obeyed(tmp_path: Path) -> None:
    snapshot = written(tmp_path / "source", SOURCE, unique=("door",))
    theirs = read_snapshot(snapshot)["model"]
    config = small_config("heatmap", PROJECT, unique=("lamp", "door"))
    model = build_model(config)
    weights = WeightInit(str(snapshot), with_decoder=True, conversion_array=(0, 1), bodyparts=("nose", "tail"))
    said = begin_with(model, weights, snapshot, config["metadata"])
    assert said == (
        f"Starting from the backbone and the heads of {snapshot}, which know nose (from snout), tail; anew: ear."
    )
    ours = model.state_dict()
    assert torch.equal(channel(ours, 0), channel(theirs, 0)) and torch.equal(channel(ours, 2), channel(theirs, 1))
    assert not torch.equal(channel(ours, 1), channel(theirs, 3))
    door = "heads.unique_bodypart.heatmap_head.deconv_layers.0.weight"
    assert torch.equal(ours[door][:, 1], theirs[door][:, 0])
    alone = WeightInit(str(snapshot))
    assert begin_with(build_model(config), alone, snapshot, config["metadata"]).endswith("; the heads begin anew.")
    (tmp_path / "source" / "pytorch_config.yaml").unlink()
    said = begin_with(model, weights, snapshot, config["metadata"])
    assert "which know nose (from channel 0), tail (from channel 1);" in said
    wrong = WeightInit(str(snapshot), with_decoder=True, conversion_array=(0,), bodyparts=("tial",))
    with pytest.raises(ConfigError, match=r"weight_init.bodyparts: tial is no bodypart .*did you mean tail"):
        begin_with(model, wrong, snapshot, config["metadata"])
    with pytest.raises(ConfigError, match=r"weight_init.conversion_array: 2 numbers for 3 bodyparts"):
        begin_with(model, WeightInit(with_decoder=True, conversion_array=(0, 1)), snapshot, config["metadata"])


def test_a_map_becomes_a_section_that_deeplabcut_reads(tmp_path: Path) -> None:
    snapshot = written(tmp_path / "source", SOURCE)
    earlier = WeightInit(detector_snapshot_path="/w/detector.pt")
    (tmp_path / "map.yaml").write_text("nose: snout\n")
    for given in ({"nose": "snout"}, tmp_path / "map.yaml"):
        assert named_weights(snapshot, given, PROJECT, earlier, heads=True) == WeightInit(
            snapshot_path=str(snapshot),
            detector_snapshot_path="/w/detector.pt",
            with_decoder=True,
            conversion_array=(0, 3, 1),
            bodyparts=PROJECT,
        )
    with pytest.raises(
        ConfigError, match=r"keypoint_map: no bodypart begins with a keypoint of .*snout, tail, hip, ear"
    ):
        named_weights(snapshot, {}, ("wing",), earlier, heads=True)


@pytest.mark.parametrize("exported", [True, False])
def test_detectors_begin_with_a_snapshot_or_an_exported_pair(tmp_path: Path, *, exported: bool) -> None:
    section = {"type": "SSDLite"}
    source, detector = build_detector(section), build_detector(section)
    content = {"pose": {"a": torch.ones(1)}, "detector": source.state_dict()}
    write_whole(content if exported else {"model": source.state_dict()}, tmp_path / "d.pt")
    assert begin_detector_with(detector, tmp_path / "d.pt").startswith("Starting from the detector of ")
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in detector.state_dict().items())


def test_bare_weights_are_read(tmp_path: Path) -> None:
    torch.save({"backbone.weight": torch.ones(2)}, tmp_path / "bare.pt")
    assert list(read_snapshot(tmp_path / "bare.pt")["model"]) == ["backbone.weight"]
    torch.save({}, tmp_path / "empty.pt")
    with pytest.raises(SnapshotError, match="neither a DeepLabCut snapshot"):
        read_snapshot(tmp_path / "empty.pt")


def test_training_begins_with_the_sections_weights_and_goes_on_by_itself(tmp_path: Path) -> None:
    """With a learning rate of zero the network that comes out is the one that went in."""
    snapshot = written(tmp_path / "source", ("tail", "hip", "nose"))
    weights = {"snapshot_path": str(snapshot), "with_decoder": True, "conversion_array": [2, 0]}
    changes = {"train_settings.epochs": 1, "runner.optimizer.params.lr": 0.0, "runner.scheduler": None}
    config = update(tiny_config(), changes)
    config["train_settings"]["weight_init"] = weights

    def make(epochs: int) -> DrawnLoader:
        return DrawnLoader(tmp_path / "run", config=update(config, {"train_settings.epochs": epochs}), train=3)

    path = train(make(1), Start(), Machine(device="cpu"))
    assert path.name == "snapshot-001.pt"
    theirs, ours = read_snapshot(snapshot)["model"], read_snapshot(path)["model"]
    assert torch.equal(channel(ours, 0), channel(theirs, 2)) and torch.equal(channel(ours, 1), channel(theirs, 0))
    snapshot.unlink()  # what goes on no longer needs it
    assert train(make(2), Start(), Machine(device="cpu")).name == "snapshot-002.pt"
    text = (tmp_path / "run" / "train.txt").read_text()
    assert "Starting from the backbone and the heads of" in text and "Going on after epoch 1" in text


def test_a_strict_start_says_when_the_names_are_others(tmp_path: Path) -> None:
    snapshot = written(tmp_path / "source", ("tail", "nose"))
    loader = DrawnLoader(tmp_path / "run", config=update(tiny_config(), {"train_settings.epochs": 1}), train=3)
    train(loader, Start(snapshot=snapshot), Machine(device="cpu"))
    assert (
        "was trained for tail, nose, and its outputs go on as nose, tail"
        in (tmp_path / "run" / "train.txt").read_text()
    )


@pytest.mark.parametrize(
    ("family", "key"), [("heatmap", "heads"), ("dekr", "offset"), ("prenet", "prenet"), ("tokens", "")]
)
def test_a_strict_start_with_other_keypoints_suggests_the_map(family: str, key: str) -> None:
    weights = build_model(small_config(family, SOURCE)).state_dict()
    with pytest.raises(SnapshotError, match=r"another number of body parts; .*--keypoint-map") as caught:
        load_weights(build_model(small_config(family, PROJECT)), weights, source=Path("a.pt"))
    assert key in str(caught.value).lower()


def test_one_call_fine_tunes_a_project(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shuffle = write_shuffle(folder)
    names = read_pose_config(shuffle.pose_config_path)["metadata"]["bodyparts"]
    source = tmp_path / "source"
    source.mkdir()
    config = read_pose_config(shuffle.pose_config_path)
    config["metadata"]["bodyparts"] = ["my_" + names[0], *names[:0:-1]]
    model = build_model(config)
    fill(model, "source")
    write_pose_config(source / "pytorch_config.yaml", config)
    write_whole({"model": model.state_dict()}, source / "a.pt")
    call: dict[str, Any] = {
        "snapshot_path": source / "a.pt",
        "keypoint_map": {names[0]: "my_" + names[0]},
        "device": "cpu",
        "epochs": 1,
        "batch_size": 2,
        "pytorch_cfg_updates": {"runner.optimizer.params.lr": 0.0, "data.train.crop_sampling": None},
    }
    with pytest.raises(TrainingError, match=r"holds a training that began otherwise; train with resume=False"):
        train_network(folder, **call)
    path = train_network(folder, **call, resume=False)
    assert path.name.endswith("-001.pt")
    ours, theirs = read_snapshot(path)["model"], model.state_dict()
    last = len(names) - 1
    assert torch.equal(channel(ours, 0), channel(theirs, 0)) and torch.equal(channel(ours, 1), channel(theirs, last))
    section = read_pose_config(shuffle.pose_config_path)["train_settings"]["weight_init"]
    assert section["conversion_array"] == [0, *range(last, 0, -1)] and section["bodyparts"] == names
    with pytest.raises(ConfigError, match="keypoint_map: says nothing without"):
        train_network(folder, keypoint_map={}, device="cpu")


def test_a_new_shuffle_takes_its_numbers_from_the_projects_table(tmp_path: Path) -> None:
    shuffle = write_shuffle(tmp_path / "project")
    project = read_mapping(shuffle.config.path)
    part = shuffle.config.bodyparts[1]
    table = {"superanimal_quadruped": {part: "nose", "stale": None}, "superanimal_bird": None}
    write_mapping(shuffle.config.path, project | {"SuperAnimalConversionTables": table})
    weights = {"snapshot_path": "/w/a.pt", "dataset": "superanimal_quadruped", "with_decoder": True}
    with pytest.raises(ConfigError, match="stale is no bodypart of the project"):
        create_training_dataset(tmp_path / "project", weight_init=weights)
    del table["superanimal_quadruped"]["stale"]
    write_mapping(shuffle.config.path, project | {"SuperAnimalConversionTables": table})
    (index,) = create_training_dataset(tmp_path / "project", weight_init=weights)
    made = find_shuffle(read_project_config(tmp_path / "project"), index=index)
    section = read_pose_config(made.pose_config_path)["train_settings"]["weight_init"]
    assert section["conversion_array"] == [0] and section["bodyparts"] == [part]


@pytest.mark.parametrize(
    ("options", "keypoint_map", "heads"),
    [
        ([], None, True),
        (["--keypoint-map"], {}, True),
        (["--keypoint-map", "map.csv", "--backbone-only"], "map.csv", False),
    ],
)
def test_the_command_passes_the_map_on(
    options: list[str], keypoint_map: object, monkeypatch: pytest.MonkeyPatch, *, heads: bool
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr("rigpose_training.engine.train.train_network", lambda _, **call: calls.append(call))
    parser = ArgumentParser()
    TRAIN.configure(parser)
    assert run(TRAIN, parser.parse_args(["project", "--snapshot", "a.pt", *options])) == 0
    assert (calls[0]["keypoint_map"], calls[0]["load_head_weights"]) == (keypoint_map, heads)
    assert calls[0]["snapshot_path"] == Path("a.pt")
