"""What stands in the drawn world besides animals: a shelter to disappear under, and a landmark on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rigpose.arrays import Floats, Frames
from rigpose_training.scene.drawing import Canvas, Colour, circle

PLANKS = 5
GAP: Colour = (38, 62, 88)
POST: Colour = (30, 48, 70)
# A shelter hides an animal from snout to tail base, 66 px at scale 1, when it stands in the middle.
HALF_SIDE = 40.0
LANDMARK_RADIUS = 8.0


@dataclass(frozen=True)
class Shelter:
    """A roof of planks on four posts: animals walk under it and come out again.

    Attributes:
        centre: (2,) its middle [scene px].
        angle: Of the planks, clockwise from the right [radians].
        scale: Size, as that of animals.
        tones: (PLANKS,) how light each plank is, around 0.
    """

    centre: Floats
    angle: float
    scale: float
    tones: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int], scale: float) -> Shelter:
        """A shelter somewhere around the middle of a picture of size (H, W)."""
        height, width = size
        return cls(
            centre=rng.uniform(0.35, 0.65, 2) * (width, height),
            angle=float(rng.uniform(0, np.pi)),
            scale=scale,
            tones=rng.normal(0, 11, PLANKS),
        )

    def outline(self) -> Floats:
        """(4, 2) corners of the roof [scene px]."""
        return self._rectangle((-1.0, 1.0), (-1.0, 1.0))

    def paint(self, picture: Frames) -> None:
        """Put it into the picture, in place, above everything that is there."""
        reach = (1.5 * HALF_SIDE + 8) * self.scale
        low, high = self.centre - reach, np.ceil(self.centre + reach)
        canvas = Canvas(picture, int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        canvas.shade(self._rectangle((-1.03, 1.03), (-1.03, 1.03)) + 4.0 * self.scale)
        canvas.polygon(self.outline(), GAP)
        edges = np.linspace(-1, 1, PLANKS + 1)
        for i, tone in enumerate(self.tones):
            near, far = edges[i] + 0.02, edges[i + 1] - 0.02
            canvas.polygon(self._rectangle((-0.99, 0.99), (near, far)), _wood(float(tone)))
            lit = near + 0.3 * (far - near)
            canvas.polygon(self._rectangle((-0.97, 0.97), (near + 0.03, lit)), _wood(float(tone) + 9.0))
        for across in (-0.82, 0.82):
            for along in (-0.82, 0.82):
                nail = self._rectangle((across, across), (along, along))[0]
                canvas.disc(nail, 2.0 * self.scale, POST)
        canvas.finish()

    def _rectangle(self, along: tuple[float, float], across: tuple[float, float]) -> Floats:
        """(4, 2) corners of a part of the roof, whose sides reach from -1 to 1."""
        x = np.array([np.cos(self.angle), np.sin(self.angle)])
        y = np.array([-x[1], x[0]])
        corners = [along[i] * x + across[j] * y for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
        return self.centre + HALF_SIDE * self.scale * np.stack(corners)


@dataclass(frozen=True)
class Landmark:
    """A round plate that is let into the ground near a corner: a keypoint that exists once per frame.

    Attributes:
        centre: (2,) its middle [scene px].
        scale: Size, as that of animals.
    """

    centre: Floats
    scale: float

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int], scale: float) -> Landmark:
        """A plate in one of the corners of a picture of size (H, W)."""
        height, width = size
        corner = rng.integers(0, 2, 2)
        margin = rng.uniform(0.12, 0.18, 2)
        return cls(centre=np.abs(corner - margin) * (width - 1, height - 1), scale=scale)

    def paint(self, picture: Frames) -> None:
        """Put it into the ground, in place."""
        reach = (LANDMARK_RADIUS + 4) * self.scale
        low, high = self.centre - reach, np.ceil(self.centre + reach)
        canvas = Canvas(picture, int(low[0]), int(low[1]), int(high[0]), int(high[1]))
        canvas.shade(circle(self.centre, 1.05 * LANDMARK_RADIUS * self.scale))
        for share, colour in ((1.0, (206, 204, 200)), (0.62, (92, 66, 40)), (0.26, (222, 222, 220))):
            canvas.disc(self.centre, share * LANDMARK_RADIUS * self.scale, colour)
        canvas.finish()


def _wood(tone: float) -> Colour:
    return (int(64 + 0.7 * tone), int(100 + 0.9 * tone), int(134 + tone))
