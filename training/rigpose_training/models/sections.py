"""The ``type`` of a section of ``model`` in a ``pytorch_config.yaml`` chooses the code that is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rigpose.errors import ConfigError
from rigpose.schema import suggest


def choose(table: Mapping[str, Any], section: Mapping[str, Any], *, where: str) -> Any:
    """The row of ``table`` that the section's ``type`` names.

    Raises:
        ConfigError: No such row; the nearest name is suggested.
    """
    kind = str(section.get("type"))
    if kind not in table:
        known = ", ".join(table)
        raise ConfigError(f"{where}.type: {kind!r} is none of {known}{suggest(kind, table)}.")
    return table[kind]
