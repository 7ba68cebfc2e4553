"""The recipes for Slurm, run as they are; Slurm's own commands, and in most tests Ray and rigpose, are stand-ins."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from slurm_stand_ins import JOB, RECIPES, SlurmJob, alive, wait_until

# Where this Python's packages put their programs, which need not be on the path.
SHELLCHECK = shutil.which("shellcheck", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))

ROOT = Path(__file__).parents[1]
PATHS = os.pathsep.join(str(ROOT / name) for name in ("runtime", "training", "export", "tests"))

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Slurm and these stand-ins need Linux")


@pytest.fixture
def job(tmp_path: Path) -> SlurmJob:
    job = SlurmJob(tmp_path)
    job.stand_in("ray", "rigpose", "torchrun")
    return job


def options(words: list[str]) -> dict[str, str]:
    return dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_slurm_reads_comes_before_the_first_command(recipe: str) -> None:
    lines = RECIPES[recipe].read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    # Slurm passes over those that come later, without a word.
    assert directives and max(directives) < first
    names = {re.match(r"#SBATCH --([a-z-]+)", lines[i])[1] for i in directives}  # type: ignore[index]
    assert {"signal", "requeue", "open-mode", "ntasks-per-node", "cpus-per-task"} <= names


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("recipe", RECIPES)
def test_shellcheck_finds_nothing(recipe: str) -> None:
    assert SHELLCHECK is not None
    done = subprocess.run([SHELLCHECK, str(RECIPES[recipe])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_ray_runs_on_every_node_and_rigpose_beside_it(job: SlurmJob) -> None:
    job.gpus, job.environment = 2, {"RIGPOSE_STATUS": "0"}
    status, said = job.run("analyze.sbatch", "my.bundle", "a folder", "--batch", "4")
    assert (status, said) == (0, "")
    head, *others = job.words("ray")
    assert head[:2] == ["start", "--head"] and len(others) == 2
    address = f"{options(head)['node-ip-address']}:{options(head)['port']}"
    assert {options(words)["node-name"] for words in others} == {"n2", "n3"}
    assert all(options(words)["address"] == address for words in others)
    for words in (head, *others):
        assert "--block" in words
        named = options(words)
        assert (named["num-cpus"], named["num-gpus"]) == ("3", "2")
        # None of Ray's usual ports, which another job on the node may have.
        assert named["min-worker-port"] == named["max-worker-port"] == named["dashboard-agent-listen-port"] == "0"
    # Words with spaces stay words.
    assert job.words("rigpose") == [["analyze", "my.bundle", "a folder", "--batch", "4", "--cluster", address]]
    tokens = {line["environment"]["RAY_AUTH_TOKEN"] for name in ("ray", "rigpose") for line in job.lines(name)}
    assert len(tokens) == 1 and len(tokens.pop()) == 64
    assert job.stopped() == {"n1", "n2", "n3"}
    assert not any(alive(line["pid"]) for line in job.lines("ray"))
    assert not Path(options(head)["temp-dir"]).exists()
    assert not list(job.folder.glob("ray-*.log"))


def test_ray_s_sockets_have_names_that_are_short_enough_and_each_job_s_own(job: SlurmJob) -> None:
    job.nodes, job.environment = ["n1"], {"TMPDIR": f"/tmp/{'long' * 30}", "SLURM_JOB_ID": "4294967295"}
    assert job.run("analyze.sbatch", "b", "v")[0] == 0
    (words,) = job.words("ray")
    folder = options(words)["temp-dir"]
    assert "4294967295" in folder
    # Linux allows 107 characters; Ray puts this behind its folder.
    assert len(folder + "/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store.12") <= 107
    # A node without GPUs is a device of its own.
    assert options(words)["num-gpus"] == "0"


def test_the_status_of_rigpose_is_the_job_s(job: SlurmJob) -> None:
    job.environment = {"RIGPOSE_STATUS": "3"}
    status, _ = job.run("analyze.sbatch", "b", "v")
    assert status == 3
    assert job.stopped() == {"n1", "n2", "n3"}
    assert len(list(job.folder.glob(f"ray-{JOB}-n*.log"))) == 3
    assert [words[0] for words in job.words("scontrol")] == ["show"]


def test_a_node_that_never_joins_is_named(job: SlurmJob) -> None:
    job.environment = {"SILENT_NODES": "n3", "RIGPOSE_JOIN_SECONDS": "2"}
    status, said = job.run("analyze.sbatch", "b", "v")
    assert status == 1
    assert said == (
        "analyze.sbatch: 2 of 3 nodes joined the Ray cluster within 2 s; missing: n3; "
        f"ray-{JOB}-NODE.log is each one's log.\n"
    )
    assert job.words("rigpose") == []
    assert job.stopped() == {"n1", "n2", "n3"}


def test_a_node_on_which_ray_does_not_start_ends_the_waiting(job: SlurmJob) -> None:
    job.environment = {"BROKEN_NODES": "n2"}
    status, said = job.run("analyze.sbatch", "b", "v")
    assert status == 1
    assert said == f"analyze.sbatch: Ray ended on n2 before all nodes had joined; ray-{JOB}-n2.log says why.\n"
    assert "ray does not start on n2" in (job.folder / f"ray-{JOB}-n2.log").read_text()
    assert job.words("rigpose") == []
    assert job.stopped() == {"n1", "n3"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"BROKEN_NODES": "n1"}, "Ray's head ended on n1; LOG says why."),
        (
            {"SILENT_NODES": "n1", "RIGPOSE_JOIN_SECONDS": "2"},
            "Ray's head on n1 did not answer within 2 s; its log is LOG.",
        ),
    ],
)
def test_a_head_that_does_not_answer(job: SlurmJob, given: dict[str, str], sentence: str) -> None:
    job.environment = given
    status, said = job.run("analyze.sbatch", "b", "v")
    assert (status, said) == (1, f"analyze.sbatch: {sentence.replace('LOG', f'ray-{JOB}-n1.log')}\n")
    assert len(job.words("ray")) == 1 and job.words("rigpose") == []


@pytest.mark.parametrize("requeue", [0, 1])
def test_before_the_time_limit_rigpose_gets_ctrl_c_and_the_job_goes_back(job: SlurmJob, requeue: int) -> None:
    job.environment = {"RIGPOSE_WAITS": "1", "REQUEUE_STATUS": str(requeue)}
    running = job.start("analyze.sbatch", "b", "v")
    wait_until(lambda: bool(job.words("rigpose")))
    # To the script alone, as --signal=B: has it.
    running.send_signal(signal.SIGUSR1)
    status, said = job.end(running)
    assert status == (1 if requeue else 130)
    assert "what is done is kept, and the job goes back into the queue" in said
    assert ("submit it again, and it goes on from here" in said) == bool(requeue)
    assert job.words("scontrol")[1:] == [["requeue", JOB]]
    assert job.stopped() == {"n1", "n2", "n3"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_told_to_end_does_not_come_back(job: SlurmJob, number: signal.Signals) -> None:
    job.environment = {"RIGPOSE_WAITS": "1"}
    running = job.start("analyze.sbatch", "b", "v")
    wait_until(lambda: bool(job.words("rigpose")))
    running.send_signal(number)
    assert job.end(running)[0] == 130
    assert [words[0] for words in job.words("scontrol")] == ["show"]
    assert job.stopped() == {"n1", "n2", "n3"}


def test_a_signal_that_comes_while_nodes_join_is_not_lost(job: SlurmJob) -> None:
    job.environment = {"RIGPOSE_WAITS": "1", "SILENT_NODES": "n3"}
    running = job.start("analyze.sbatch", "b", "v")
    wait_until((job.recorded / "asked").exists)
    running.send_signal(signal.SIGUSR1)
    (job.recorded / "joined-n3").touch()
    assert job.end(running)[0] == 130
    assert job.words("rigpose") == [] and job.words("scontrol")[1:] == [["requeue", JOB]]


@pytest.mark.parametrize(
    ("recipe", "words", "sentence"),
    [
        ("analyze.sbatch", ["b"], "name a bundle and videos: sbatch --nodes N analyze.sbatch BUNDLE SOURCE..."),
        ("train.sbatch", [], "name a project: sbatch --nodes N train.sbatch PROJECT --shuffle 1"),
    ],
)
def test_a_recipe_that_was_called_wrongly(job: SlurmJob, recipe: str, words: list[str], sentence: str) -> None:
    assert job.run(recipe, *words) == (1, f"{recipe}: {sentence}\n")
    job.environment = {"SLURM_JOB_ID": ""}
    assert job.run(recipe, "b", "v") == (1, f"{recipe}: this runs inside a Slurm job; submit it with sbatch.\n")


@pytest.mark.parametrize(("recipe", "missing"), [("analyze.sbatch", "rigpose"), ("train.sbatch", "torchrun")])
def test_an_environment_that_is_not_there(tmp_path: Path, recipe: str, missing: str) -> None:
    job = SlurmJob(tmp_path)
    job.stand_in(*{"ray", "rigpose", "torchrun"} - {missing})
    job.environment = {"PATH": f"{job.bin}:/usr/bin:/bin"}
    status, said = job.run(recipe, "b", "v")
    assert status == 1
    assert re.fullmatch(
        rf"{recipe}: {missing} cannot be called on \S+; activate its environment before sbatch\.\n", said
    )


def test_training_starts_a_process_per_gpu_on_each_node(job: SlurmJob) -> None:
    job.nodes, job.gpus, job.environment = ["n1", "n2"], 2, {"RIGPOSE_STATUS": "5", "SLURM_CPUS_PER_TASK": "16"}
    assert job.run("train.sbatch", "a project", "--shuffle", "1")[0] == 5
    calls = sorted(job.lines("torchrun"), key=lambda line: options(line["words"])["node-rank"])
    assert [options(line["words"])["node-rank"] for line in calls] == ["0", "1"]
    for line in calls:
        named, told = options(line["words"]), line["environment"]
        assert (named["nnodes"], named["nproc-per-node"], named["master-addr"]) == ("2", "2", "n1")
        assert named["master-port"] == told["MASTER_PORT"] and told["OMP_NUM_THREADS"] == "8"
        assert line["words"][-6:] == ["--no-python", "rigpose", "train", "a project", "--shuffle", "1"]
    assert len({line["environment"]["MASTER_PORT"] for line in calls}) == 1


def test_before_the_time_limit_every_node_s_training_gets_ctrl_c(job: SlurmJob) -> None:
    job.environment = {"RIGPOSE_WAITS": "1"}
    running = job.start("train.sbatch", "project")
    wait_until(lambda: len(job.words("torchrun")) == 3)
    running.send_signal(signal.SIGUSR1)
    status, said = job.end(running)
    assert status == 1 and "the training is saved, and the job goes back into the queue" in said
    assert job.words("scancel") == [["--signal=INT", JOB]]
    assert job.words("scontrol")[1:] == [["requeue", JOB]]
    # Without GPUs, one process has the cores of its node.
    assert {options(words)["nproc-per-node"] for words in job.words("torchrun")} == {"1"}
    assert {line["environment"]["OMP_NUM_THREADS"] for line in job.lines("torchrun")} == {"3"}


_COUNT_NODES = """
import os, sys
import ray
ray.init(address=sys.argv[-1], log_to_driver=False, logging_level="ERROR")
alive = [node for node in ray.nodes() if node["Alive"]]
print(len(alive), sorted(node["NodeName"] for node in alive), int(ray.cluster_resources()["CPU"]))

@ray.remote(num_cpus=3)
def where():
    import time
    time.sleep(2)  # so that the second one has no place beside it
    return ray.get_runtime_context().get_node_id()

print(len(set(ray.get([where.remote(), where.remote()]))))
sys.exit(4)
"""


@pytest.mark.slow  # starts two real nodes
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (the extra cluster)")
def test_a_real_ray_cluster_of_two_nodes_runs_a_driver_and_is_gone_afterwards(tmp_path: Path) -> None:
    job = SlurmJob(tmp_path, nodes=["n1", "n2"])
    job.program("ray", f'#!/bin/sh\nexec "{sys.executable}" -m ray.scripts.scripts "$@"\n')
    job.program("rigpose", f"#!{sys.executable}\n{_COUNT_NODES}")
    status, said = job.run("analyze.sbatch", "b", "v")
    logs = "\n".join(path.read_text() for path in tmp_path.glob("ray-*.log"))
    assert status == 4, said + logs
    # Both nodes have joined; a task that needs the cores of a whole one runs on each.
    assert job.output.splitlines()[-2:] == ["2 ['n1', 'n2'] 6", "2"]
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if f"/tmp/ray-{JOB}" in environment(path)]
    assert left == []
    assert not Path(f"/tmp/ray-{JOB}").exists()


def environment(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


_TRAIN = """
import argparse, sys
from rigpose.commands.main import run
from rigpose_training.commands import TRAIN
parser = argparse.ArgumentParser()
TRAIN.configure(parser)
sys.exit(run(TRAIN, parser.parse_args(sys.argv[2:])))
"""


def small_project(folder: Path) -> tuple[Path, Path]:
    """A drawn project with a small network; its configuration, and where it trains."""
    from rigpose_training.pose_config.files import read_pose_config, write_pose_config
    from rigpose_training.project.create import create_training_dataset
    from rigpose_training.scene.project import write_project

    write_project(folder, labelled_frames=6, size=(64, 64), animals=1)
    create_training_dataset(folder, net_type="resnet_50")
    (path,) = folder.rglob("pytorch_config.yaml")
    small: dict[str, Any] = read_pose_config(path)
    small["model"]["backbone"]["model_name"] = "test_resnet"
    small["model"]["backbone_output_channels"] = 96
    for section in ("heatmap_config", "locref_config"):
        small["model"]["heads"]["bodypart"][section]["channels"][0] = 96
    write_pose_config(path, small)
    return folder, path.parent


@pytest.mark.slow  # four processes import torch
def test_two_nodes_train_together_and_save_before_the_time_limit(tmp_path: Path) -> None:
    # Names that both nodes' torchrun can resolve.
    job = SlurmJob(tmp_path, nodes=["localhost", "localhost"])
    job.program("torchrun", f'#!/bin/sh\nexec "{sys.executable}" -m torch.distributed.run "$@"\n')
    job.program("rigpose", f"#!{sys.executable}\n{_TRAIN}")
    job.environment = {"PYTHONPATH": PATHS, "SLURM_CPUS_PER_TASK": "1"}
    project, folder = small_project(tmp_path / "lab")
    words = [str(project), "--shuffle", "1", "--device", "cpu", "--weights", "random", "--batch-size", "1"]

    running = job.start("train.sbatch", *words, "--epochs", "500")
    log = folder / "train.txt"
    wait_until(lambda: running.poll() is not None or (log.exists() and "Epoch 1/" in log.read_text()))
    running.send_signal(signal.SIGUSR1)
    status, said = job.end(running)
    text = log.read_text() if log.exists() else said
    assert "2 processes train together" in text, said
    assert status != 0 and "everything is saved, and the same command goes on" in text, said
    assert (folder / "resume.pt").exists()
    assert job.words("scontrol")[1:] == [["requeue", JOB]]
