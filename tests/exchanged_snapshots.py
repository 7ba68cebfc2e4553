"""A case's snapshots in rigpose and in DeepLabCut, there and back: how far the outputs are apart."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from exchange_cases import BATCH, Case, Known, Pair, first_snapshots, make_shuffle, train_on, what_is_known
from network_maps import detector_maps, pose_maps

from rigpose.analyzers.conditional import ConditionalAnalyzer
from rigpose.analyzers.top_down import CropAnalyzer
from rigpose.arrays import Floats
from rigpose.poses import Poses
from rigpose_training.engine.snapshots import load_weights, read_snapshot
from rigpose_training.models import PoseModel, build_model
from rigpose_training.models.detectors import Detector, build_detector
from rigpose_training.pose_config.files import read_pose_config
from rigpose_training.pose_graph import PixelNormalisation, PoseGraph
from rigpose_training.project.shuffle import Shuffle
from rigpose_training.spec import model_spec, normalisation
from rigpose_training.torch_session import TorchSession, torch_analyzer

PYTHON = os.environ.get("RIGPOSE_DEEPLABCUT_PYTHON", "")
SCRIPT = Path(__file__).parent / "deeplabcut" / "run_snapshot.py"


@dataclass(frozen=True)
class Outputs:
    """What a shuffle's networks make of the inputs that are known.

    Attributes:
        maps: By name, before decoding; of ``Known.images``.
        poses: Per picture, the arrays (N, K, 3) x, y [frame px], score of animals and (1, U, 3) of unique keypoints.
        identities: Per picture (N, K, I) of the same animals, where a network tells individuals apart.
        boxes: Per picture (D, 5) x, y, width, height [frame px], score; of as many boxes as a project has individuals.
    """

    maps: dict[str, Floats]
    poses: list[list[Floats]]
    identities: list[Floats]
    boxes: list[Floats]


@dataclass(frozen=True)
class Difference:
    """The worst of each kind.

    Attributes:
        maps: Of a number of a map, as a share of that map's range.
        pixels: Of a keypoint [frame px].
        score: Of a keypoint's score, or of its likeness to an individual.
        keypoints: How many were compared; none was found by one side alone.
        boxes: Of a box [frame px] or its score; none where there is no detector.
    """

    maps: float
    pixels: float
    score: float
    keypoints: int
    boxes: float | None = None


@dataclass(frozen=True)
class Exchange:
    """A case there and back.

    Attributes:
        to_deeplabcut: Both sides with the snapshots that rigpose wrote.
        from_deeplabcut: Both sides with those that DeepLabCut wrote, which trained on from them for an epoch.
        learnt: How far DeepLabCut's epoch moved the maps, as a share of their range; the least of all maps.
        epochs: Of the pose snapshots: rigpose's, DeepLabCut's, and rigpose's that went on from that one.
        schedule: Epochs that the schedule of the learning rate in these three knows of.
        steps: Of the optimiser in these three.
        deeplabcut: Its version.
    """

    to_deeplabcut: Difference
    from_deeplabcut: Difference
    learnt: float
    epochs: list[int]
    schedule: list[int]
    steps: list[int]
    deeplabcut: str


def exchange(case: Case, folder: Path) -> Exchange:
    """Train in rigpose, run and train on in DeepLabCut, run and train on in rigpose.

    Raises:
        AssertionError: DeepLabCut refused something, or only one of both found an animal or a keypoint.
    """
    shuffle = make_shuffle(case, folder / "project")
    known = what_is_known(shuffle)
    rooms = [folder / name for name in ("first", "here", "there", "back")]
    for room in rooms:
        room.mkdir()
    first, here, there, back = rooms
    given = train_on(shuffle, first_snapshots(case, shuffle, known, first), here, epochs=case.epochs)
    answer = _ask_deeplabcut(shuffle, given, known, there)
    # Out of the way of rigpose, too.
    trained = Pair(*[Path(path).rename(there / Path(path).name) for path in answer["snapshots"] if path])
    ours = [_outputs_here(shuffle, pair, known) for pair in (given, trained)]
    theirs = [_read_outputs(there / f"{name}.npz", len(known.frames)) for name in ("given", "trained")]
    moved = [np.abs(theirs[1].maps[name] - before).max() / np.ptp(before) for name, before in theirs[0].maps.items()]
    returned = train_on(shuffle, trained, back, epochs=1)
    contents = [read_snapshot(pair.pose) for pair in (given, trained, returned)]
    return Exchange(
        to_deeplabcut=_difference(ours[0], theirs[0]),
        from_deeplabcut=_difference(ours[1], theirs[1]),
        learnt=float(min(moved)),
        epochs=[content["metadata"]["epoch"] for content in contents],
        schedule=[content["scheduler"]["last_epoch"] for content in contents],
        steps=[int(content["optimizer"]["state"][0]["step"]) for content in contents],
        deeplabcut=answer["version"],
    )


def _ask_deeplabcut(shuffle: Shuffle, pair: Pair, known: Known, folder: Path) -> dict[str, Any]:
    request = {
        "config": str(shuffle.config.path),
        "shuffle": shuffle.index,
        "snapshots": [str(pair.pose), str(pair.detector) if pair.detector else None],
        "batch_size": BATCH,
    }
    (folder / "request.json").write_text(json.dumps(request))
    method = read_pose_config(shuffle.pose_config_path)["method"]
    inputs = {"images": known.images.numpy()} | ({"conditions": known.rough.numpy()} if method == "ctd" else {})
    np.savez(folder / "inputs.npz", **inputs)  # pyright: ignore[reportArgumentType]
    needs = {"td": {"boxes": known.boxes}, "ctd": {"conditions": known.conditions}}
    np.savez(folder / "known.npz", **needs.get(method, {}))  # pyright: ignore[reportArgumentType]
    for number, frame in enumerate(known.frames):
        cv2.imwrite(str(folder / f"{number}.png"), frame)
    done = subprocess.run([PYTHON, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "answer.json").read_text())


def _read_outputs(file: Path, frames: int) -> Outputs:
    """What DeepLabCut wrote; absent animals are -1 in all numbers, and a missing keypoint has a score of 0."""
    with np.load(file) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    poses, identities, boxes = [], [], []
    for number in range(frames):
        animals = found["poses.bodyparts"][number, ..., :3]
        there = ~(animals == -1).all(axis=(1, 2))
        if "maps.bodypart.offset" in found:
            # Where DEKR finds fewer centres than it may, DeepLabCut fills up with places that score 0.
            there &= (animals[..., 2] > 0).any(axis=1)
        listed = [animals[there]]
        if "poses.unique_bodyparts" in found:
            listed.append(found["poses.unique_bodyparts"][number])
        if "poses.identity_scores" in found:
            identities.append(found["poses.identity_scores"][number][there])
        poses.append([np.where(np.isnan(rows[..., :1]), np.nan, rows) for rows in listed])
        if "detector.bboxes" in found:
            score = found["detector.bbox_scores"][number, :, None]
            rows = np.concatenate([found["detector.bboxes"][number], score], axis=1)
            boxes.append(rows[score[:, 0] >= 0])
    return Outputs({name: value for name, value in found.items() if "maps." in name}, poses, identities, boxes)


def _outputs_here(shuffle: Shuffle, pair: Pair, known: Known) -> Outputs:
    config = read_pose_config(shuffle.pose_config_path)
    model = build_model(config).eval()
    load_weights(model, read_snapshot(pair.pose)["model"], source=pair.pose)
    with torch.inference_mode():
        found = model(known.images, known.rough) if model.conditional else model(known.images)
    maps = {f"maps.{name}": value for name, value in pose_maps(found).items()}
    boxes: list[Floats] = []
    if pair.detector:
        detector = build_detector(config["detector"]["model"]).eval()
        load_weights(detector, read_snapshot(pair.detector)["model"], source=pair.detector)
        maps |= {f"detector.maps.{name}": value for name, value in detector_maps(detector, known.images).items()}
        boxes = _boxes(detector, config, known)
    poses = _poses(model, config, known)
    listed = [[p.to_array(), *([] if p.unique is None else [p.unique[None]])] for p in poses]
    identities = [p.identity_scores for p in poses if p.identity_scores is not None]
    return Outputs(maps, listed, identities, boxes)


def _poses(model: PoseModel, config: Mapping[str, Any], known: Known) -> list[Poses]:
    if config["method"] == "bu":
        return torch_analyzer(model, config).predict(known.frames)
    crops = CropAnalyzer(model_spec(config), TorchSession(PoseGraph(model, config)))
    if config["method"] == "td":
        return crops.predict(known.frames, list(known.boxes))
    rough = np.where(known.conditions[..., 2:] > 0, known.conditions, np.nan)
    return ConditionalAnalyzer(crops).predict(known.frames, [Poses.from_array(poses) for poses in rough])


def _boxes(detector: Detector, config: Mapping[str, Any], known: Known) -> list[Floats]:
    normalise = PixelNormalisation(normalisation(config["detector"]))
    found = detector.detect(normalise(torch.from_numpy(np.stack(known.frames))))
    most = len(config["metadata"]["individuals"])
    rows = [torch.cat([xyxy, scores[:, None]], dim=1)[:most].numpy() for xyxy, scores in found]
    return [np.concatenate([r[:, :2], r[:, 2:4] - r[:, :2], r[:, 4:]], axis=1) for r in rows]


def _difference(ours: Outputs, theirs: Outputs) -> Difference:
    assert ours.maps.keys() == theirs.maps.keys()
    shares = [np.abs(ours.maps[name] - value).max() / np.ptp(value) for name, value in theirs.maps.items()]
    assert np.isfinite(shares).all()
    apart = np.concatenate(list(_apart(ours, theirs)))
    scores = [apart[:, 2].max(), *_furthest(ours.identities, theirs.identities)]
    (boxes,) = _furthest(ours.boxes, theirs.boxes) or [None]
    return Difference(float(max(shares)), float(apart[:, :2].max()), float(max(scores)), len(apart), boxes)


def _furthest(ours: list[Floats], theirs: list[Floats]) -> list[float]:
    """The largest difference of arrays of equal shapes; nothing if neither side has any."""
    assert [rows.shape for rows in ours] == [rows.shape for rows in theirs]
    return [float(np.abs(np.concatenate(ours) - np.concatenate(theirs)).max())] if theirs else []


def _apart(ours: Outputs, theirs: Outputs) -> Iterator[Floats]:
    """(n, 3) of the keypoints of each picture and head: distances in x, y and score."""
    for found_here, found_there in zip(ours.poses, theirs.poses, strict=True):
        for here, there in zip(found_here, found_there, strict=True):
            assert here.shape == there.shape, f"rigpose finds {here}, DeepLabCut {there}"
            np.testing.assert_array_equal(np.isnan(here), np.isnan(there))
            yield np.abs(here - there)[~np.isnan(there[..., 0])]
