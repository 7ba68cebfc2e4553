"""``_meta.pickle``: what was run, on what, in DeepLabCut's fields and ours."""

from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rigpose.analyzers.analyzer import ModelFacts
from rigpose.bundles.bundle import Bundle, Display
from rigpose.errors import ResultError
from rigpose.files.pickles import UNREADABLE, load_among_strangers
from rigpose.files.results import whole_file
from rigpose.schema import to_mapping
from rigpose.videos.video import Crop, Video


@dataclass(frozen=True)
class ResultIdentity:
    """Whose results these are.

    Attributes:
        scorer: DeepLabCut's name for them, a part of every file name and table.
        model_checksum: Of the bundle; an interrupted analysis goes on only with the same one.
        pytorch_config: The training configuration, for the metadata.
        model_config_file: The same in the older form that some tools ask the metadata for.
        display: Drawing defaults, for the metadata.
    """

    scorer: str
    model_checksum: str
    pytorch_config: Mapping[str, Any] = field(default_factory=dict)
    model_config_file: Mapping[str, Any] = field(default_factory=dict)
    display: Display = field(default_factory=Display)

    @classmethod
    def of(cls, bundle: Bundle) -> ResultIdentity:
        """Whose results a bundle's are."""
        config = bundle.pytorch_config()
        return cls(
            scorer=bundle.manifest.scorer,
            model_checksum=bundle.checksum,
            pytorch_config=config,
            model_config_file=config,
            display=bundle.manifest.display,
        )


@dataclass(frozen=True)
class RunFacts:
    """What is known when the last frame is through.

    Attributes:
        begun: Unix time [s].
        frames_per_second: Of the analysis.
        batch: Frames per batch.
        decoded: Frames that could be decoded.
        lost: Camera frames that are missing for certain; they have empty rows.
        settings: What was chosen for this run.
    """

    begun: float
    frames_per_second: float
    batch: int
    decoded: int
    lost: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def video_meta(model: ModelFacts, source: Video, identity: ResultIdentity, facts: RunFacts) -> dict[str, Any]:
    """DeepLabCut's metadata fields, with ours under ``rigpose``."""
    now, spec = time.time(), model.spec
    crop = source.crop or Crop(0, source.full_size[1], 0, source.full_size[0])
    return {
        "start": facts.begun,
        "stop": now,
        "run_duration": now - facts.begun,
        "Scorer": identity.scorer,
        "pytorch-config": _plain(identity.pytorch_config),
        "DLC-model-config file": _plain(identity.model_config_file),
        "fps": round(source.frames_per_second, 2),
        "batch_size": facts.batch,
        "frame_dimensions": (source.width, source.height),
        "nframes": facts.decoded + len(facts.lost),
        "iteration (active-learning)": 0,
        "training set fraction": None,
        "cropping": source.crop is not None,
        "cropping_parameters": [crop.x1, crop.x2, crop.y1, crop.y2],
        "individuals": list(spec.individuals),
        "bodyparts": list(spec.keypoints),
        "unique_bodyparts": list(spec.unique_keypoints),
        "rigpose": {
            "model_checksum": identity.model_checksum,
            "device": model.device,
            "options": _plain(facts.settings),
            "decoder": source.decoder,
            "frames_reported": source.frames_reported,
            "frames_decoded": facts.decoded,
            "missing_frames": list(facts.lost),
            "frames_per_second": facts.frames_per_second,
            "skeleton": [list(pair) for pair in spec.skeleton],
            "display": _plain(identity.display),
        },
    }


def write_meta(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``_meta.pickle``; builtin types only, so that reading it can run nothing."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        pickle.dump({"data": dict(data)}, file, protocol=pickle.HIGHEST_PROTOCOL)


def read_meta(path: Path) -> dict[str, Any] | None:
    """The facts of a ``_meta.pickle``; none if there is no such file.

    DeepLabCut's own holds paths and enumerations, too; in their places are strangers.

    Raises:
        ResultError: The file is damaged or holds no facts.
    """
    try:
        facts = load_among_strangers(path.read_bytes())["data"]
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as cause:
        raise _no_metadata(path) from cause
    if not isinstance(facts, dict):
        raise _no_metadata(path)
    return facts


def made_otherwise(path: Path, settings: Mapping[str, Any], cropping: Crop | None) -> bool:
    """Whether a ``_meta.pickle`` says that an analysis had other settings or another part of the frames.

    Where it does not say, as DeepLabCut's does not, nothing is known to differ.
    """
    try:
        facts = read_meta(path) or {}
    except ResultError:
        return False
    ours = facts.get("rigpose")
    if not isinstance(ours, dict) or "options" not in ours:
        return False
    crop = facts.get("cropping_parameters") if facts.get("cropping") else None
    wanted = [cropping.x1, cropping.x2, cropping.y1, cropping.y2] if cropping else None
    return _differs(ours["options"], _plain(settings)) or crop != wanted


def _differs(made: Any, wanted: Any) -> bool:
    """Whether any setting that both name has another value."""
    if isinstance(made, Mapping) and isinstance(wanted, Mapping):
        return any(_differs(made[key], wanted[key]) for key in made.keys() & wanted.keys())
    return made != wanted


def _no_metadata(path: Path) -> ResultError:
    return ResultError(f"{path} is damaged or no metadata of an analysis; run rigpose analyze again with --overwrite.")


def _plain(value: Any) -> Any:
    """Builtin containers, strings and numbers only."""
    value = to_mapping(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
