"""The wheel: what is inside, what it asks for, and that it runs a bundle where torch is not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"rigpose": "runtime", "rigpose_training": "training", "rigpose_export": "export"}
HEAVY = ("torch", "torchvision", "timm", "onnx", "onnxscript", "matplotlib")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # What pip and build call; without a network, so no isolated environment.
    code = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def rig(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine with the wheel alone: every import of torch and the like fails."""
    site, absent = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("absent")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for name in HEAVY:
        (absent / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name={name!r})\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(absent)])}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def call(rig: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=rig, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_wheel_holds_the_three_packages_whole_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == set(PACKAGES)
    sources = {
        path.relative_to(ROOT / folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == sources
    assert "rigpose_training/pose_config/base.yaml" in names


def test_the_plain_install_asks_for_no_training_library(wheel: Path) -> None:
    needs = metadata(wheel).get_all("Requires-Dist") or []
    plain = {re.split(r"[^A-Za-z0-9_.-]", need)[0].lower() for need in needs if "extra ==" not in need}
    assert plain >= {"numpy", "opencv-python", "scipy", "pyyaml", "onnxruntime", "onnxruntime-gpu"}
    assert not plain & {*HEAVY, "tensorrt", "albumentations", "deeplabcut"}
    extras = {need.split("extra == ")[1].strip("'\"") for need in needs if "extra ==" in need}
    assert extras >= {"train", "export"}


def test_the_rig_runs_a_bundle_from_the_wheel_without_torch(
    rig: dict[str, str], tiny_bundle: Path, tmp_path: Path
) -> None:
    code = "\n".join(
        [
            "import sys, numpy as np, rigpose",
            f"analyzer = rigpose.load({str(tiny_bundle)!r}, device='cpu')",
            "poses = analyzer.predict(np.zeros((2, 48, 64, 3), np.uint8))",
            "assert [p.xy.shape for p in poses] == [(1, 4, 2)] * 2 and np.isfinite(poses[0].xy).all()",
            f"assert not set(sys.modules) & set({HEAVY!r})",
            "print(rigpose.__file__)",
        ]
    )
    done = call(rig, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(rig["PYTHONPATH"].split(os.pathsep)[0])


def test_the_command_line_of_the_wheel_works_without_torch(
    rig: dict[str, str], tiny_bundle: Path, tmp_path: Path
) -> None:
    overview = call(rig, tmp_path, "-m", "rigpose.commands.main", "--help")
    assert overview.returncode == 0, overview.stderr
    for name in ("train", "export", "analyze", "inspect", "check", "doctor"):
        assert re.search(rf"^ +{name} ", overview.stdout, flags=re.MULTILINE), name
    inspected = call(rig, tmp_path, "-m", "rigpose.commands.main", "inspect", str(tiny_bundle))
    assert inspected.returncode == 0, inspected.stderr
    assert "snout, leftear, rightear, tailbase" in inspected.stdout
    checked = call(rig, tmp_path, "-m", "rigpose.commands.main", "check", str(tiny_bundle), "--device", "cpu")
    assert checked.returncode == 0 and "PASSED" in checked.stdout, checked.stderr


@pytest.mark.parametrize(
    ("words", "extra"),
    [(("train", "project"), "train"), (("export", "project"), "export")],
    ids=["train", "export"],
)
def test_a_command_that_needs_torch_says_which_extra_brings_it(
    rig: dict[str, str], tmp_path: Path, words: tuple[str, ...], extra: str
) -> None:
    done = call(rig, tmp_path, "-m", "rigpose.commands.main", *words)
    assert done.returncode == 1
    assert f'pip install "rigpose[{extra}]"' in done.stderr and done.stderr.count("\n") == 1, done.stderr
