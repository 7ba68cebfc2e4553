"""Golden frames of a bundle: a few pictures, what the graphs were told, and what the training framework answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from rigpose.arrays import Array, Floats, Frames
from rigpose.bundles.bundle import GOLDEN_ANSWERS, Bundle
from rigpose.errors import BundleError
from rigpose.poses import Poses


@dataclass(frozen=True)
class Told:
    """What a pose graph is told beside the frames, per frame; nothing for models that see whole frames.

    Attributes:
        boxes: (N, 4) x, y of the upper left corner, width, height [frame px], for a top-down model.
        conditions: Rough poses, for a conditional one.
    """

    boxes: tuple[Floats, ...] | None = None
    conditions: tuple[Poses, ...] | None = None

    def take(self, rows: Sequence[int]) -> Told:
        """Of these frames."""
        return Told(
            None if self.boxes is None else tuple(self.boxes[i] for i in rows),
            None if self.conditions is None else tuple(self.conditions[i] for i in rows),
        )


@dataclass(frozen=True)
class Golden:
    """What is replayed on a rig.

    Attributes:
        frames: Pictures of one size.
        told: What the pose graph is told about them.
        answers: What the training framework gave: its own poses of each frame, and then those of its own repetitions
            under disturbances as small as rounding. Where these differ, rounding alone decides, and each is right.
        found: The same for the boxes of a detector, each as a pose of its two corners; empty without one.
    """

    frames: tuple[Frames, ...]
    told: Told
    answers: tuple[tuple[Poses, ...], ...]
    found: tuple[tuple[Poses, ...], ...] = ()


def write_golden(folder: Path, golden: Golden) -> None:
    """Write pictures and ``answers.npz`` into a bundle's folder; the file holds no pickle."""
    (folder / GOLDEN_ANSWERS).parent.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(golden.frames):
        ok, encoded = cv2.imencode(".png", frame)
        assert ok
        (folder / golden_frame_name(i)).write_bytes(encoded.tobytes())
    arrays = {"count": np.array([len(golden.frames), len(golden.answers), len(golden.found)])}
    arrays |= _packed("answers", _fields_of_poses([p for answer in golden.answers for p in answer]))
    arrays |= _packed("found", _fields_of_poses([p for answer in golden.found for p in answer]))
    if golden.told.boxes is not None:
        arrays |= _packed("told", {"boxes": list(golden.told.boxes)})
    if golden.told.conditions is not None:
        arrays |= _packed("conditions", _fields_of_poses(golden.told.conditions))
    np.savez(folder / GOLDEN_ANSWERS, **arrays)  # type: ignore[arg-type]


def read_golden(bundle: Bundle) -> Golden:
    """Read what ``write_golden`` wrote.

    Raises:
        BundleError: A file that cannot be read.
    """
    path = bundle.file(GOLDEN_ANSWERS)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        frames, answers, found = arrays["count"].tolist()
        poses = [Poses(**one) for one in _unpacked("answers", arrays)]
        boxes = [Poses(**one) for one in _unpacked("found", arrays)]
        told = [one["boxes"] for one in _unpacked("told", arrays)]
        conditions = [Poses(**one) for one in _unpacked("conditions", arrays)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); export the bundle again.") from error
    return Golden(
        frames=tuple(_picture(bundle.file(golden_frame_name(i))) for i in range(frames)),
        told=Told(tuple(told) or None, tuple(conditions) or None),
        answers=tuple(tuple(poses[a * frames : (a + 1) * frames]) for a in range(answers)),
        found=tuple(tuple(boxes[a * frames : (a + 1) * frames]) for a in range(found)),
    )


def golden_frame_name(index: int) -> str:
    """Where a golden frame lies inside the bundle."""
    return f"golden/{index:03d}.png"


def _picture(path: Path) -> Frames:
    frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if frame is None:
        raise BundleError(f"{path}: cannot be read as a picture; copy the bundle again.")
    return frame  # type: ignore[return-value]


def _fields_of_poses(poses: Sequence[Poses]) -> dict[str, list[Array]]:
    """Per field that every one of them has, its arrays."""
    values = {f.name: [getattr(p, f.name) for p in poses] for f in fields(Poses)}
    return {name: arrays for name, arrays in values.items() if all(a is not None for a in arrays)}


def _packed(name: str, columns: dict[str, list[Array]]) -> dict[str, Array]:
    """Arrays of different lengths, each column as one array of all their rows and the length of each."""
    packed: dict[str, Array] = {}
    for column, arrays in columns.items():
        if arrays:
            packed[f"{name}.{column}"] = np.concatenate(arrays)
            packed[f"{name}.{column}.rows"] = np.array([len(a) for a in arrays])
    return packed


def _unpacked(name: str, arrays: dict[str, Array]) -> list[dict[str, Array]]:
    """The inverse: one mapping from column to array for each of the packed things."""
    columns = [key for key in arrays if key.startswith(f"{name}.") and not key.endswith(".rows")]
    split = {
        key.removeprefix(f"{name}."): np.split(arrays[key], np.cumsum(arrays[f"{key}.rows"])[:-1]) for key in columns
    }
    return [dict(zip(split, row, strict=True)) for row in zip(*split.values(), strict=True)]
