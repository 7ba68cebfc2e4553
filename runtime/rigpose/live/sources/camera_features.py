"""The settings of industrial cameras by their standard names (GenICam SFNC): asked for, and read back."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from rigpose.live.faults import LiveError
from rigpose.live.sources.asked import Asked
from rigpose.live.sources.frame_source import Applied
from rigpose.live.sources.pixel_formats import check_format

Value: TypeAlias = bool | int | float | str


class Features(Protocol):
    """A camera's settings, by name."""

    def read(self, name: str) -> Value | None:
        """What it is; none where the camera has no such setting."""
        ...

    def write(self, name: str, value: Value) -> str | None:
        """Set it; why it could not be, or none."""
        ...

    def choices(self, name: str) -> tuple[str, ...]:
        """The words that it may be."""
        ...

    def step(self, name: str) -> tuple[int, int, int]:
        """Least, most and step of a whole number."""
        ...


_RATE = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
_RESULTING_RATE = ("ResultingFrameRate", "ResultingFrameRateAbs", "AcquisitionResultingFrameRate", *_RATE)
_EXPOSURE = ("ExposureTime", "ExposureTimeAbs", "ExposureTimeRaw")


def apply(features: Features, asked: Asked, camera: str) -> Applied:
    """Set what was asked for, and say what became of it.

    Raises:
        LiveError: Its pixels cannot be read, or it cannot be triggered as asked for. Anything else that a camera does
            otherwise than asked for is a sentence in what is returned.
    """
    differences: list[str] = []
    if asked.pixel_format is not None and (why := features.write("PixelFormat", asked.pixel_format)):
        raise LiveError(
            f"{camera}: cannot send pixels as {asked.pixel_format} ({why}); it has "
            f"{', '.join(features.choices('PixelFormat')) or 'one format alone'}."
        )
    check_format(str(features.read("PixelFormat")), camera, features.choices("PixelFormat"))
    for name, wanted in (("Width", asked.width), ("Height", asked.height)):
        if wanted is not None:
            differences += _side(features, name, wanted, camera)
    if asked.exposure is not None:
        differences += _exposure(features, asked.exposure, camera)
    _trigger(features, asked.trigger_line, camera)
    if asked.frames_per_second is not None:
        differences += _rate(features, asked.frames_per_second, camera)
    rate = None if asked.trigger_line is not None else _number(features, _RESULTING_RATE)
    return Applied(_whole(features, "Width"), _whole(features, "Height"), rate, tuple(differences))


def brief(error: Exception) -> str:
    """The first sentence of a driver's message, without its place in the driver's files."""
    return str(error).split(" : ")[0].split(". ")[0].strip().rstrip(".")


def _side(features: Features, name: str, wanted: int, camera: str) -> list[str]:
    """The nearest size that the camera can, not above what was asked for unless its least is."""
    least, most, step = features.step(name)
    possible = min(max(wanted, least), most)
    possible -= (possible - least) % max(step, 1)
    why = features.write(name, possible)
    got = features.read(name)
    if got == wanted:
        return []
    reason = why or f"it can be {least} to {most} in steps of {step}"
    return [f"{camera}: its {name.lower()} is {got} px where {wanted} were asked for; {reason}."]


def _exposure(features: Features, milliseconds: float, camera: str) -> list[str]:
    features.write("ExposureAuto", "Off")
    name = _first(features, _EXPOSURE)
    if name is None:
        return [f"{camera}: its exposure stays its own; it has no setting for it."]
    wanted = 1000 * milliseconds
    # Older cameras count in whole microseconds.
    why = features.write(name, round(wanted) if name.endswith("Raw") else wanted)
    got = _number(features, (name,)) or 0.0
    if abs(got - wanted) <= max(0.01 * wanted, 1.0):
        return []
    return [f"{camera}: its exposure is {got / 1000:g} ms where {milliseconds:g} were asked for{_because(why)}."]


def _rate(features: Features, wanted: float, camera: str) -> list[str]:
    features.write("AcquisitionFrameRateEnable", value=True)
    name = _first(features, _RATE)
    if name is None:
        return [f"{camera}: its rate stays its own; it has no setting for it."]
    why = features.write(name, wanted)
    got = _number(features, _RESULTING_RATE) or 0.0
    if abs(got - wanted) <= 0.01 * wanted:
        return []
    says = f"{camera}: gives {got:g} frames per second where {wanted:g} were asked for{_because(why)}"
    return [f"{says}; a shorter exposure, a smaller picture or a faster port makes room."]


def _trigger(features: Features, line: str | None, camera: str) -> None:
    """Frames by a signal on ``line``, or free; a trigger that somebody left switched on would give no frame at all."""
    features.write("TriggerSelector", "FrameStart")
    if line is None:
        features.write("TriggerMode", "Off")
        return
    for name, value in (("TriggerSource", line), ("TriggerMode", "On")):
        if why := features.write(name, value):
            raise LiveError(
                f"{camera}: cannot be triggered by {line} ({why}); it has "
                f"{', '.join(features.choices('TriggerSource')) or 'no trigger'}."
            )


def _first(features: Features, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if features.read(name) is not None), None)


def _number(features: Features, names: tuple[str, ...]) -> float | None:
    name = _first(features, names)
    value = None if name is None else features.read(name)
    return None if value is None else float(value)


def _whole(features: Features, name: str) -> int:
    return int(features.read(name) or 0)


def _because(why: str | None) -> str:
    return f" ({why})" if why else ""
