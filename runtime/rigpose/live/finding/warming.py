"""How often a shape is run before live frames come."""

from __future__ import annotations

ON_CPU = 1
ON_GPU = 10
"""Sessions that record a run of one shape and play it back later record after eight runs of it; see
``rigpose.sessions.tensorrt``."""


def repeats(device: str) -> int:
    """Runs of each shape."""
    return ON_CPU if device.lower().startswith("cpu") else ON_GPU
