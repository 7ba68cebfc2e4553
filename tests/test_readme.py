"""What the README says is there."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import rigpose_export
import rigpose_training
from rigpose.commands.command import Command
from rigpose_training import available_models
from rigpose_training.model_table import markdown

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> dict[str, Command]:
    """The sub-commands that the installed package will have."""
    import importlib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {}
    for name, place in project["entry-points"]["rigpose.commands"].items():
        module, attribute = place.split(":")
        found[name] = getattr(importlib.import_module(module), attribute)
    return found


def test_every_entry_point_is_a_command_of_that_name() -> None:
    found = commands()
    assert {name: command.name for name, command in found.items()} == {name: name for name in found}
    assert set(found) == {
        "models", "create-training-dataset", "train", "evaluate", "export", "check", "inspect", "analyze", "label",
        "track", "suggest", "convert", "import", "report", "engine", "doctor", "demo", "bench", "live", "live fit",
        "live finish",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_reads_without_running_anything(name: str) -> None:
    command = commands()[name]
    parser = argparse.ArgumentParser(prog=f"rigpose {name}", description=command.help)
    command.configure(parser)
    text = parser.format_help()
    assert command.help.endswith(".") and command.help in " ".join(text.split())
    for action in parser._actions:
        assert action.help, f"rigpose {name}: {action.dest} has no help"


def test_every_command_line_of_the_readme_parses() -> None:
    fenced = "\n".join(re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL))
    written = re.findall(r"^rigpose [^#\n]+", fenced, flags=re.MULTILINE)
    written += re.findall(r"`(rigpose [^`]+)`", README.replace(fenced, ""))
    found, lines = commands(), 0
    for line in written:
        _, name, *words = shlex.split(line)
        if words and f"{name} {words[0]}" in found:
            name, *words = f"{name} {words[0]}", *words[1:]
        assert name in found, line
        parser = argparse.ArgumentParser(exit_on_error=False)
        found[name].configure(parser)
        if words and words != ["--help"]:
            parser.parse_args([w.removesuffix("...") for w in words if w != "|"])
            lines += 1
    assert lines >= 8


def test_the_test_command_is_the_one_that_the_check_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"grep -m1 -E '([^']+)' README.md", script)
    assert pattern
    (line,) = re.findall(pattern[1], README, flags=re.MULTILINE)
    assert '".[all,dev]"' in line


def test_the_model_table_is_the_one_that_the_code_prints() -> None:
    assert markdown().strip() in README
    for name in available_models():
        assert f"`{name}`" in README


def test_the_names_and_files_it_mentions_exist() -> None:
    sentence = README.split("change their import line:")[1].split("\n\n")[0]
    names = re.findall(r"`(\w+)`", sentence)
    assert {"train_network", "analyze_videos", "DLCLoader"} <= set(names)
    for name in set(names) - {"rigpose_training", "rigpose_export"}:
        assert hasattr(rigpose_training, name) or hasattr(rigpose_export, name), name
    for path in re.findall(r"`((?:runtime|training|export|benchmarks)/[\w./]+)`|\]\((benchmarks/[\w./]+)\)", README):
        assert (ROOT / (path[0] or path[1])).exists(), path


def test_the_overview_is_printed_without_torch() -> None:
    """``rigpose --help`` of whatever is installed imports none of the heavy packages."""
    code = (
        "import sys; from rigpose.commands.main import find_commands; find_commands(); "
        "sys.exit(bool({'torch', 'timm', 'onnx', 'onnxruntime', 'pandas'} & set(sys.modules)))"
    )
    path = ":".join(str(ROOT / folder) for folder in ("runtime", "training", "export"))
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=False)
    assert done.returncode == 0
