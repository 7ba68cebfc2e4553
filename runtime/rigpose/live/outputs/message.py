"""A result as one JSON text, for receivers in other programs.

JSON and not packed numbers, because every language reads it without a description of the layout, the names travel with
the numbers, and a receiver that comes late has missed nothing. In MATLAB ``jsondecode(message)`` is all there is to do,
and null becomes NaN; in Bonsai a ``SubscriberSocket``, ``ConvertToString`` and a Python or C# node do the same. Five
animals of twenty keypoints are some 3 kB.

``rigpose_pose`` (1) is the version of this layout; fields are only ever added within one.

    rigpose_pose  1
    safe          true in place of everything else but ``triggers``: poses are stale, act as if there were none
    camera        name
    frame         the camera's own count; a gap is a frame that was never seen
    exposed       [s], like all times by the run's monotonic clock, so only differences mean anything
    found         [s] the poses were there
    exposed_unix  [s] since 1970, as the computer's clock has it
    keypoints     K names
    animals       list of {id, xy, score}: number or -1; K pairs x, y [frame px]; K scores; null where one is missing
    predicted     list of K pairs per animal, ``lead`` [s] after ``exposed``; null where nothing predicts
    unique        {name: [x, y, score]} of keypoints that exist once per frame
    lost          whether an animal that was followed is lost, or nothing was found
    triggers      {rule: true or false}
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from rigpose.arrays import Floats
from rigpose.live.clock import Clock
from rigpose.live.live_pose import LivePose
from rigpose.models.model_spec import ModelSpec

VERSION = 1


def pose_message(pose: LivePose, spec: ModelSpec, clock: Clock) -> bytes:
    """One result in UTF-8, coordinates and scores to a thousandth."""
    poses, stamps = pose.poses, pose.stamps
    animals = zip(pose.ids.tolist(), _listed(poses.xy), _listed(poses.score), strict=True)
    content: dict[str, Any] = {
        "rigpose_pose": VERSION,
        "safe": False,
        "camera": pose.frame.camera,
        "frame": pose.frame.number,
        "exposed": stamps.exposed,
        "found": stamps.found,
        "exposed_unix": time.time() - (clock() - stamps.exposed),
        "keypoints": spec.keypoints,
        "animals": [{"id": number, "xy": xy, "score": score} for number, xy, score in animals],
        "predicted": None if pose.predicted is None else _listed(pose.predicted.xy),
        "lead": pose.lead,
        "unique": {} if poses.unique is None else dict(zip(spec.unique_keypoints, _listed(poses.unique), strict=True)),
        "lost": pose.found.lost,
        "triggers": {rule: bool(on) for rule, on in pose.triggers.items()},
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def safe_message(rules: Iterable[str]) -> bytes:
    """What is sent in the safe state: no poses, and all rules off."""
    content = {"rigpose_pose": VERSION, "safe": True, "triggers": dict.fromkeys(rules, False)}
    return json.dumps(content, separators=(",", ":")).encode()


def _listed(values: Floats) -> Any:
    """Nested lists with none for NaN, which JSON does not have."""
    rounded = np.round(values.astype(np.float64), 3).astype(object)
    rounded[np.isnan(values)] = None
    return rounded.tolist()
