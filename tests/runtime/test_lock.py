"""One process at a time on the same files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from rigpose.errors import ResultError
from rigpose.lock import only_process

HOLD = """
import sys, time
from pathlib import Path
from rigpose.lock import only_process
with only_process(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def _hold_elsewhere(path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], env=environment, text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_lock_is_there_while_it_is_held_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.lock"
    for _ in range(2):
        with only_process(path):
            assert path.exists()
        assert not path.exists()


def test_the_second_one_is_refused_in_one_sentence_even_in_the_same_process(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with (
        only_process(path),
        pytest.raises(ResultError, match=r"a\.lock: another process is analysing this video into the same files; let"),
        only_process(path),
    ):
        pytest.fail("both hold the lock")
    # The refused one has not taken the file away from its owner.
    with only_process(path):
        assert path.exists()


def test_a_refusal_leaves_the_lock_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with only_process(path):
        for _ in range(2):
            with pytest.raises(ResultError, match="another process"), only_process(path):
                pytest.fail("both hold the lock")
        assert path.exists()


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    process = _hold_elsewhere(path)
    with pytest.raises(ResultError, match="another process"), only_process(path):
        pytest.fail("both hold the lock")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    # What the killed process left behind is nobody's.
    assert path.exists()
    begun = time.monotonic()
    with only_process(path):
        assert time.monotonic() - begun < 5
    assert not path.exists()


def test_a_lock_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match=r"a\.lock: cannot be written"), only_process(tmp_path / "file" / "a.lock"):
        pytest.fail("there is no such folder")


def test_an_error_inside_gives_the_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with pytest.raises(ZeroDivisionError), only_process(path):
        raise ZeroDivisionError
    assert not path.exists()


def test_threads_that_come_and_go_never_hold_it_together(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holders = 0
    seen: list[int] = []

    def try_once() -> None:
        nonlocal holders
        with suppress(ResultError), only_process(path):
            holders += 1
            time.sleep(0)
            seen.append(holders)
            holders -= 1

    def try_often(_: int) -> None:
        for _attempt in range(2000):
            try_once()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(try_often, range(4)))
    assert len(seen) > 100 and set(seen) == {1}
