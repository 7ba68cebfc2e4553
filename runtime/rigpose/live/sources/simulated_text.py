"""What a user types of a simulated camera, such as ``simulated:640x480@100,animals=3,drop=0.02`` -> the camera."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rigpose.live.faults import LiveError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.simulated import SimulatedCamera, SimulatedFaults
from rigpose.schema import suggest

SIMULATED = "simulated"
"""What such a text begins with."""


@dataclass(frozen=True)
class _Kind:
    """Of values.

    Attributes:
        words: What one is, for people.
        units: What may be written behind the number -> what it counts, in the unit of ``SimulatedCamera``.
        pattern: Of the number.
    """

    words: str
    units: Mapping[str, float]
    pattern: str = r"\d+(?:\.\d*)?|\.\d+"

    def read(self, text: str) -> float | None:
        """The value; none where the text is no such one."""
        said = re.fullmatch(rf"({self.pattern})({'|'.join(map(re.escape, self.units))})", text)
        return None if said is None else float(said[1]) * self.units[said[2]]


_WHOLE = _Kind("a whole number, such as 3", {"": 1}, r"\d{1,9}")
_RATE = _Kind("frames per second, such as 100", {"": 1})
_SHARE = _Kind("a share of the frames, such as 0.02 or 2%", {"": 1, "%": 0.01})
_SECONDS = _Kind("a time in seconds, such as 12 or 500ms", {"": 1, "s": 1, "ms": 0.001})
_MILLISECONDS = _Kind("a time in milliseconds, such as 5 or 0.005s", {"": 0.001, "ms": 0.001, "s": 1})
_DRIFT = _Kind("parts per million, such as 50 or -50", {"": 1, "ppm": 1}, r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")

_FAULTS = {
    "drop": ("drop", _SHARE),
    "jitter": ("jitter", _MILLISECONDS),
    "late": ("late", _SHARE),
    "late_by": ("late_by", _MILLISECONDS),
    "freeze": ("freeze_after", _SECONDS),
    "freeze_for": ("freeze_for", _SECONDS),
    "unplug": ("unplug_after", _SECONDS),
    "drift": ("clock_drift_ppm", _DRIFT),
}
"""Setting -> the attribute of ``SimulatedFaults`` that it is, and the kind of its values."""
_KINDS = {
    "animals": _WHOLE,
    "fps": _RATE,
    "seconds": _SECONDS,
    "seed": _WHOLE,
    **{key: kind for key, (_, kind) in _FAULTS.items()},
}
SETTINGS = tuple(_KINDS)
"""Each is typed as ``SETTING=VALUE``."""
_NEEDS = {"late_by": "late", "freeze_for": "freeze"}
"""Settings that say how, of others that say whether."""
_FORMAT = re.compile(r"(?:(\d{1,9})x(\d{1,9}))?(?:@(.*))?")


def simulated_camera(text: str, asked: Asked, *, name: str = SIMULATED, seed: int = 0) -> SimulatedCamera:
    """Make the camera.

    Args:
        text: ``simulated``, then size, rate and settings, all of which may be left out:
            ``simulated:WIDTHxHEIGHT@FPS,SETTING=VALUE,...``.
        asked: Size and rate, where the text says none.
        name: What its frames call their camera.
        seed: Where the text says none.

    Raises:
        LiveError: There is no such setting, or its value makes no sense.
    """
    size, given = _read(text)
    width, height = size or (asked.width or 640, asked.height or 480)
    for key, other in _NEEDS.items():
        if key in given and other not in given:
            raise LiveError(f"{text}: {key} is given and {other} is not; add {other}=..., or leave {key} out.")
    seconds = given.get("seconds")
    return SimulatedCamera(
        name,
        width,
        height,
        given.get("fps", asked.frames_per_second or 100.0),
        animals=int(given.get("animals", 1)),
        seconds=seconds,
        seed=int(given.get("seed", seed)),
        faults=SimulatedFaults(**{field: given[key] for key, (field, _) in _FAULTS.items() if key in given}),
    )


def _read(text: str) -> tuple[tuple[int, int] | None, dict[str, float]]:
    """Width and height [px], if they are said, and setting -> value."""
    rest = text.removeprefix(SIMULATED).removeprefix(":")
    size: tuple[int, int] | None = None
    given: dict[str, float] = {}
    for word in rest.split(",") if rest else ():
        key, equals, value = word.partition("=")
        if not equals and key not in _KINDS:
            said = _FORMAT.fullmatch(word) if word else None
            if said is None or (size is not None and said[1]):
                raise LiveError(
                    f"{text}: {word or 'nothing between two commas'} is neither a size and rate, such as 640x480@100, "
                    f"nor a setting, such as drop=0.02; there are {_listed()}."
                )
            if said[1]:
                size = int(said[1]), int(said[2])
            if said[3] is None:
                continue
            key, value = "fps", said[3]
        if key not in _KINDS:
            raise LiveError(
                f"{text}: {key or 'nothing'} is no setting of a simulated camera, which has {_listed()}"
                f"{suggest(key, SETTINGS)}."
            )
        if key in given:
            raise LiveError(f"{text}: {key} is said twice; say it once.")
        number = _KINDS[key].read(value)
        if number is None:
            raise LiveError(f"{text}: {key} is {_KINDS[key].words}, and not {value or 'nothing'}.")
        given[key] = number
    return size, given


def _listed() -> str:
    return f"{', '.join(SETTINGS[:-1])} and {SETTINGS[-1]}"
