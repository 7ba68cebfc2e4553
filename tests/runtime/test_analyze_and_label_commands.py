"""The parts of ``rigpose analyze`` and ``rigpose label`` that need no bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from drawn_video import analyzer, write_video

from rigpose.analyzers.run_options import RunOptions
from rigpose.analyzers.tracking_crop import DynamicCrop
from rigpose.bundles.bundle import Display
from rigpose.commands import analyze, label
from rigpose.errors import ConfigError
from rigpose.tracking import TrackingSettings
from rigpose.videos.analysis import AnalysisOptions, analyze_video
from rigpose.videos.metadata import ResultIdentity
from rigpose.videos.video import Crop

IDENTITY = ResultIdentity("DLC_x", "0123abcd", display=Display(pcutoff=0.3, dot_size=6))


def _label(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    label.COMMAND.configure(parser)
    return label.COMMAND.run(parser.parse_args(arguments))


def test_images_and_videos_are_told_apart(tmp_path: Path) -> None:
    for name in ("both/a.mp4", "both/thumbnail.png", "pictures/a.PNG", "a.mkv", "b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sources = [tmp_path / name for name in ("both", "pictures", "a.mkv", "b.jpg", "missing.mp4")]
    videos, images = analyze.sort_sources(sources)
    assert [path.name for path in videos] == ["both", "a.mkv", "missing.mp4"]
    assert [path.name for path in images] == ["pictures", "b.jpg"]


def test_the_label_command_says_where_the_video_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))
    analyze_video(analyzer(), video, identity=IDENTITY)
    assert _label(str(video), "--trail", "3") == 0
    output = tmp_path / "aDLC_x_p30_labeled.mp4"
    assert capsys.readouterr().out == f"{output}\n" and output.exists()
    assert _label(str(video)) == 0
    assert "there already" in capsys.readouterr().out
    stamp = output.stat().st_mtime_ns
    assert _label(str(video), "--overwrite") == 0
    assert output.stat().st_mtime_ns > stamp
    assert _label(str(video), "--pcutoff", "0.75") == 0
    assert (tmp_path / "aDLC_x_p75_labeled.mp4").exists()


def test_nothing_is_shown_unless_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    analyze_video(analyzer(), write_video(tmp_path / "a.mp4", range(12)), identity=IDENTITY)
    assert capfd.readouterr() == ("", "")


def _parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    analyze.COMMAND.configure(parser)
    return parser.parse_args(["model.bundle", "a.mp4", *arguments])


def test_what_is_typed_about_animals_becomes_options() -> None:
    typed = _parsed(
        "--conditions", "rough.bundle", "--max-animals", "4", "--detector-cutoff", "0.3", "--detect-every", "5",
        "--set", "min_affinity=0.1", "--set", "add_discarded=true", "--tracker", "box", "--animals", "3",
        "--detector-iou", "0.4", "--same-animal", "0.9",
    )  # fmt: skip
    assert typed.conditions == Path("rough.bundle")
    assert analyze.run_options(typed) == RunOptions(
        4, 0.3, 5, {"min_affinity": 0.1, "add_discarded": True}, detector_iou=0.4, same_animal=0.9
    )
    options = analyze.analysis_options(typed)
    assert options.animals == 3 and options.tracking == TrackingSettings(method="box")


def test_nothing_typed_about_animals_is_what_the_library_does() -> None:
    assert analyze.run_options(_parsed()) == RunOptions()
    assert analyze.analysis_options(_parsed()) == AnalysisOptions()
    assert analyze.analysis_options(_parsed("--tracker", "none")).tracking is None


def test_a_part_of_the_frames_and_a_region_that_follows_the_animal_may_both_be_typed() -> None:
    nothing = _parsed()
    assert analyze.analysis_options(nothing).cropping is None and analyze.run_options(nothing).dynamic_crop is None
    part = _parsed("--crop", "16,160,8,96")
    assert analyze.analysis_options(part).cropping == Crop(16, 160, 8, 96)
    assert analyze.run_options(part).dynamic_crop is None
    region = _parsed("--crop", "dynamic")
    assert analyze.analysis_options(region).cropping is None
    assert analyze.run_options(region).dynamic_crop == DynamicCrop()
    both = _parsed(
        "--crop", "dynamic", "--crop", "16,160,8,96", "--crop-size", "128,96", "--crop-score", "0.4",
        "--crop-margin", "12", "--search-every", "20",
    )  # fmt: skip
    assert analyze.analysis_options(both).cropping == Crop(16, 160, 8, 96)
    assert analyze.run_options(both).dynamic_crop == DynamicCrop(0.4, 12, (128, 96), 20)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("--crop-size", "128,96"), "add --crop dynamic"),
        (("--crop", "0,9,0,9", "--search-every", "5"), "add --crop dynamic"),
        (("--crop", "dinamic"), "expected four whole numbers"),
        (("--crop", "0,9,0,9", "--crop", "0,8,0,8"), "crop: one part of the frames can be analysed, and 2 were given"),
        (("--crop", "dynamic", "--crop-size", "10,10"), "leaves no room"),
    ],
)
def test_crops_that_make_no_sense_are_one_sentence(typed: tuple[str, ...], says: str) -> None:
    arguments = _parsed(*typed)
    with pytest.raises(ConfigError, match=says):
        [choose(arguments) for choose in (analyze.analysis_options, analyze.run_options)]


@pytest.mark.parametrize(
    "typed",
    [
        ("--set", "min_affinity"),
        ("--set", "=3"),
        ("--set", "a=["),
        ("--tracker", "sort"),
        ("--detect-every", "0"),
        ("--crop-size", "128"),
        ("--crop-size", "128x96"),
        ("--search-every", "0"),
    ],
)
def test_a_slip_of_the_keyboard_is_said(typed: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parsed(*typed)
    assert f"argument {typed[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [("--animals", "two"), ("--max-animals", "1.5"), ("--detect-every", "0")])
def test_a_number_that_is_none_is_said(typed: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parsed(*typed)
    assert f"argument {typed[0]}: {typed[1]!r} is no whole number of 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [("--trail", "-1"), ("--trail", "x"), ("--pcutoff", "nan"), ("--pcutoff", "60")])
def test_a_trail_or_cutoff_that_cannot_be_drawn_is_said(
    typed: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        _label("a.mp4", *typed)
    assert f"argument {typed[0]}: {typed[1]!r} is no " in capsys.readouterr().err
