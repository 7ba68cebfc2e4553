"""A run's last word, as a file: how it went, and which frames have no poses and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rigpose.live.faults import LiveError
from rigpose.live.running.ledger import Fate, Missing
from rigpose.live.status import RunStatus
from rigpose.schema import to_mapping

FORMAT = 1


def write_summary(file: Path, status: RunStatus, missing: Mapping[str, Mapping[Fate, Missing]]) -> None:
    """Write both as JSON; the file is there whole or not at all.

    Args:
        file: JSON.
        status: Of the run, when it had stopped.
        missing: Camera -> why -> the numbers of the frames that have no poses.

    Raises:
        LiveError: It cannot be written.
    """
    temporary = file.with_name(f"{file.stem}.writing{file.suffix}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as text:
            json.dump(_summary(status, missing), text, indent=1, allow_nan=False)
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise LiveError(
            f"{file}: cannot be written ({error.strerror}), so that nothing is kept of where the frames went; free the "
            "disk or choose another folder."
        ) from error


def _summary(status: RunStatus, missing: Mapping[str, Mapping[Fate, Missing]]) -> dict[str, Any]:
    told = to_mapping(status)
    told["state"] = status.state.value
    told["sources"] = {camera: kind.value for camera, kind in status.sources.items()}
    told["faults"] = [{**to_mapping(fault), "kind": fault.kind.value} for fault in status.faults]
    told["histogram"] = [[border, count] for border, count in status.histogram.items()]
    told["missing"] = {
        camera: {
            fate.value: {"numbers": written(why.ranges), "not_listed": why.not_listed} for fate, why in fates.items()
        }
        for camera, fates in missing.items()
    }
    return {"format": FORMAT, **_finite(told)}


def written(ranges: tuple[tuple[int, int], ...]) -> str:
    """``((2, 2), (4, 7))`` as ``2,4-7``."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _finite(value: Any) -> Any:
    """JSON knows neither NaN, which nothing came in for, nor infinity, the border of the last bar: both are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
