"""Run by DeepLabCut's own Python: records the ``pytorch_config.yaml`` of every model in several kinds of project.

Usage: python record_pose_configs.py FILE

One line of JSON per configuration: its leaves by dotted key, as far as they differ from those of the earlier line that
``like`` names; ``absent`` lists the keys that only the earlier one has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from deeplabcut.pose_estimation_pytorch.config.pose import PoseConfig  # pyright: ignore[reportMissingImports]
from deeplabcut.pose_estimation_pytorch.config.utils import (  # pyright: ignore[reportMissingImports]
    available_detectors,
    available_models,
)

BODYPARTS = ["snout", "leftear", "rightear", "tailbase"]
ANIMALS = ["one", "two", "three"]
WEIGHTS = {
    "snapshot_path": "/weights/snapshot.pt",
    "dataset": "other",
    "with_decoder": True,
    "conversion_array": [3, 1, 2, 0],
    "bodyparts": BODYPARTS,
}


def project(*, several: bool, unique: tuple[str, ...] = (), identity: bool = False) -> dict[str, Any]:
    """``config.yaml`` of a project."""
    names = (
        {"bodyparts": "MULTI!", "multianimalbodyparts": BODYPARTS, "individuals": ANIMALS}
        if several
        else {"bodyparts": BODYPARTS}
    )
    return {
        "Task": "drawn",
        "scorer": "me",
        "date": "Nov20",
        "project_path": "/project",
        "multianimalproject": several,
        "identity": identity,
        "uniquebodyparts": list(unique),
        "video_sets": {},
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        **names,
    }


KINDS = {
    "single": project(several=False),
    "multi": project(several=True),
    "unique": project(several=True, unique=("corner", "door")),
    "identity": project(several=True, identity=True),
}


def build(kind: str, net_type: str, **options: Any) -> dict[str, Any]:
    """Leaves by dotted key of one configuration, or that DeepLabCut refuses it."""
    if net_type.startswith("ctd_"):
        options.setdefault("ctd_conditions", 1)
    top_down = net_type.startswith("top_down_")
    try:
        config = PoseConfig.build(
            KINDS[kind],
            "/project/pytorch_config.yaml",
            net_type=net_type.removeprefix("top_down_"),
            top_down=top_down,
            **options,
        )
    except ValueError:
        return {"refused": True}
    return flat(plain(config.to_dict()))


def plain(value: Any) -> Any:
    """Names instead of enumerations, texts instead of paths."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    value = getattr(value, "value", value)
    return value.tolist() if hasattr(value, "tolist") else value


def flat(value: Any, where: str = "") -> dict[str, Any]:
    """Leaves by dotted key."""
    if isinstance(value, dict) and value:
        return {k: v for key, item in value.items() for k, v in flat(item, f"{where}.{key}".lstrip(".")).items()}
    return {where: value}


def line(name: str, leaves: dict[str, Any], earlier: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One configuration as its difference from the earlier one that is most like it."""
    candidates: list[dict[str, Any]] = [{"name": name, "like": None, "changes": leaves, "absent": []}]
    for like, base in earlier.items():
        changes = {k: v for k, v in leaves.items() if k not in base or repr(base[k]) != repr(v)}
        candidates.append({"name": name, "like": like, "changes": changes, "absent": sorted(base.keys() - leaves)})
    return min(candidates, key=lambda candidate: len(json.dumps(candidate)))


def main() -> None:
    """Write the file."""
    found = {f"{kind}/{name}": build(kind, name) for kind in KINDS for name in available_models()}
    for detector in available_detectors():
        found[f"detector/{detector}"] = build("multi", "top_down_resnet_50", detector_type=detector)
    found["conditions/index"] = build("multi", "ctd_coam_w32", ctd_conditions=(3, -2))
    found["conditions/name"] = build("multi", "ctd_coam_w32", ctd_conditions=(3, "snapshot-010.pt"))
    found["weights/resnet_50"] = build("single", "resnet_50", weight_init=WEIGHTS)
    earlier: dict[str, dict[str, Any]] = {}
    with Path(sys.argv[1]).open("w", encoding="utf-8") as file:
        for name, leaves in found.items():
            file.write(json.dumps(line(name, leaves, earlier)) + "\n")
            if "refused" not in leaves:
                earlier[name] = leaves


if __name__ == "__main__":
    main()
