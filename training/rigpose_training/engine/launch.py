"""Starting one training process for each GPU of this machine, and waiting for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import torch
import torch.distributed as dist

from rigpose.errors import TrainingError
from rigpose_training.engine.team import local_rank

Worker: TypeAlias = "subprocess.Popen[bytes]"

HOST = "127.0.0.1"
GRACE = 20.0
"""After one process has failed, the time that the others get to fail for the same reason [s]."""


def gpus_to_share(config: Mapping[str, Any], device: str) -> list[int]:
    """Those of ``runner.gpus``, if this process shall start one for each; nothing where it trains itself."""
    gpus = config["runner"].get("gpus") or []
    asked = device if device != "auto" else str(config.get("device") or "auto")
    on_cuda = asked == "cuda" or (asked == "auto" and torch.cuda.is_available())
    return list(gpus) if len(gpus) > 1 and on_cuda and local_rank() is None else []


def launch(call: Mapping[str, Any], *, processes: int) -> Path:
    """Run ``train_network`` in several processes that train together; return what it returns.

    They are programs of their own, so that a script or a notebook that calls this needs no guard. Ctrl-C reaches all
    of them, and they save and stop together.

    Args:
        call: Arguments of ``train_network``.
        processes: How many; each takes the GPU of its number in ``runner.gpus``.

    Raises:
        TrainingError: What one of them raised.
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    # The processes meet at a store that lives here, so that no port is chosen before it is taken.
    store = dist.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)  # pyright: ignore[reportPrivateImportUsage]
    with tempfile.TemporaryDirectory(prefix="rigpose-") as name:
        folder = Path(name)
        (folder / "call.json").write_text(json.dumps(call, default=os.fspath), encoding="utf-8")
        command = [sys.executable, "-m", "rigpose_training.engine.worker", str(folder)]
        workers: list[Worker] = []
        with _signals_passed_on(workers):
            try:
                for rank in range(processes):
                    workers.append(subprocess.Popen(command, env=_surroundings(rank, processes, store.port)))  # noqa: PERF401
                _wait(workers)
            finally:
                _end(workers)
        if any(worker.returncode == 130 for worker in workers):
            raise KeyboardInterrupt
        return _answer(folder, [worker.returncode for worker in workers])


def _surroundings(rank: int, processes: int, port: int) -> dict[str, str]:
    """What torchrun tells its processes."""
    told = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": processes,
        "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": HOST,
        "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True,
    }
    surroundings = os.environ | {name: str(value) for name, value in told.items()}
    # Every network is asked for parameters without a gradient, and torch warns of each that has none.
    surroundings.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    surroundings.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    # The packages may come from a path that only this process knows.
    surroundings["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return surroundings


@contextmanager
def _signals_passed_on(workers: Sequence[Worker]) -> Iterator[None]:
    """Ctrl-C asks the workers to save and stop, the second time it ends them; so does being told to terminate."""
    asked = False

    def interrupt(_signal: int, _frame: object) -> None:
        nonlocal asked
        for worker in workers:
            if worker.poll() is None:
                worker.terminate() if asked else worker.send_signal(signal.SIGINT)
        asked = True

    def terminate(_signal: int, _frame: object) -> None:
        sys.exit(143)

    try:
        before = signal.signal(signal.SIGINT, interrupt), signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread, where signals do not arrive anyway
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def _wait(workers: Sequence[Worker]) -> None:
    """Until all are done, or one failed a while ago."""
    failed_at = None
    while any(worker.poll() is None for worker in workers):
        if failed_at is None and any(worker.returncode for worker in workers):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE:
            return
        time.sleep(0.1)


def _end(workers: Sequence[Worker]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    deadline = time.monotonic() + GRACE
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    for worker in workers:
        worker.kill()
        worker.wait()


def _answer(folder: Path, codes: Sequence[int]) -> Path:
    answers = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("answer-*.json"))]
    for answer in answers:
        if "error" in answer:
            raise TrainingError(answer["error"])
    if any(codes) or not answers:
        raise TrainingError(
            f"The training processes ended with {', '.join(map(str, codes))}; what they printed above says why."
        )
    return Path(answers[0]["snapshot"])
