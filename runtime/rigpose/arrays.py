"""Names for the arrays that cross modules."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Frames: TypeAlias = NDArray[np.uint8]
"""Colour frames ``(..., H, W, 3)`` in BGR order, as OpenCV gives them."""
Array: TypeAlias = NDArray[Any]
