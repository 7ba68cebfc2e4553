"""The page of a shuffle: how it learned, how good it is, and where it is worst."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from rigpose.arrays import Frames
from rigpose.report.charts import curves, parts_bar
from rigpose.report.markup import Html, join, tag
from rigpose.report.numbers import NOTHING, count, counted
from rigpose.report.page import LOOK, document, section
from rigpose.report.pictures import Picture, drawn_large, gallery, into_large
from rigpose.report.sentences import Sentence, Weight, verdict_list
from rigpose.report.tables import facts, large_numbers, nothing, table
from rigpose.report.trained import Compared, Curve, Evaluated, LabelledFrame, compared, evaluations, learning_curves
from rigpose.videos.drawing import SUBPIXEL_BITS, DrawStyle, fixed_point, keypoint_colours

MOST_PICTURES = 8
COLOURS = "rainbow"
TOLD_ELSEWHERE = ("%Training dataset", "Shuffle number", "Training epochs", "Detector epochs (TD only)")
"""Columns that repeat the names of the shuffle and of the snapshot."""
LATE = 0.9
"""Of the epochs: a best one after this part says that training was still going on."""
OVERFIT = 1.2
"""So many times the lowest evaluation loss at the end says that the model learned its images by heart."""
NAMES = {"metrics/test.mAP": "mAP", "metrics/test.rmse": "rmse, px", "metrics/test.mAP@50:95": "mAP of boxes"}


def shuffle_page(train: Path) -> str:
    """The page's text.

    Args:
        train: The shuffle's ``train`` folder.

    Raises:
        ResultError: A log, table or split that is there and cannot be read.
    """
    logs = {
        "Pose model": learning_curves(train / "learning_stats.csv"),
        "Detector": learning_curves(train / "learning_stats_detector.csv"),
    }
    logs = {name: log for name, log in logs.items() if log}
    evaluated = evaluations(train)
    last = evaluated[-1] if evaluated else None
    found = compared(train, last) if last is not None else None
    name = train.absolute().parent.name
    main = tag(
        "main",
        section("In numbers", large_numbers(_numbers(logs, last, found)), "wide strip"),
        tag(
            "div",
            section("In words", verdict_list([*_in_words(logs, evaluated, found)])),
            *(section(f"{title}: loss", _losses(log), "chartbox") for title, log in logs.items()),
        ),
        tag(
            "div",
            section("Error of each bodypart", _bodyparts(last, found), "tight"),
            *(section(f"{title}: on the test images", _scores(log), "chartbox") for title, log in logs.items()),
        ),
        section("Evaluations", _evaluations(evaluated), "wide tight"),
        section("Worst test images: label (ring) against prediction (dot)", _worst(found), "wide"),
        section("What is there", facts(dict(_facts(train, last)))),
    )
    epochs = max((step for log in logs.values() for curve in log.values() for step, _ in curve), default=0)
    aside = counted(int(epochs), "epoch") if epochs else "no log of a training"
    header = tag("header", tag("h1", name), tag("span", aside, class_="aside"))
    return document(f"{name} · rigpose", LOOK.read_text(encoding="utf-8"), [header, main])


def _numbers(
    logs: Mapping[str, Mapping[str, Curve]], last: Evaluated | None, found: Compared | None
) -> list[tuple[str, str, str]]:
    told = [("evaluated", NOTHING if last is None else "yes", "")]
    if last is not None and (rows := last.tables.get("-results")) and len(rows) > 1:
        row = dict(zip(rows[0], rows[-1], strict=False))
        told = [
            (words, row[name], unit)
            for name, words, unit in (
                ("test rmse", "test error", "px"), ("train rmse", "train error", "px"), ("test mAP", "test mAP", ""),
                ("train mAP", "train mAP", ""),
            )
            if row.get(name)
        ]  # fmt: skip
    loss = logs.get("Pose model", {}).get("losses/train.total_loss")
    if loss:
        told.append(("train loss", f"{loss[-1][1]:.2g}", ""))
    if found is not None:
        told.append(("images", count(len(found.frames)), "labelled"))
    return told


def _in_words(
    logs: Mapping[str, Mapping[str, Curve]], evaluated: Sequence[Evaluated], found: Compared | None
) -> Iterator[Sentence]:
    if not logs:
        yield Sentence(Weight.NOTE, "There is no learning_stats.csv, so nobody knows how it learned.")
    for name, log in logs.items():
        yield from _learning(name, log)
    if not evaluated:
        yield Sentence(Weight.NOTE, "No snapshot was evaluated; run rigpose evaluate.")
    elif found is None:
        yield Sentence(Weight.NOTE, "Labels or predictions are not on disk, so no image can be shown.")
    if found is not None:
        means = {part: _mean_error(found, part) for part in ("train", "test")}
        if np.isfinite([*means.values()]).all() and means["train"] > 0:
            ratio = means["test"] / means["train"]
            words = (
                f"Mean error {means['test']:.1f} px on test images, {means['train']:.1f} px on those it learned from"
            )
            weight = Weight.GOOD if ratio < 2 else Weight.NOTE
            yield Sentence(weight, f"{words}, {ratio:.1f} times as much.")


def _learning(name: str, log: Mapping[str, Curve]) -> Iterator[Sentence]:
    """Whether it went on to the end, or too far."""
    test = log.get("losses/eval.total_loss")
    if test and len(test) > 2:
        lowest = min(value for _, value in test)
        if lowest > 0 and test[-1][1] > OVERFIT * lowest:
            step = next(step for step, value in test if value == lowest)
            words = f"its loss on test images was lowest at epoch {step:g}, then rose {test[-1][1] / lowest:.1f} times"
            yield Sentence(Weight.NOTE, f"{name}: {words}, which says that it learns its images by heart.")
    for metric in ("metrics/test.mAP", "metrics/test.mAP@50:95"):
        curve = log.get(metric)
        if not curve or len(curve) < 2:
            continue
        step, best = max(curve, key=lambda place: place[1])
        still = step > LATE * curve[-1][0]
        words = "still rising at the end, so that longer training may help" if still else "and did not rise after that"
        weight = Weight.NOTE if still else Weight.GOOD
        yield Sentence(weight, f"{name}: mAP on test images was best at epoch {step:g}, {best:.1f}, {words}.")


def _losses(log: Mapping[str, Curve]) -> Html:
    names = (("losses/train.total_loss", "train", "train"), ("losses/eval.total_loss", "test", "test"))
    lines = [(name, kind, log[column]) for column, name, kind in names if column in log]
    return curves(lines, "Loss over the epochs.", "loss", "epoch")


def _scores(log: Mapping[str, Curve]) -> Html:
    """What was measured during training: a curve, or where there is one point its value."""
    told: list[str] = []
    once: dict[str, str] = {}
    for column, name in NAMES.items():
        curve = log.get(column, [])
        if len(curve) > 1:
            told.append(curves([(name, "test", curve)], f"{name} over the epochs.", name, "epoch"))
        elif curve:
            once[name] = f"{curve[0][1]:.2f} at epoch {curve[0][0]:g}, measured once"
    if once:
        told.append(facts(once))
    return join(told) if told else nothing("Nothing was measured while it was trained.")


def _bodyparts(last: Evaluated | None, found: Compared | None) -> Html:
    """From the evaluation's own table, else from the predictions."""
    errors = _written(last) if last is not None else {}
    if not errors and found is not None:
        errors = {
            name: (_mean_error(found, "train", i), _mean_error(found, "test", i))
            for i, name in enumerate(found.keypoints)
        }
    if not errors:
        return nothing("No evaluation with predictions is on disk; run rigpose evaluate.")
    known = [test for _, test in errors.values() if np.isfinite(test)]
    most = max(known, default=1.0) or 1.0
    rows = [
        (
            name,
            parts_bar([("size", test / most), ("rest", 1 - test / most)]) if np.isfinite(test) else "",
            _px(test),
            _px(train),
        )
        for name, (train, test) in sorted(errors.items(), key=lambda item: -np.nan_to_num(item[1][1]))
    ]
    return table("Mean error of each bodypart", ("bodypart", "", "test px", "train px"), rows)


def _written(last: Evaluated) -> dict[str, tuple[float, float]]:
    """Train and test error by bodypart, of ``-keypoint-results.csv``."""
    rows = last.tables.get("-keypoint-results", [])
    by_name = {row[0]: row[1:] for row in rows}
    train, test = by_name.get("Train error (px)"), by_name.get("Test error (px)")
    if train is None or test is None:
        return {}
    return {name: (_float(a), _float(b)) for name, a, b in zip(rows[0][1:], train, test, strict=False)}


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _px(error: float) -> str:
    return f"{error:.2f}" if np.isfinite(error) else NOTHING


def _mean_error(found: Compared, part: str, keypoint: int | None = None) -> float:
    """[image px]; NaN where nothing is known."""
    errors = [frame.errors for frame in found.frames if frame.part == part]
    values = (
        np.concatenate([e.ravel() if keypoint is None else e[:, keypoint] for e in errors]) if errors else np.empty(0)
    )
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _evaluations(evaluated: Sequence[Evaluated]) -> Html:
    shown: list[Html] = []
    for ending, words in (("-results", "Scores"), ("-detector-results", "Detector"), ("-pck-results", "PCK")):
        tables = [(one.scorer, one.tables[ending]) for one in evaluated if len(one.tables.get(ending, [])) > 1]
        if not tables:
            continue
        head = tables[0][1][0]
        rows = [(_snapshot(scorer), *row) for scorer, rows in tables for row in rows[1:] if len(row) == len(head)]
        kept = [i for i, name in enumerate(head) if name not in TOLD_ELSEWHERE]
        named = ["snapshot", *(head[i] or "part" for i in kept)]
        shown.append(table(words, named, [[row[0], *(row[i + 1] for i in kept)] for row in rows]))
    if not shown:
        return nothing("None; run rigpose evaluate.")
    return tag("div", *shown, class_="stack")


def _snapshot(scorer: str) -> str:
    """The end of a scorer's name, which tells snapshots of a shuffle apart."""
    _, found, rest = scorer.partition("_detector_")
    if found:
        return f"detector {rest.replace('_snapshot_', ', ')}"
    return scorer.rpartition("_snapshot_")[2]


def _worst(found: Compared | None) -> Html:
    if found is None:
        return nothing("Labels or predictions are not on disk.")
    frames = [frame for frame in found.frames if frame.part == "test"] or list(found.frames)
    ranked = sorted(frames, key=lambda frame: -_badness(frame))
    pictures = []
    for frame in ranked:
        image = cv2.imread(str(frame.image)) if frame.image.is_file() else None
        if image is None:
            continue
        pictures.append(
            Picture(
                _drawn(np.asarray(image, np.uint8), frame),
                "/".join(frame.image.parts[-2:]),
                _words(frame, found.keypoints),
            )
        )
        if len(pictures) == MOST_PICTURES:
            break
    if not pictures:
        return nothing("The labelled images are not on disk.")
    keys = [
        tag("span", tag("i", style=f"background:rgb({red},{green},{blue})"), name)
        for name, (blue, green, red) in zip(
            found.keypoints, keypoint_colours(len(found.keypoints), COLOURS), strict=True
        )
    ]
    return join([tag("p", *keys, class_="legend keys above"), gallery(pictures)])


def _badness(frame: LabelledFrame) -> float:
    """Mean error; what was not found counts as the worst of the frame's errors."""
    known = frame.errors[np.isfinite(frame.errors)]
    labels = int(np.isfinite(frame.truth[..., 0]).sum())
    if not len(known):
        return float("inf")
    return float((known.sum() + (labels - len(known)) * known.max()) / max(labels, 1))


def _words(frame: LabelledFrame, keypoints: Sequence[str]) -> str:
    known = np.isfinite(frame.errors)
    labels = int(np.isfinite(frame.truth[..., 0]).sum())
    said = []
    if known.any():
        worst = int(np.nanargmax(np.where(known, frame.errors, -1))) % len(keypoints)
        said.append(
            f"mean error {frame.errors[known].mean():.1f} px, {keypoints[worst]} {frame.errors[known].max():.0f} px"
        )
    if missing := labels - int(known.sum()):
        said.append(f"{missing} of {labels} labels not found")
    return "; ".join(said)


def _drawn(image: Frames, frame: LabelledFrame) -> Frames:
    """Predictions as dots, labels as rings."""
    drawn = drawn_large(image, frame.predicted, DrawStyle(pcutoff=0.0, colormap=COLOURS))
    colours = keypoint_colours(frame.truth.shape[1], COLOURS)
    for animal in into_large(image.shape[1]).apply(frame.truth):
        for point, colour in zip(animal, colours, strict=True):
            if np.isfinite(point).all():
                for rim, thickness in (((255, 255, 255), 4), (colour, 2)):
                    place = fixed_point(point)
                    cv2.circle(drawn, place, 9 << SUBPIXEL_BITS, rim, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return drawn


def _facts(train: Path, last: Evaluated | None) -> Iterator[tuple[str, str]]:
    yield "folder", str(train)
    snapshots = sorted(path.name for path in train.glob("snapshot-*.pt"))
    yield "snapshots", ", ".join(snapshots) or "none"
    if last is not None:
        yield "last evaluation", last.scorer
