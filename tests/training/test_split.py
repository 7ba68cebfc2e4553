"""Split pickles: read without running anything, written so that everybody can read them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rigpose.errors import ProjectError
from rigpose_training.project.config import read_project_config
from rigpose_training.project.labels import merge_labels
from rigpose_training.project.split import Split, random_split, read_split, write_split

RECORDS: list[dict[str, Any]] = [
    {"image": ("labeled-data", "m", "i.png"), "size": np.array([3, 4, 5]), "joints": {0: np.ones((2, 3), np.float32)}}
]


class Program:
    """Pickles to a call: what a hostile file does."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_deeplabcuts_own_splits_are_read(openfield: Path, flies: Path) -> None:
    for root, counts in ((openfield, (110, 6, 0.95)), (flies, (30, 70, 0.3))):
        images = len(merge_labels(read_project_config(root)))
        for file in root.glob("training-datasets/iteration-0/*/Documentation_data-*.pickle"):
            split = read_split(file)
            assert (len(split.train), len(split.test), split.train_fraction) == counts
            assert sorted(split.train + split.test) == list(range(images))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_lists_and_scalars_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    content = [RECORDS, np.array([3, 1, 0]), [np.int64(2)], np.float64(0.75)]
    (tmp_path / "s.pickle").write_bytes(pickle.dumps(content, protocol))
    assert read_split(tmp_path / "s.pickle") == Split((3, 1, 0), (2,), 0.75)


def test_both_spellings_of_numpys_modules_are_read(tmp_path: Path) -> None:
    # Protocol 3 writes module names as plain lines, so one can be exchanged for the other.
    written = pickle.dumps([RECORDS, np.array([1, 0]), np.array([2]), 0.67], 3)
    for found, other in ((b"numpy._core.", b"numpy.core."), (b"numpy.core.", b"numpy._core.")):
        (tmp_path / "s.pickle").write_bytes(written.replace(found, other))
        assert read_split(tmp_path / "s.pickle") == Split((1, 0), (2,), 0.67)


def test_padding_is_stripped(tmp_path: Path) -> None:
    (tmp_path / "s.pickle").write_bytes(pickle.dumps([[], np.array([4, -1, 0]), [-1, 2, -1], 0.5]))
    assert read_split(tmp_path / "s.pickle") == Split((4, 0), (2,), 0.5)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_program_in_the_file_is_named_and_never_run(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "ran"
    attacks = {
        f"{os.mkdir.__module__}.mkdir": Program(os.mkdir, str(trace)),
        "builtins.eval" if protocol > 2 else "eval": Program(eval, f"open({str(trace)!r}, 'w')"),
        "getattr": Program(getattr, "text", "upper"),
        "rigpose_training": Program(write_split, trace, Split((), (), 0.5), []),
    }
    for name, program in attacks.items():
        path = tmp_path / "Documentation_data-evil.pickle"
        path.write_bytes(pickle.dumps([[], [0], [program], 0.5], protocol))
        with pytest.raises(ProjectError, match=f"evil.pickle asks for .*{name}"):
            read_split(path)
        assert not trace.exists()


def test_the_attack_would_work_on_an_unguarded_reader(tmp_path: Path) -> None:
    # Otherwise the test above could not fail.
    pickle.loads(pickle.dumps(Program(os.mkdir, str(tmp_path / "ran"))))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize(
    "content",
    [b"", b"not a pickle", pickle.dumps([1, 2]), pickle.dumps([[], ["a"], [], 0.5]), pickle.dumps([[], 3, [], 0.5]),
     pickle.dumps([[], list(range(1000)), [], 0.5])[:-40]],
)  # fmt: skip
def test_a_damaged_split_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.pickle").write_bytes(content)
    with pytest.raises(ProjectError, match=r"s\.pickle .*; (create the shuffle|make it) again\."):
        read_split(tmp_path / "s.pickle")


def test_a_missing_split_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="create_training_dataset"):
        read_split(tmp_path / "s.pickle")


def test_a_written_split_needs_nothing_to_be_read(tmp_path: Path) -> None:
    split = Split((2, 0), (1,), 0.67)
    records = [{"image": ("labeled-data", "m", "i.png"), "size": (3, 4, 5), "joints": [[0, 1, 2]]}]
    write_split(tmp_path / "s.pickle", split, records)
    assert read_split(tmp_path / "s.pickle") == split
    data, train, test, fraction = pickle.loads((tmp_path / "s.pickle").read_bytes())
    assert (data, train, test, fraction) == (records, [2, 0], [1], 0.67)
    assert b"numpy" not in (tmp_path / "s.pickle").read_bytes()


def test_a_random_split_uses_every_row_once_and_depends_on_the_seed_alone() -> None:
    split = random_split(116, train_fraction=0.95, seed=1)
    assert len(split.train) == 110  # int(116 * .95), as DeepLabCut counts
    assert sorted(split.train + split.test) == list(range(116))
    assert random_split(116, train_fraction=0.95, seed=1) == split
    assert random_split(116, train_fraction=0.95, seed=2) != split


@pytest.mark.parametrize("fraction", [0, 1.5, -0.5, 0.333])
def test_a_fraction_that_has_no_file_name_is_refused(fraction: float) -> None:
    with pytest.raises(ProjectError, match="two digits"):
        random_split(10, train_fraction=fraction, seed=0)


def test_a_split_that_trains_on_nothing_is_refused() -> None:
    with pytest.raises(ProjectError, match="is none"):
        random_split(1, train_fraction=0.5, seed=0)
