"""``rigpose analyze --search patches`` of a real graph: a top-down network without a detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from live_networks import CELL, CROPS, animal, drawn, round_trip, write_spot_bundle

from rigpose.bundles.bundle import seal
from rigpose.commands import analyze
from rigpose.commands import main as main_module
from rigpose.files.results import read_results


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command with a bundle and a video."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main_module, "find_commands", lambda: [analyze.COMMAND])
    bundle = write_spot_bundle(tmp_path / "alone")
    seal(bundle.path, replace(bundle.manifest, model=replace(CROPS, architecture="spots")))
    writer = cv2.VideoWriter("walk.avi", cv2.VideoWriter.fourcc(*"MJPG"), 50, (320, 240))
    for frame in drawn([None, *round_trip(20), None]):
        writer.write(frame)
    writer.release()
    return ["analyze", "alone", "walk.avi", "--device", "cpu", "--threads", "1"]


def test_the_animal_is_found_and_followed(asked: list[str]) -> None:
    assert main_module.main([*asked, "--search", "patches", "--search-every", "6"]) == 0
    table = read_results("walkDLC_spots.h5")
    places = round_trip(20)
    assert len(table.xy) == len(places) + 2
    for found, place in zip(table.xy[1:-1, 0], places, strict=True):
        # The graph answers with the middle of a cell of the crop, which shows the frame at its own size or larger when
        # it follows; a patch of half the frame is at most twice as large as the crop, and so are its cells.
        assert np.abs(found - animal(place)).max() < CELL + 6
    assert not (table.score[[0, -1]] > 0.1).any()


def test_without_it_the_sentence_names_it(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main_module.main(asked) == 1
    said = capsys.readouterr().err
    assert "add --search patches" in said and "Traceback" not in said
    assert not list(Path().glob("*.h5"))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--crop", "dynamic"], "already follows"),
        (["--max-animals", "2"], "finds one animal"),
        (["--detect-every", "3"], "detect"),
    ],
)
def test_what_does_not_go_with_it_is_one_sentence(
    asked: list[str], typed: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_module.main([*asked, "--search", "patches", *typed]) == 1
    said = capsys.readouterr().err
    assert says in said and said.startswith("rigpose analyze: ") and said.count("\n") == 1
