"""Who may import whom, and that the rig needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {"rigpose": "runtime", "rigpose_training": "training", "rigpose_export": "export"}
HEAVY = ("torch", "torchvision", "timm", "onnx", "onnxscript", "rigpose_training", "rigpose_export", "matplotlib")
ALLOWED = {
    "rigpose": {"rigpose"},
    "rigpose_training": {"rigpose", "rigpose_training"},
    "rigpose_export": {"rigpose", "rigpose_training", "rigpose_export"},
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


def test_imports_go_one_way() -> None:
    seen = 0
    for package, folder in PACKAGES.items():
        for path in (ROOT / folder / package).rglob("*.py"):
            ours = imports(path) & set(PACKAGES)
            assert ours <= ALLOWED[package], f"{path} imports {ours - ALLOWED[package]}"
            seen += 1
    assert seen > 30


def test_the_runtime_imports_nothing_heavy() -> None:
    for path in (ROOT / "runtime").rglob("*.py"):
        assert not imports(path) & set(HEAVY), path


def test_every_module_of_the_runtime_imports_with_torch_blocked() -> None:
    modules = [
        ".".join(path.relative_to(ROOT / "runtime").with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "runtime").rglob("*.py"))
    ]
    code = "\n".join(
        [
            "import importlib, sys",
            f"sys.modules.update(dict.fromkeys({HEAVY!r}))",
            *(f"importlib.import_module({name!r})" for name in modules),
            "late = {'onnxruntime', 'pandas', 'tables'} & set(sys.modules)",
            "assert not late, late",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "runtime")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_training_commands_are_described_without_torch() -> None:
    code = "\n".join(
        [
            "import argparse, sys",
            f"sys.modules.update(dict.fromkeys({HEAVY[:5]!r}))",
            "import rigpose_training.commands as training, rigpose_export.commands as export",
            "commands = [training.MODELS, training.CREATE_TRAINING_DATASET, training.TRAIN, training.EVALUATE]",
            "for command in [*commands, export.EXPORT, export.DEMO]:",
            "    command.configure(argparse.ArgumentParser())",
            "from rigpose.commands.main import run",
            "sys.exit(run(training.TRAIN, argparse.Namespace(project='x')))",
        ]
    )
    path = ":".join(str(ROOT / folder) for folder in PACKAGES.values())
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert 'pip install "rigpose[train]"' in done.stderr and "Traceback" not in done.stderr
