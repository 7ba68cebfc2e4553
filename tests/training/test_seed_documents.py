"""The examples of DeepLabCut's own documents run here with only their import lines changed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_shuffle import write_shuffle

from rigpose.errors import ConfigError
from rigpose_training import build_model
from rigpose_training.pose_config.templates import Metadata, make_pose_config
from rigpose_training.project.shuffle import Shuffle
from rigpose_training.project.split import read_split

SEEDS = Path(os.environ.get("RIGPOSE_SHARED", Path(__file__).parents[3] / "shared")) / "seeds"
THEIRS, OURS = "deeplabcut.pose_estimation_pytorch", "rigpose_training"


def blocks(title: str) -> list[str]:
    """The Python blocks of the document with this title, imports changed."""
    documents = [path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.txt"))]
    found = [text for text in documents if title in text]
    if not found:
        pytest.skip(f"the document {title!r} is not on this machine (set RIGPOSE_SHARED to the parent of seeds)")
    code = re.findall(r"^```python3?\n(.*?)^```", found[0], flags=re.MULTILINE | re.DOTALL)
    return [
        "\n".join(
            line.replace(THEIRS, OURS) if line.startswith(("import ", "from ")) else line for line in block.split("\n")
        )
        for block in code
    ]


@pytest.fixture(scope="module")
def shuffle(tmp_path_factory: pytest.TempPathFactory) -> Shuffle:
    return write_shuffle(tmp_path_factory.mktemp("seed") / "project")


def test_the_documents_project_is_split(shuffle: Shuffle) -> None:
    (example,) = [block for block in blocks("PyTorch DeepLabCut API") if "train_test_split" in block]
    names: dict[str, Any] = {"config": {"project_root": str(shuffle.config.root)}}
    exec(example, names)
    split = names["project"].split
    assert sorted((*split.train, *split.test)) == list(range(6)) and len(split.test) >= 1


def test_the_documents_datasets_hold_the_shuffles_images_and_labels(shuffle: Shuffle) -> None:
    (example,) = [block for block in blocks("PyTorch DeepLabCut API") if "DLCLoader" in block]
    assert "/path/to/my/project/config.yaml" in example
    names: dict[str, Any] = {}
    exec(example.replace("/path/to/my/project/config.yaml", str(shuffle.config.path)), names)
    split = read_split(shuffle.split_path)
    assert (len(names["train_dataset"]), len(names["valid_dataset"])) == (len(split.train), len(split.test))
    for dataset in (names["train_dataset"], names["valid_dataset"]):
        item = dataset[0]
        assert item["image"].shape == (3, 448, 448)  # crop_sampling of a new shuffle
        keypoints = torch.as_tensor(item["annotations"]["keypoints"])
        assert keypoints.shape == (1, 6, 3)
        visible = keypoints[keypoints[..., 2] > 0]
        assert len(visible) and ((visible[:, :2] >= 0) & (visible[:, :2] <= 448)).all()


def names(title: str) -> list[str]:
    """Every model that the document names, in its text and its lists."""
    (text,) = [path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.txt")) if title in path.read_text()]
    families = r"(?:top_down_)?(?:resnet|hrnet|cspnext)_|dekr_|dlcrnet_|rtmpose_|(?:animal)?tokenpose_|ctd_"
    return sorted(set(re.findall(rf"`((?:{families})\w+)`", text)))


def test_the_documents_models_are_available(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("dlc3-architectures")
    exec(example, {})
    printed = capsys.readouterr().out
    documented = names("dlc3-architectures")
    assert len(documented) == 13
    assert [name for name in documented if repr(name) not in printed] == []


@pytest.mark.parametrize("animals", [1, 3])
def test_every_model_of_the_document_is_built(animals: int) -> None:
    blocks("dlc3-architectures")  # skips where the document is not
    metadata = Metadata("/p", "", ("nose", "ear", "tail"), individuals=tuple(f"mouse{i}" for i in range(animals)))
    for name in names("dlc3-architectures"):
        if animals == 1 and name.startswith("dlcrnet_"):
            with pytest.raises(ConfigError, match="single-animal project"):
                make_pose_config(name, metadata)
            continue
        if animals == 1 and not name.startswith(("resnet_", "hrnet_")):
            assert make_pose_config(name, metadata)["model"]["backbone"]  # the same network as of several animals
            continue
        config = make_pose_config(name, metadata)
        with torch.device("meta"):
            network = build_model(config)
        crop = config["data"]["inference"]["top_down_crop"] or {"height": 64, "width": 64}
        images = torch.zeros(1, 3, crop["height"], crop["width"], device="meta")
        maps = network.to("meta")(images)["bodypart"]
        assert maps["heatmap"].shape[:2] == (1, 3 + name.startswith("dekr_"))
