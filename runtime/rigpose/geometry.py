"""The pixel convention, in one place.

The first pixel covers 0..1, so a change of frame is a pure scale and shift, and a half appears only where an
index becomes a coordinate: map cell ``i`` at stride ``s`` has its centre at ``(i + 0.5) * s``.
DeepLabCut's single-animal decoder uses the same arithmetic. Its labels are pixel indices without that half;
training and evaluation use them as they are on disk, exactly as DeepLabCut does, so that errors compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Floats


def cells_to_pixels(cells: Floats, stride: float) -> Floats:
    """Centres of map cells in network-input pixels, (..., 2) -> (..., 2)."""
    return (cells + 0.5) * stride


@dataclass(frozen=True)
class ScaleShift:
    """A change of frame: ``xy * scale + shift``, per axis.

    Attributes:
        scale: (x, y) target px per source px.
        shift: (x, y) [target px].
    """

    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def apply(self, xy: Floats) -> Floats:
        """(..., 2) source px -> (..., 2) target px, in the dtype of ``xy``."""
        dtype = xy.dtype
        return xy * np.asarray(self.scale, dtype) + np.asarray(self.shift, dtype)

    def inverse(self) -> ScaleShift:
        """The way back."""
        (sx, sy), (tx, ty) = self.scale, self.shift
        return ScaleShift((1 / sx, 1 / sy), (-tx / sx, -ty / sy))
