"""Stand-ins for Slurm's commands, and for what the recipes start through them.

Slurm's ``srun`` runs a command here once per "node", with the variables that Slurm gives to a task; what the commands
were called with is kept in files. ``ray`` is a command and a module, as the real one is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RECIPES = {path.name: path for path in (ROOT / "runtime/slurm/analyze.sbatch", ROOT / "training/slurm/train.sbatch")}
JOB = str(os.getpid())
"""Its number, which no test beside this one has: the recipe makes a folder of that name."""
PATIENCE = 120
"""For anything that a busy machine has to get done [s]."""

_SRUN = """
import json, os, signal, subprocess, sys
known = {"nodes", "ntasks", "nodelist", "overlap", "cpus-per-task", "output", "kill-on-bad-exit", "wait"}
options, words = {}, sys.argv[1:]
while words[0].startswith("--"):
    name, _, value = words.pop(0)[2:].partition("=")
    if name not in known:
        sys.exit(f"srun: unrecognized option '--{name}'")
    options[name] = value
of_job = os.environ["SLURM_JOB_NODELIST"].split(",")
nodes = options["nodelist"].split(",") if "nodelist" in options else of_job
if int(options.get("nodes", len(nodes))) != len(nodes):
    sys.exit("srun: error: nodes and nodelist do not fit")
output = open(options["output"], "w") if "output" in options else None
tasks = []

def forward(number, _frame):
    for task in tasks:
        if task.poll() is None:
            task.send_signal(number)

signal.signal(signal.SIGTERM, forward)
# srun keeps it for itself, and tasks begin with what a process has by default.
signal.signal(signal.SIGINT, signal.SIG_DFL)
for number, node in enumerate(nodes):
    told = {"SLURMD_NODENAME": node, "SLURM_NODEID": number, "SLURM_PROCID": number, "SLURM_NNODES": len(nodes)}
    # srun ignores what sbatch was told.
    told["SLURM_CPUS_PER_TASK"] = options.get("cpus-per-task", "1")
    environment = os.environ | {name: str(value) for name, value in told.items()}
    environment["RECORDED_STEP"] = "1"
    task = subprocess.Popen(words, env=environment, stdout=output, stderr=subprocess.STDOUT if output else None)
    tasks.append(task)
    with open(os.path.join(os.environ["RECORDED"], "tasks"), "a") as file:
        file.write(f"{task.pid}\\n")
signal.signal(signal.SIGINT, signal.SIG_IGN)
codes = [task.wait() for task in tasks]
sys.exit(max(128 - code if code < 0 else code for code in codes))
"""

_SCONTROL = """
import os, sys
record("scontrol")
if sys.argv[1:3] == ["show", "hostnames"]:
    print(*sys.argv[3].split(","), sep="\\n")
elif sys.argv[1] != "requeue":
    sys.exit("scontrol: invalid keyword")
sys.exit(int(os.environ.get("REQUEUE_STATUS", "0")) if sys.argv[1] == "requeue" else 0)
"""

_SCANCEL = """
import os, signal, sys
record("scancel")
name = sys.argv[1].removeprefix("--signal=")
for line in open(os.path.join(os.environ["RECORDED"], "tasks")):
    try:
        os.kill(int(line), signal.Signals[f"SIG{name}"])
    except ProcessLookupError:
        pass
"""

_RAY = """
import os, signal, socket, sys, time
record("ray")
options = dict(word[2:].split("=", 1) for word in sys.argv[2:] if "=" in word)
node, folder = options["node-name"], os.environ["RECORDED"]
if node in os.environ.get("BROKEN_NODES", "").split(","):
    sys.exit(f"ray does not start on {node}")

def stop(_number, _frame):
    with open(os.path.join(folder, "stopped"), "a") as file:
        file.write(f"{node}\\n")
    sys.exit(1)

signal.signal(signal.SIGTERM, stop)
os.makedirs(options["temp-dir"], exist_ok=True)
listening = socket.socket()
if node not in os.environ.get("SILENT_NODES", "").split(","):
    if "port" in options:
        listening.bind((options["node-ip-address"], int(options["port"])))
        listening.listen()
    open(os.path.join(folder, f"joined-{node}"), "w").close()
while True:
    time.sleep(0.05)
"""

_RAY_MODULE = """
import os
from pathlib import Path

FOLDER = Path(os.environ["RECORDED"])

def init(address, **options):
    (FOLDER / "asked").write_text(address)

def nodes():
    return [{"NodeName": path.name[7:], "Alive": True} for path in FOLDER.glob("joined-*")]
"""

_RIGPOSE = """
import os, sys, time
record("rigpose")
if "RIGPOSE_WAITS" not in os.environ:
    sys.exit(int(os.environ.get("RIGPOSE_STATUS", "0")))
try:
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(130)
"""

_TORCHRUN = """
import os, sys, time
record("torchrun")
if "RIGPOSE_WAITS" not in os.environ:
    sys.exit(int(os.environ.get("RIGPOSE_STATUS", "0")))
try:
    time.sleep(600)
except KeyboardInterrupt:
    sys.exit(1)
"""

_RECORD = """
def record(program):
    import json, os, sys, time
    named = {n: v for n, v in os.environ.items() if n.startswith(("SLURM", "RAY_", "MASTER_", "OMP_", "TORCH_"))}
    line = json.dumps({"words": sys.argv[1:], "environment": named, "pid": os.getpid(), "at": time.monotonic()})
    with open(os.path.join(os.environ["RECORDED"], program), "a") as file:
        file.write(line + "\\n")
"""

STAND_INS = {"ray": _RAY, "rigpose": _RIGPOSE, "torchrun": _TORCHRUN}


@dataclass
class SlurmJob:
    """A job that runs a recipe on this machine.

    Attributes:
        folder: Where it is submitted.
        nodes: Names of its nodes.
        environment: Of the script, beyond this process's own.
        gpus: Per node; none for a job without.
    """

    folder: Path
    nodes: Sequence[str] = ("n1", "n2", "n3")
    environment: dict[str, str] = field(default_factory=dict)
    gpus: int | None = None

    def __post_init__(self) -> None:
        self.bin, self.recorded = self.folder / "bin", self.folder / "recorded"
        self.bin.mkdir()
        self.recorded.mkdir()
        # What the environment's own python3 is, the recipe's python3 shall be.
        self.program("python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        for name, text in {"srun": _SRUN, "scontrol": _SCONTROL, "scancel": _SCANCEL}.items():
            self.python(name, text)

    def stand_in(self, *names: str) -> None:
        """Put stand-ins for what the recipes start on the path."""
        for name in names:
            self.python(name, STAND_INS[name])
        if "ray" in names:
            (self.folder / "modules").mkdir()
            (self.folder / "modules" / "ray.py").write_text(_RAY_MODULE)

    def python(self, name: str, text: str) -> None:
        """Put a Python program on the path."""
        self.program(name, f"#!{sys.executable}\n{_RECORD}{text}")

    def program(self, name: str, text: str) -> None:
        """Put a program on the path."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def start(self, recipe: str, *words: str) -> subprocess.Popen[str]:
        """Begin a recipe, as Slurm begins a batch script on the job's first node."""
        told = {
            "SLURM_JOB_ID": JOB,
            "SLURM_JOB_NODELIST": ",".join(self.nodes),
            "SLURM_NNODES": str(len(self.nodes)),
            "SLURM_CPUS_PER_TASK": "3",
            "SLURM_CPUS_ON_NODE": "4",
            "SLURMD_NODENAME": self.nodes[0],
            "RECORDED": str(self.recorded),
            "PATH": os.pathsep.join((str(self.bin), os.environ["PATH"])),
            "PYTHONPATH": os.pathsep.join((str(self.folder / "modules"), os.environ.get("PYTHONPATH", ""))),
        }
        if self.gpus is not None:
            told["SLURM_GPUS_ON_NODE"] = str(self.gpus)
        # Slurm runs a copy of the script from a folder of its own.
        copy = self.folder / "slurm_script"
        copy.write_bytes(RECIPES[recipe].read_bytes())
        # A test run in the background may ignore Ctrl-C, and bash passes that on; a job under Slurm does not.
        return subprocess.Popen(
            ["env", "--default-signal=INT", "bash", str(copy), *words],
            cwd=self.folder,
            env=os.environ | told | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, recipe: str, *words: str) -> tuple[int, str]:
        """Run a recipe to its end; its status, and what it said on stderr."""
        return self.end(self.start(recipe, *words))

    def end(self, job: subprocess.Popen[str]) -> tuple[int, str]:
        """Wait for a job's end; its status, and what it said on stderr."""
        try:
            self.output, said = job.communicate(timeout=PATIENCE)
        finally:
            # Whatever a failed test leaves; a job that ended well leaves nothing that could be meant.
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
            for line in self.lines("ray"):
                _end(line["pid"])
        return job.returncode, said

    def lines(self, program: str) -> list[dict[str, Any]]:
        """The calls of a program, in order."""
        path = self.recorded / program
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def words(self, program: str) -> list[list[str]]:
        """What it was called with."""
        return [line["words"] for line in self.lines(program)]

    def stopped(self) -> set[str]:
        """The nodes whose stand-in for Ray was told to end."""
        path = self.recorded / "stopped"
        return set(path.read_text().split()) if path.exists() else set()


def wait_until(there: Callable[[], bool]) -> None:
    """Until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether there is such a process, which is no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end(pid: int) -> None:
    if alive(pid):
        os.kill(pid, signal.SIGKILL)
