"""The report pages: what they measure, that the right frames are shown, and how they look to a browser."""

from __future__ import annotations

import argparse
import math
import os
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_bundle import write_bundle
from drawn_video import CELL, COLUMNS, draw_frame, write_video
from live_chromium import WIDTHS, chromium, fits, opened
from live_statuses import NASTY

from rigpose.arrays import Frames
from rigpose.bundles.bundle import MANIFEST, PARITY, Bundle, Display, record_files, seal
from rigpose.bundles.certificate import (
    Bounds,
    Case,
    Certificate,
    EngineTrial,
    GraphCertificate,
    LeftOut,
    Loss,
    Metric,
    Structure,
)  # fmt: skip
from rigpose.bundles.golden import Golden, Told, write_golden
from rigpose.commands import report as command
from rigpose.errors import BundleError, ConfigError, MediaError, ResultError
from rigpose.files.results import Results
from rigpose.measures.differences import Difference, Tolerance
from rigpose.measures.drift import Drift
from rigpose.poses import Poses
from rigpose.report.analysed import Analysed, read_analysed, tables_in
from rigpose.report.bundle_page import in_words
from rigpose.report.charts import ACROSS, Clock, Mark, level, ribbon
from rigpose.report.findings import findings, needs_a_look
from rigpose.report.measures import measure, spread_frames, worst_frames
from rigpose.report.pictures import MOST_BYTES, WIDTH, Picture, drawn_frames, drawn_large, gallery, into_large
from rigpose.report.report import write_batch_report, write_report
from rigpose.report.sentences import Weight
from rigpose.report.trained import compared, evaluations, learning_curves
from rigpose.schema import to_mapping
from rigpose.videos.drawing import DrawStyle
from rigpose.videos.metadata import write_meta

if TYPE_CHECKING:
    from playwright.sync_api import Browser

KEYPOINTS = ("nose", "ear", "back", "tail")
BODY = np.array([[0, 0], [10, 8], [30, 0], [60, 2]], np.float32)
"""Sixty px long."""
SCORER = "DLC_Resnet50_sceneNov20shuffle1_snapshot_5"


def walk(frames: int = 200, animals: int = 3, seed: int = 0) -> Results:
    """Animals that wander at a few px per frame, far from each other, with noise of half a pixel."""
    rng = np.random.default_rng(seed)
    start = np.stack([np.full(animals, 200.0), 150 + 200.0 * np.arange(animals)], axis=-1)
    way = start + np.cumsum(rng.normal(0, 2, (frames, animals, 2)), axis=0) * 0.5
    # Every other one looks the other way.
    bodies = BODY * np.where(np.arange(animals) % 2, -1, 1)[:, None, None]
    xy = way[:, :, None] + bodies + rng.normal(0, 0.5, (frames, animals, len(BODY), 2))
    score = rng.uniform(0.7, 1, (frames, animals, len(BODY)))
    names = tuple(f"mouse{i}" for i in range(animals))
    return Results(SCORER, KEYPOINTS, names, xy.astype(np.float32), score.astype(np.float32))


# What is measured


@pytest.mark.parametrize("seed", range(8))
def test_a_steady_walk_shows_nothing(seed: int) -> None:
    measures = measure(walk(seed=seed), 0.6)
    assert measures.jumps == measures.leaps == measures.gaps == ()
    assert measures.coverage == 1.0 and (measures.sure == 1).all()
    # Half of the noise's diagonal more than the body's own.
    assert abs(measures.size - np.linalg.norm([60, 8])) < 1.5


@pytest.mark.parametrize("seed", range(8))
def test_a_keypoint_that_is_elsewhere_is_one_jump_whether_it_comes_back_or_not(seed: int) -> None:
    results = walk(seed=seed)
    results.xy[50, 1, 3] += (0, 40)
    results.xy[80:85, 0, 2] += (25, 25)
    results.xy[120:, 2, 0] += (-30, 10)
    first, longer, second = measure(results, 0.6).jumps
    assert (first.frame, first.animal, first.keypoint) == (50, 1, 3) and abs(first.px - 40) < 8
    assert (longer.frame, longer.animal, longer.keypoint) == (80, 0, 2)
    assert (second.frame, second.animal, second.keypoint) == (120, 2, 0) and abs(second.px - math.hypot(30, 10)) < 8


def test_what_nobody_uses_cannot_jump() -> None:
    results = walk()
    results.xy[50, 1, 3] += (0, 40)
    results.score[50, 1, 3] = 0.5
    assert measure(results, 0.6).jumps == () and len(measure(results, 0.4).jumps) == 1


def test_a_fast_animal_does_not_jump() -> None:
    results = walk()
    # A run at half a body length per frame, all keypoints together.
    results.xy[100:110, 0] += (30 * np.arange(1, 11))[:, None, None] * np.array([1, 0], np.float32)
    results.xy[110:, 0] += np.array([300, 0], np.float32)
    measures = measure(results, 0.6)
    assert measures.jumps == measures.leaps == ()
    assert abs(np.nanmax(measures.speed) - 30) < 6


@pytest.mark.parametrize("seed", range(8))
def test_animals_that_change_places_are_suspected_and_one_that_leaps_alone_is_not(seed: int) -> None:
    results = walk(seed=seed)
    results.xy[80:, [0, 1]] = results.xy[80:, [1, 0]]
    results.xy[150:, 2] += np.array([150, 0], np.float32)
    switch, leap = measure(results, 0.6).leaps
    assert (switch.frame, {switch.animal, switch.other}) == (80, {0, 1}) and abs(switch.px - 200) < 40
    assert (leap.frame, leap.animal, leap.other) == (150, 2, None) and abs(leap.px - 150) < 15
    assert measure(results, 0.6).jumps == ()


def test_an_animal_may_move_on_while_it_is_out_of_sight() -> None:
    results = walk()
    results.xy[60:70, 0] = np.nan
    results.xy[70:, 0] += np.array([200, 0], np.float32)
    measures = measure(results, 0.6)
    assert [(gap.animal, gap.begin, gap.end) for gap in measures.gaps] == [(0, 60, 70)]
    # Two hundred px in eleven frames are a walk, and at once are a leap.
    assert measures.leaps == ()
    results.xy[61:70, 0] = results.xy[59, 0]
    results.xy[60, 0] = results.xy[59, 0]
    assert len(measure(results, 0.6).leaps) == 1


def test_parts_of_keypoints_count_where_the_animal_is() -> None:
    results = walk(100, 2)
    results.xy[:50, 1], results.xy[50:75, 1, 2] = np.nan, np.nan
    results.score[:30, 0, 2] = 0.1
    measures = measure(results, 0.6)
    # 100 + 50 animals; 30 unsure and 25 missing of them.
    assert np.allclose(measures.sure, [1, 1, 95 / 150, 1]) and np.allclose(measures.unsure, [0, 0, 30 / 150, 0])
    assert np.allclose(measures.missing, [0, 0, 25 / 150, 0])
    assert math.isclose(measures.coverage, (800 - 200 - 30 - 25) / 800, rel_tol=1e-6)


def test_places_of_animals_that_never_come_count_for_nothing() -> None:
    results = walk(60, 3)
    results.xy[:, 2] = np.nan
    measures = measure(results, 0.6)
    assert measures.coverage == 1.0 and measures.badness.max() < 0.3
    results.xy[:] = np.nan
    empty = measure(results, 0.6)
    assert empty.coverage == 0 and len(worst_frames(empty, 5)) <= 5 and empty.jumps == ()


def test_the_worst_frames_are_those_that_were_made_bad() -> None:
    results = walk(400)
    results.xy[30:33, 0] = np.nan
    results.xy[200, 1, 3] += (0, 50)
    results.xy[300:, [0, 1]] = results.xy[300:, [1, 0]]
    frames = worst_frames(measure(results, 0.6), 6)
    assert len(frames) == 3 and frames[0] in (30, 31, 32) and frames[1:] == [200, 300]
    assert worst_frames(measure(walk(400), 0.6), 6) == []
    assert spread_frames(100, 4) == [12, 37, 62, 87] and spread_frames(3, 8) == [0, 1, 2]


def test_one_keypoint_and_one_frame_are_measured_too() -> None:
    xy = np.full((1, 1, 1, 2), 5, np.float32)
    measures = measure(Results(SCORER, ("nose",), ("a",), xy, np.ones((1, 1, 1), np.float32)), 0.6)
    assert measures.coverage == 1 and math.isnan(measures.size) and measures.jumps == ()


# Charts and pictures


def test_a_ribbon_shows_low_scores_where_they_are() -> None:
    values = np.full(800, 0.95)
    values[400:420], values[600:700] = 0.2, np.nan
    drawn = [
        (float(x), float(width), int(kind))
        for kind, x, width in re.findall(
            r'<rect class="q(\d)" x="([\d.]+)" width="([\d.]+)"', ribbon(values, Clock(800, 0), 0.6)
        )
    ]
    low = [(x, x + width) for x, width, kind in drawn if kind == 0]
    # Cells of five frames; each is a hair wider than it is.
    assert abs(low[0][0] - ACROSS * 0.5) < 0.1 and abs(low[-1][1] - ACROSS * 420 / 800) < 0.6
    assert not any(ACROSS * 600 / 800 + 0.6 < x + width / 2 < ACROSS * 700 / 800 for x, width, _ in drawn)
    assert [level(score, 0.6) for score in (0.0, 0.29, 0.3, 0.59, 0.6, 0.8)] == [0, 0, 1, 1, 2, 3]


def test_a_page_stays_small_whatever_goes_wrong() -> None:
    rng = np.random.default_rng(0)
    values, clock = rng.uniform(0, 1, 100_000), Clock(100_000, 30)
    marks = [Mark(frame, "jump") for frame in range(0, 100_000, 10)]
    lane = ribbon(values, clock, 0.6, marks)
    ticks = re.findall(r"<title>jump(?:, and (\d+) more here)?</title>", lane)
    assert len(ticks) == 250 and sum(1 + int(more or 0) for more in ticks) == 10_000 and len(lane) < 60_000
    # Of one colour throughout, one cell is enough where it need not say its scores.
    assert ribbon(np.full(1000, 0.9), clock, 0.6, told=False).count("<rect") == 1


def test_times_are_written_for_people() -> None:
    assert Clock(100, 30).words(57) == "frame 57 at 1.90 s" and Clock(100, 0).words(57) == "frame 57"
    assert Clock(300000, 30).words(216000) == "frame 216,000 at 2:00:00.0"
    assert Clock(9000, 30).words(2000) == "frame 2,000 at 01:06.7"


def test_a_dot_lies_on_what_it_was_found_on() -> None:
    frame = np.zeros((90, 130, 3), np.uint8)
    frame[40:43, 70:73] = 255
    # DeepLabCut counts from the centre of the first pixel.
    poses = Poses(np.array([[[71.0, 41.0]]], np.float32), np.ones((1, 1), np.float32))
    plain = drawn_large(frame, Poses.empty(1), DrawStyle())
    dotted = drawn_large(frame, poses, DrawStyle())
    square, dot = plain.max(axis=2) > 127, (dotted != plain).any(axis=2)
    assert plain.shape == (360, WIDTH, 3)
    centres = [np.argwhere(mask).mean(axis=0)[::-1] for mask in (square, dot)]
    # The dot hides part of the square; both are symmetric, to half a pixel of the picture.
    assert np.abs(centres[0] - centres[1]).max() < 0.75
    assert np.abs(centres[1] - into_large(130).apply(poses.xy[0, 0])).max() < 0.75


def test_each_row_gets_its_own_frame_though_some_were_lost(tmp_path: Path) -> None:
    lost = (3, 10)
    video = write_video(tmp_path / "a.mp4", [number for number in range(30) if number not in lost])
    nowhere = np.full((30, 1, 2, 2), np.nan, np.float32)
    analysed = Analysed(
        tmp_path / "a.h5", Results(SCORER, ("a", "b"), ("x",), nowhere, nowhere[..., 0]), video, 25.0, {}, Display(),
        (), lost, None,
    )  # fmt: skip
    drawn = drawn_frames(analysed, [0, 3, 5, 11, 29])
    assert sorted(drawn) == [0, 5, 11, 29]
    for row, image in drawn.items():
        assert _number_in(image) == row
    longer = np.full((40, 1, 2, 2), np.nan, np.float32)
    wrong = Analysed(
        tmp_path / "a.h5", Results(SCORER, ("a", "b"), ("x",), longer, longer[..., 0]), video, 25.0, {}, Display(), (),
        (), None,
    )  # fmt: skip
    with pytest.raises(MediaError, match=r"has fewer frames than a\.h5 has rows; name the right one with --video"):
        drawn_frames(wrong, [39])


def _number_in(image: Frames) -> int:
    """What ``draw_frame`` wrote, out of a picture of it."""
    height, width = draw_frame(0).shape[:2]
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).mean(axis=2)
    cells = small.reshape(height // CELL, CELL, width // CELL, CELL).mean(axis=(1, 3))
    return int(cells.argmax() // COLUMNS * COLUMNS + cells.argmax() % COLUMNS)


def test_pictures_fit_into_the_page_however_busy_they_are() -> None:
    rng = np.random.default_rng(0)
    busy = [Picture(rng.integers(0, 255, (390, WIDTH, 3), np.uint8), NASTY, NASTY) for _ in range(8)]
    page = gallery(busy)
    assert 0.2 * MOST_BYTES < len(page) < 1.4 * MOST_BYTES and NASTY not in page


# Findings


def _as_analysed(results: Results) -> Analysed:
    return Analysed(Path("cage.h5"), results, None, 30.0, {}, Display(), (), (), None)


def test_findings_say_what_is_wrong_and_where() -> None:
    results = walk()
    results.xy[80:, [0, 1]] = results.xy[80:, [1, 0]]
    results.xy[150:160, 2] = np.nan
    told = findings(_as_analysed(results), measure(results, 0.6))
    texts = {sentence.text: sentence.weight for sentence in told}
    assert needs_a_look(told) and told[0].weight is Weight.BAD
    assert told[0].text == (
        "1 suspected switch, the first at frame 80 at 2.67 s: mouse0 and mouse1 may have changed places."
    )
    gap = "1 gap in the tracks, 1.7 % of them in all; the longest is 10 frames of mouse2 at frame 150 at 5.00 s."
    assert texts[gap] is Weight.NOTE
    fine = findings(_as_analysed(walk()), measure(walk(), 0.6))
    assert not needs_a_look(fine) and "No keypoint jumps away from its animal." in {one.text for one in fine}


# Pages of results


def write_results(folder: Path, results: Results, name: str = "cage", *, video: bool = True) -> Path:
    """A video, its table as text and its metadata."""
    table = folder / f"{name}{results.scorer}.csv"
    levels = [[results.scorer], list(results.individuals), list(results.keypoints), ["x", "y", "likelihood"]]
    columns = pd.MultiIndex.from_product(levels, names=["scorer", "individuals", "bodyparts", "coords"])
    values = np.concatenate([results.xy, results.score[..., None]], axis=-1).reshape(len(results.xy), -1)
    pd.DataFrame(values, columns=columns).to_csv(table)
    if video:
        write_video(folder / f"{name}.mp4", range(len(results.xy)))
    ours = {
        "device": "cpu", "frames_per_second": 87.5, "decoder": "opencv", "missing_frames": [],
        "options": {"backend": "onnxruntime", "precision": "fp32", "tracking": {"method": "ellipse", "max_age": 5}},
        "skeleton": [list(results.keypoints[:2])], "display": {"pcutoff": 0.5},
    }  # fmt: skip
    facts = {"fps": 25.0, "batch_size": 8, "frame_dimensions": (160, 96), "start": 1.7e9, "rigpose": ours}
    write_meta(folder / f"{name}{results.scorer}_meta.pickle", facts)
    return table


def nasty_walk() -> Results:
    results = walk(60, 2)
    results.xy[20, 1, 3] += (0, 60)
    results.xy[30:, [0, 1]] = results.xy[30:, [1, 0]]
    results.xy[40:45, 1] = np.nan
    return Results(SCORER, (NASTY, *KEYPOINTS[1:]), (NASTY, "mouse"), results.xy, results.score)


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.COMMAND.configure(parser)
    return command.COMMAND.run(parser.parse_args(list(map(str, arguments))))


def alone(page: str) -> bool:
    """Whether it runs nothing and asks nothing of anybody."""
    return "<script" not in page and not re.search(r"(src|href)=\"(?!data:)", page) and "url(" not in page


def test_the_command_writes_the_page_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_results(tmp_path, nasty_walk())
    assert run(table) == 0
    page = tmp_path / f"cage{SCORER}_report.html"
    assert capsys.readouterr().out == f"{page}\n"
    text = page.read_text(encoding="utf-8")
    assert alone(text) and len(text) < 2e6
    for words in ("cpu, onnxruntime, fp32", "87.5 frames per s, 8 frames at once", "method ellipse, max_age 5"):
        assert words in text
    assert "score 0.5 or more" in re.sub(r"scores? ", "score ", text)
    assert run(table, "-o", tmp_path / "other.html") == 0 and (tmp_path / "other.html").exists()


def test_without_a_video_the_page_says_so(tmp_path: Path) -> None:
    table = write_results(tmp_path, nasty_walk(), video=False)
    text = write_report([table]).read_text(encoding="utf-8")
    assert "<img" not in text and "name it with --video" in text
    video = write_video(tmp_path / "elsewhere.mp4", range(60))
    assert "<img" in write_report([table], video=video).read_text(encoding="utf-8")


def test_a_table_of_another_tool_needs_no_metadata(tmp_path: Path) -> None:
    table = write_results(tmp_path, walk(30, 1))
    (tmp_path / f"cage{SCORER}_meta.pickle").unlink()
    assert read_analysed(table).frames_per_second == 0
    assert "none beside the table" in write_report([table]).read_text(encoding="utf-8")


def test_what_is_named_wrongly_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    table = write_results(tmp_path, walk(10, 1), video=False)
    with pytest.raises(ResultError, match=r"is no .h5 or .csv table of poses, no bundle and no shuffle's folder"):
        write_report([tmp_path / "a.txt"])
    with pytest.raises(ResultError, match="holds no results of rigpose analyze"):
        write_report([tmp_path])
    with pytest.raises(ResultError, match="there is no such result file"):
        write_report([tmp_path / "b.h5"])
    with pytest.raises(ConfigError, match="--video names the video of one table, and there are 2"):
        write_report([table, table], video=table)
    with pytest.raises(ResultError, match="cannot be written"):
        write_report([table], tmp_path / "a.txt" / "page.html")


def test_of_several_animals_the_tracks_made_last_are_taken(tmp_path: Path) -> None:
    for i, ending in enumerate(("", "_el", "_bx", "_el_filtered")):
        path = tmp_path / f"cage{SCORER}{ending}.h5"
        path.touch()
        os.utime(path, (100 + i, 100 + i))
    (tmp_path / "otherDLC_x.h5").touch()
    assert [path.name for path in tables_in(tmp_path)] == [f"cage{SCORER}_bx.h5", "otherDLC_x.h5"]


def test_many_videos_come_worst_first_and_a_broken_one_is_named(tmp_path: Path) -> None:
    bad = walk(60)
    bad.xy[:, 0, 1:], bad.xy[30:, [1, 2]] = np.nan, bad.xy[30:, [2, 1]]
    tables = [
        write_results(tmp_path, walk(60), "good"), write_results(tmp_path, bad, "bad"),
        write_results(tmp_path, nasty_walk(), "middling"),
    ]  # fmt: skip
    broken = tmp_path / "broken.csv"
    broken.write_text("nothing")
    text = write_report([*tables, broken]).read_text(encoding="utf-8")
    assert re.findall(r'<h3 class="(\w+)">(\w+)\.mp4', text) == [("bad", "bad"), ("bad", "middling"), ("good", "good")]
    assert "broken.csv: not a table of poses" in text and "look at 3" in text and alone(text)


def test_a_batch_says_what_could_not_be_analysed_and_knows_its_videos(tmp_path: Path) -> None:
    results = nasty_walk()
    table = write_results(tmp_path, results, video=False)
    video = write_video(tmp_path / "elsewhere.mp4", range(60))
    failure = f"{NASTY}.mp4: is no video; convert it."
    page = write_batch_report({table: video}, tmp_path / "batch.html", failures=[failure])
    text = page.read_text(encoding="utf-8")
    assert "elsewhere.mp4" in text and "<img" in text and "look at 2" in text
    assert failure not in text and escape(failure) in text


# Pages of bundles


def drift(worst: float, lost: int) -> Drift:
    return Drift(100, lost, worst, worst / 2, worst / 4, worst / 5, 0.01, 0.6, 3, 1)


def certificate(file: str, verdict: str = "accepted") -> Certificate:
    structure = Structure(20, 214, {"Conv": 32})
    same = Difference(240, 2e-5, 1e-5, 1e-6, 1e-7, 0, 2, 0)
    cases = (Case("keypoints", 1, 96, 160, same), Case("keypoints", 8, 50, 50, same))
    loss = Loss(10, drift(3.6, 2), drift(3.6, 1), Bounds(None, 0.05, 0.1), (f"2 keypoints are lost {NASTY}.",))
    return Certificate(
        versions={"rigpose": "0.1.0", "onnxruntime": "1.31.1"}, reference="torch 2.15 float32 on cpu",
        compared="onnxruntime 1.31.1 on cpu", frames="drawn", measured="measured on 10 images", tolerance=Tolerance(),
        metric={"pose": Metric(6.34, 69.7, 30)},
        graphs=(
            GraphCertificate(file, "pose", "fp32", "torch", structure, {}, cases, None, 0.0, None, "passed"),
            GraphCertificate(
                "pose.fp16.onnx", "pose", "fp16", file, structure, {}, (), loss, 0.0, Metric(6.9, 60.0, 30),
                "passed" if verdict == "passed" else "accepted",
            ),
        ),
        left_out=(LeftOut("int8", ("openvino",), f"It loses too much {NASTY}; take fp16."),),
        tensorrt=(EngineTrial(file, 12.0, 10_000_000, None),),
    )  # fmt: skip


def certified_bundle(folder: Path) -> Bundle:
    bundle = write_bundle(folder)
    rng = np.random.default_rng(0)
    frames = tuple(rng.integers(0, 255, (96, 160, 3), np.uint8) for _ in range(2))
    answer = Poses(rng.uniform(10, 90, (1, 4, 2)).astype(np.float32), np.ones((1, 4), np.float32))
    write_golden(folder, Golden(frames, Told(), ((answer, answer),)))
    fp32 = bundle.manifest.graph("pose").file
    (folder / PARITY).write_text(yaml.safe_dump(to_mapping(certificate(fp32)), sort_keys=False))
    seal(folder, replace(bundle.manifest, files=record_files(folder)))
    return Bundle.open(folder)


def test_the_certificate_in_words() -> None:
    told = {one.text: one.weight for one in in_words(certificate("pose.onnx"))}
    (same,) = (text for text in told if text.startswith("In fp32"))
    assert "2 comparisons of 480 answers in 2 sizes of frames and batches all lie within the tolerance" in same
    (loss,) = (text for text in told if "accepted all the same" in text)
    assert told[loss] is Weight.BAD and "the worst by 3.6 px, 2 keypoints lost" in loss
    assert "under 0.0001 px, and about 0.01 px is allowed" in " ".join(told)
    assert "4 answers are another one than the framework's first" in " ".join(told)
    assert "mean error 6.34 px, mAP 69.7 on 30 labelled animals" in " ".join(told)
    passed = {one.text: one.weight for one in in_words(certificate("pose.onnx", "passed"))}
    assert Weight.BAD not in passed.values() and any(text.endswith("within its bounds.") for text in passed)


def test_the_page_of_a_bundle_lies_beside_it(tmp_path: Path) -> None:
    certified_bundle(tmp_path / "model.bundle")
    page = write_report([tmp_path / "model.bundle" / MANIFEST])
    assert page == tmp_path / "model.bundle_report.html"
    text = page.read_text(encoding="utf-8")
    assert alone(text) and text.count("<img") == 2 and "pose.fp16.onnx" in text
    assert Bundle.open(tmp_path / "model.bundle")
    (tmp_path / "model.bundle" / PARITY).write_text("versions: {}")
    with pytest.raises(BundleError, match="is not the file that was exported"):
        write_report([tmp_path / "model.bundle"])


# Pages of shuffles


def trained_shuffle(root: Path) -> Path:
    """A project with a log, an evaluation of twelve images, and what was predicted in them; the train folder."""
    name = "sceneNov20-trainset75shuffle1"
    train = root / "dlc-models-pytorch" / "iteration-0" / name / "train"
    results = root / "evaluation-results-pytorch" / "iteration-0" / name
    dataset = root / "training-datasets" / "iteration-0" / "UnaugmentedDataSet_sceneNov20"
    images = root / "labeled-data" / "cage"
    for folder in (train, results, dataset, images):
        folder.mkdir(parents=True)
    (train / "pytorch_config.yaml").write_text("{}")
    rows = [f"{i},{1 / i},{2 / i if i % 5 == 0 else ''},{8 * i if i % 5 == 0 else ''}" for i in range(1, 11)]
    (train / "learning_stats.csv").write_text(
        "step,losses/train.total_loss,losses/eval.total_loss,metrics/test.mAP\n" + "\n".join(rows) + "\n"
    )
    (results / f"{SCORER}-results.csv").write_text(
        "%Training dataset,Shuffle number,Training epochs,train rmse,test rmse\n0.75,1,10,1.0,4.5\n"
    )
    truth = walk(12, 1)
    found = truth.xy.copy()
    found[2, 0, 1] += (30, 40)
    found[5] += np.array([3, 4], np.float32)
    found[7, 0, 3] = np.nan
    index = pd.MultiIndex.from_tuples([("labeled-data", "cage", f"img{i:02}.png") for i in range(12)])
    for i in range(12):
        cv2.imwrite(str(images / f"img{i:02}.png"), np.full((400, 500, 3), 60, np.uint8))
    names = ["scorer", "individuals", "bodyparts", "coords"]
    labels = pd.MultiIndex.from_product([["me"], ["mouse"], KEYPOINTS, ["x", "y"]], names=names)
    pd.DataFrame(truth.xy.reshape(12, -1), index, labels).to_hdf(dataset / "CollectedData_me.h5", key="df")
    columns = pd.MultiIndex.from_product([[SCORER], ["mouse"], KEYPOINTS, ["x", "y", "likelihood"]], names=names)
    values = np.concatenate([found, truth.score[..., None]], axis=-1)
    pd.DataFrame(values.reshape(12, -1), index, columns).to_hdf(results / f"{SCORER}.h5", key="df")
    split = [[], list(range(3, 12)), [0, 1, 2], 0.75]
    (dataset / "Documentation_data-scene_75shuffle1.pickle").write_bytes(pickle.dumps(split))
    return train


def test_errors_of_bodyparts_are_those_that_were_made(tmp_path: Path) -> None:
    train = trained_shuffle(tmp_path)
    (evaluated,) = evaluations(train)
    found = compared(train, evaluated)
    assert found is not None and [frame.part for frame in found.frames] == ["test"] * 3 + ["train"] * 9
    errors = np.concatenate([frame.errors for frame in found.frames])
    expected = np.zeros((12, 4))
    expected[2, 1], expected[5], expected[7, 3] = 50, 5, np.nan
    assert np.allclose(errors, expected, atol=1e-3, equal_nan=True)
    curves = learning_curves(train / "learning_stats.csv")
    assert curves["metrics/test.mAP"] == [(5, 40), (10, 80)] and len(curves["losses/train.total_loss"]) == 10


def test_the_page_of_a_shuffle_shows_the_worst_test_image_first(tmp_path: Path) -> None:
    train = trained_shuffle(tmp_path)
    page = write_report([train.parent])
    assert page == train.parent / "report.html"
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"<b>cage/(img\d+)", text)[0] == "img02" and "ear 50 px" in text and alone(text)
    assert "still rising at the end" in text
    # 50 px in one of three test images; half of that drawn as a bar would be the next one's.
    assert re.search(r'<th scope="row">ear</th>.*?<td>16\.67</td><td>0\.56</td>', text)
    assert write_report([train], tmp_path / "b.html").read_text(encoding="utf-8") == text


def test_a_shuffle_that_only_began_has_a_page_too(tmp_path: Path) -> None:
    train = tmp_path / "dlc-models-pytorch" / "iteration-0" / "a-trainset95shuffle1" / "train"
    train.mkdir(parents=True)
    (train / "pytorch_config.yaml").touch()
    text = write_report([train]).read_text(encoding="utf-8")
    assert "no learning_stats.csv" in text and "run rigpose evaluate" in text
    (train / "learning_stats.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ResultError, match="is no log of a training"):
        write_report([train])


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Sequence[tuple[Path, int]]:
    """Pages, and how many pictures each has."""
    root = tmp_path_factory.mktemp("pages")
    (root / "results").mkdir()
    table = write_results(root / "results", nasty_walk())
    other = write_results(root / "results", walk(60), "b" * 60)
    certified_bundle(root / f"{NASTY.replace('/', '')}.bundle")
    return [
        (write_report([table], root / "results.html"), 10),
        (write_report([table, other], root / "batch.html"), 1),
        (write_report([root / f"{NASTY.replace('/', '')}.bundle"], root / "bundle.html"), 2),
        (write_report([trained_shuffle(root / "project")], root / "shuffle.html"), 3),
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_in_a_browser(browser: Browser, pages: Sequence[tuple[Path, int]], width: int) -> None:
    for page, pictures in pages:
        with opened(browser, page.as_uri(), width, dark=width == WIDTHS[1]) as (tab, said):
            assert fits(tab) and said == [] and tab.title() != "taken", page.name
            images = tab.locator("img").all()
            assert len(images) >= pictures, page.name
            for image in images:
                assert image.evaluate("image => image.complete && image.naturalWidth") == WIDTH
            for lane in tab.locator(".lane").all():
                box = lane.bounding_box()
                assert box is not None and box["width"] > 120 and box["height"] > 12
