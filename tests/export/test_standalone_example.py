"""The documented examples: the page shows them as they are, and without rigpose they give rigpose's numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from exported_pairs import drawn
from handmade_graphs import write_pair

import rigpose
from rigpose.analyzers.analyzer import Analyzer, PoseAnalyzer
from rigpose.analyzers.top_down import BoxAnalyzer, CropAnalyzer, TopDownAnalyzer
from rigpose.arrays import Frames
from rigpose.bundles.bundle import Bundle
from rigpose.bundles.contract import contract
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.models.preprocess import InputSpec, Resize
from rigpose.sessions.onnx_runtime import OnnxRuntimeSession

EXPORT = Path(__file__).parents[2] / "export"
PAGE = (EXPORT / "WITHOUT_RIGPOSE.md").read_text(encoding="utf-8")
# Four decimals are printed, and coordinates of some hundred px in float32 have a spacing of 3e-5 px.
ROUNDING = 1e-4


@pytest.mark.parametrize(("name", "most"), [("one_animal.py", 30), ("top_down_pair.py", 45)])
def test_the_page_shows_the_example_that_runs(name: str, most: int) -> None:
    text = (EXPORT / "examples" / name).read_text(encoding="utf-8")
    assert f"```python\n{text}```\n" in PAGE
    assert len(text.splitlines()) <= most
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE))
    assert imported <= {"json", "sys", "pathlib", "cv2", "numpy", "onnxruntime"}


def test_the_page_names_every_key() -> None:
    pose = contract(ModelSpec("single_animal", "resnet_50", ("nose",)))
    keys = set(pose) | set(contract(DetectorSpec(1)))
    assert keys == set(re.findall(r"`(rigpose\.[a-z_]+)`", PAGE))


class BonsaiImage:
    """The fields of an ``OpenCV.Net.IplImage`` that Bonsai hands to Python: rows are padded to multiples of 4 bytes."""

    def __init__(self, pixels: Frames) -> None:
        self.Height, self.Width, self.Channels = pixels.shape
        self.WidthStep = -(-self.Width * self.Channels // 4) * 4
        self.rows = np.full((self.Height, self.WidthStep), 77, np.uint8)
        self.rows[:, : self.Width * self.Channels] = pixels.reshape(self.Height, -1)
        self.ImageData = self

    def ToInt64(self) -> int:  # noqa: N802
        return self.rows.ctypes.data


def test_an_image_of_bonsai_gives_the_poses_of_its_pixels(tiny_bundle: Path) -> None:
    text = (EXPORT / "examples" / "bonsai_poses.py").read_text(encoding="utf-8")
    assert f"```python\n{text}```\n" in (EXPORT / "BONSAI.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    exec(text.replace(r"C:\models\my.bundle", str(tiny_bundle)), found)
    frame = drawn(2, 97, 131)
    grey = np.ascontiguousarray(frame[..., 1:2])
    for image, pixels in ((frame, frame), (grey, np.repeat(grey, 3, axis=2))):
        (poses,) = found["analyzer"].predict(pixels)
        (animal,) = found["poses"](BonsaiImage(image))
        assert [name for name, *_ in animal] == list(found["analyzer"].spec.keypoints)
        np.testing.assert_array_equal([row[1:] for row in animal], poses.to_array()[0])


def run(name: str, *arguments: Path) -> list[list[str]]:
    """The columns of the lines that an example prints, run as a script of its own."""
    done = subprocess.run(
        [sys.executable, str(EXPORT / "examples" / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONNOUSERSITE": "1"},
    )
    assert not done.returncode, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def picture(folder: Path, frame: Frames) -> Path:
    cv2.imwrite(str(folder / "picture.png"), frame)
    return folder / "picture.png"


def check_one(graph: Path, analyzer: PoseAnalyzer, frame: Frames, folder: Path) -> None:
    """The example's keypoints in a frame are the analyzer's."""
    (poses,) = analyzer.predict(frame)
    printed = run("one_animal.py", graph, picture(folder, frame))
    assert [line[0] for line in printed] == list(analyzer.spec.keypoints)
    found = np.array([line[1:] for line in printed], float)
    np.testing.assert_allclose(found[:, :2], poses.xy[0], atol=ROUNDING)
    np.testing.assert_allclose(found[:, 2], poses.score[0], atol=1e-6)


def test_a_bundle_gives_the_same_keypoints_without_rigpose(tiny_bundle: Path, tmp_path: Path) -> None:
    check_one(tiny_bundle / "pose.onnx", rigpose.load(tiny_bundle, device="cpu"), drawn(2, 97, 131), tmp_path)


@pytest.mark.parametrize(
    "steps",
    [
        InputSpec(multiple_of=32),
        InputSpec(longest_side=90, multiple_of=16),
        InputSpec(Resize(110, 70)),
        InputSpec(Resize(110, 70), multiple_of=32),
        InputSpec(Resize(110, 70, keep_ratio=False)),
    ],
)
def test_it_takes_the_steps_from_the_file(tiny_bundle: Path, tmp_path: Path, steps: InputSpec) -> None:
    """The graph of the small network takes frames of any size, so any steps may stand before it."""
    spec = replace(Bundle.open(tiny_bundle).manifest.model, input=steps)
    model = onnx.load(tiny_bundle / "pose.onnx")
    onnx.helper.set_model_props(model, contract(spec))
    onnx.save(model, tmp_path / "pose.onnx")
    analyzer = Analyzer(spec, OnnxRuntimeSession(tmp_path / "pose.onnx", device="cpu"))
    check_one(tmp_path / "pose.onnx", analyzer, drawn(2, 97, 131), tmp_path)


def pair_of(folder: Path, told: DetectorSpec, spec: ModelSpec) -> TopDownAnalyzer:
    """The same files in rigpose."""
    detector, pose = (OnnxRuntimeSession(folder / f"{name}.onnx", device="cpu") for name in ("detector", "pose"))
    return TopDownAnalyzer(BoxAnalyzer(told, detector), CropAnalyzer(spec, pose))


@pytest.mark.parametrize("margin", [0, 7])
def test_a_pair_gives_the_same_keypoints_without_rigpose(tmp_path: Path, margin: int) -> None:
    names = tuple(f"column{i}" for i in range(24))
    spec = ModelSpec("top_down", "x", names, ("one", "two"), crop=CropSpec(24, 32, margin=margin))
    told = DetectorSpec(max_animals=4, min_score=0.3)
    # Inside; wide; over a corner; half a pixel to round; too many; not sure enough; none.
    boxes = [[20.3, 10.1, 61.7, 55.2], [30, 40, 99.4, 52], [-9, -8, 22, 19], [40.5, 20.5, 61.5, 48.5], [1, 1, 50, 50]]
    boxes += [[60, 20, 100, 60], [0, 0, 0, 0]]
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.2, 0.0], np.float32)
    write_pair(tmp_path, np.array(boxes, np.float32), scores, (told, spec))
    frame = np.random.default_rng(1).integers(0, 256, (71, 105, 3), np.uint8)
    (poses,) = pair_of(tmp_path, told, spec).predict(frame)
    assert poses.xy.shape == (4, 24, 2)
    printed = run("top_down_pair.py", tmp_path, picture(tmp_path, frame))
    assert [line[:2] for line in printed] == [[str(animal), name] for animal in range(4) for name in names]
    found = np.array([line[2:] for line in printed], float).reshape(4, 24, 3)
    np.testing.assert_allclose(found[..., :2], poses.xy, atol=ROUNDING)
    np.testing.assert_allclose(found[..., 2], poses.score, rtol=1e-6)


def test_a_pair_that_finds_nothing_prints_nothing(tmp_path: Path) -> None:
    specs = (DetectorSpec(4), ModelSpec("top_down", "x", ("a",) * 24, crop=CropSpec(24, 32)))
    write_pair(tmp_path, np.zeros((2, 4), np.float32), np.zeros(2, np.float32), specs)
    assert run("top_down_pair.py", tmp_path, picture(tmp_path, drawn(2, 97, 131))) == []
