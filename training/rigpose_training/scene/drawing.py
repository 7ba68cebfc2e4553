"""How the drawn world looks: the ground, and a mouse seen from above.

Everything is drawn enlarged and averaged down, so that an edge moves by fractions of a pixel with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rigpose.arrays import Array, Floats, Frames

ENLARGED = 3
# px at scale 1: how far the animal reaches from its centre (the tip of the tail), and room for the shadow.
REACH = 58.0
MARGIN = 8.0

Colour = tuple[int, int, int]
"""BGR."""


@dataclass(frozen=True)
class Look:
    """Colours of the animal. Left and right differ, as if an ear tag had been put in.

    ``dye`` is that of a collar and of a patch on the hips, which tell an animal from the others; None for neither.
    """

    fur: Colour = (74, 82, 92)
    back: Colour = (98, 108, 120)
    flank: Colour = (176, 188, 196)
    skin: Colour = (150, 158, 205)
    snout: Colour = (128, 120, 232)
    leftear: Colour = (96, 196, 240)
    rightear: Colour = (176, 104, 60)
    spine: Colour = (222, 232, 236)
    tailbase: Colour = (40, 36, 150)
    tailtip: Colour = (214, 214, 120)
    dye: Colour | None = None


@dataclass(frozen=True)
class Posture:
    """One animal at one moment [scene px, radians].

    Attributes:
        centre: (x, y) of the middle of the back.
        heading: Direction of the back; 0 is to the right, growing clockwise as y points down.
        bend: Turn of the body from tail to head.
        head: Turn of the head against the body.
        wag: Turn of the tail against the body.
        stride: Phase of the gait.
        scale: Size, 1 for an animal of about 94 px.
    """

    centre: tuple[float, float]
    heading: float
    bend: float
    head: float
    wag: float
    stride: float
    scale: float


@dataclass(frozen=True)
class Anatomy:
    """A posture as points (x, y) [scene px].

    Attributes:
        back: (S, 2) the midline from the tail's base to the neck.
        tail: (T, 2) from its base to its tip.
        normal: (S, 2) unit vectors to the animal's left along ``back``.
        ahead: (2,) unit vector along the head.
        keypoints: (6, 2) snout, left ear, right ear, spine, base of the tail, tip of the tail.
    """

    back: Floats
    tail: Floats
    normal: Floats
    ahead: Floats
    keypoints: Floats


def anatomy(posture: Posture) -> Anatomy:
    """Bend a straight animal into its posture."""
    along = np.linspace(-28.0, 20.0, 33)  # px from the centre, tail to neck
    angles = posture.heading + posture.bend * along / 48.0
    middle = 0.5 * (angles[1:] + angles[:-1])
    steps = np.stack([np.cos(middle), np.sin(middle)], axis=-1) * np.diff(along)[:, None]
    back = np.concatenate([np.zeros((1, 2)), steps.cumsum(axis=0)])
    back -= [np.interp(0.0, along, back[:, axis]) for axis in (0, 1)]

    reach = np.linspace(0.0, 1.0, 15)  # base to tip
    swing = angles[0] + np.pi + posture.wag * np.sin(np.pi * 0.8 * reach)
    tail_steps = np.stack([np.cos(swing), np.sin(swing)], axis=-1)[1:] * (28.0 / 14)
    tail = back[0] + np.concatenate([np.zeros((1, 2)), tail_steps.cumsum(axis=0)])

    gaze = angles[-1] + posture.head
    ahead = np.array([np.cos(gaze), np.sin(gaze)])
    left = np.array([np.sin(gaze), -np.cos(gaze)])
    neck, spine = back[-1], (back[14] + back[15]) / 2
    points = [
        neck + 18.0 * ahead,
        neck + 2.0 * ahead + 9.5 * left,
        neck + 2.0 * ahead - 9.5 * left,
        spine,
        back[0],
        tail[-1],
    ]
    place = np.asarray(posture.centre)
    return Anatomy(
        back=place + posture.scale * back,
        tail=place + posture.scale * tail,
        normal=np.stack([np.sin(angles), -np.cos(angles)], axis=-1),
        ahead=ahead,
        keypoints=place + posture.scale * np.stack(points),
    )


class Canvas:
    """A patch of the picture, enlarged: paints in scene px, pixel-index convention."""

    def __init__(self, picture: Frames, left: int, top: int, right: int, bottom: int) -> None:
        height, width = picture.shape[:2]
        self.window = (
            slice(max(top, 0), min(bottom, height)),
            slice(max(left, 0), min(right, width)),
        )
        self._picture = picture
        self._origin = np.array([self.window[1].start, self.window[0].start])
        patch = picture[self.window]
        size = (patch.shape[1] * ENLARGED, patch.shape[0] * ENLARGED)
        self._paint = np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_LINEAR))

    def polygon(self, points: Floats, colour: Colour) -> None:
        """Fill a closed outline."""
        cv2.fillPoly(self._paint, [self._fixed(points)], colour, cv2.LINE_AA, shift=4)

    def disc(self, centre: Floats, radius: float, colour: Colour) -> None:
        """Fill a circle; its centre of mass is ``centre``."""
        self.polygon(circle(centre, radius), colour)

    def shade(self, outline: Floats) -> None:
        """Darken the inside of an outline, with a soft edge."""
        shadow = np.zeros(self._paint.shape[:2], np.uint8)
        cv2.fillPoly(shadow, [self._fixed(outline)], 110, cv2.LINE_AA, shift=4)
        shadow = cv2.blur(cv2.blur(shadow, (11, 11)), (11, 11))
        light = cv2.merge([255 - shadow] * 3)
        cv2.multiply(self._paint, light, dst=self._paint, scale=1 / 255)

    def finish(self) -> None:
        """Average the patch down into the picture."""
        patch = self._picture[self.window]
        size = (patch.shape[1], patch.shape[0])
        patch[:] = cv2.resize(self._paint, size, interpolation=cv2.INTER_AREA)

    def _fixed(self, points: Floats) -> Array:
        # Pixel i covers i - 0.5 .. i + 0.5 and becomes ENLARGED pixels; OpenCV's shift=4 counts 1/16 px.
        enlarged = (points - self._origin + 0.5) * ENLARGED - 0.5
        return np.round(enlarged * 16).astype(np.int32)


def draw_animal(picture: Frames, body: Anatomy, posture: Posture, look: Look) -> None:
    """Paint one animal into the picture, in place."""
    reach = (REACH + MARGIN) * posture.scale
    x, y = posture.centre
    edges = [int(v) for v in (x - reach, y - reach, np.ceil(x + reach), np.ceil(y + reach))]
    canvas = Canvas(picture, *edges)
    canvas.shade(_outline(body, 1.05 * _widths(posture.scale)) + 2.0 * posture.scale)
    for place in _paw_places(body, posture):
        canvas.disc(place, 3.2 * posture.scale, look.skin)
    canvas.polygon(_tail_outline(body, posture.scale), look.skin)
    _torso(canvas, body, posture.scale, look)
    if look.dye is not None:
        _dye(canvas, body, posture.scale, look.dye)
    _head(canvas, body, posture.scale, look)
    _marks(canvas, body, posture.scale, look)
    canvas.finish()


def silhouette(body: Anatomy, scale: float) -> list[Floats]:
    """Outlines of torso, head and ears, each (P, 2) [scene px]."""
    ears = [circle(ear, 6.4 * scale) for ear in body.keypoints[1:3]]
    return [_outline(body, _widths(scale)), _head_outline(body, scale), *ears]


def limbs(body: Anatomy, posture: Posture) -> list[Floats]:
    """Outlines of what reaches beyond the silhouette: paws, tail and its two marks, each (P, 2) [scene px]."""
    scale = posture.scale
    paws = [circle(place, 3.2 * scale) for place in _paw_places(body, posture)]
    marks = [circle(body.keypoints[4], 3.6 * scale), circle(body.keypoints[5], 2.6 * scale)]
    return [_tail_outline(body, scale), *paws, *marks]


def circle(centre: Floats, radius: float) -> Floats:
    """(32, 2) points around a centre [scene px]."""
    angle = np.linspace(0, 2 * np.pi, 33)[:-1]
    return centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def draw_ground(size: tuple[int, int], seed: int) -> Frames:
    """Bedding: soft light and dark patches, chips and pebbles, (H, W, 3)."""
    rng = np.random.default_rng(seed)
    height, width = size
    light = np.zeros((height, width), np.float32)
    for cells, strength in ((3, 16.0), (8, 10.0), (24, 6.0), (96, 4.0)):
        coarse = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        light += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    ground = np.array([128, 148, 160], np.float32) + light[..., None] * [0.9, 1.0, 1.05]
    picture = np.clip(ground, 40, 225).astype(np.uint8)
    canvas = Canvas(picture, 0, 0, width, height)
    for _ in range(height * width // 550):
        _chip(canvas, rng, width, height)
    canvas.finish()
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.7), np.uint8)


def _chip(canvas: Canvas, rng: np.random.Generator, width: int, height: int) -> None:
    """One chip of wood, or now and then a pebble."""
    place = rng.uniform(0, 1, 2) * (width, height)
    tone = float(rng.normal(0, 22))
    colour = (int(120 + tone * 0.9), int(146 + tone), int(162 + tone))
    if rng.random() < 0.06:
        canvas.disc(place, rng.uniform(2, 5.5), (int(112 + tone), int(116 + tone), int(118 + tone)))
        return
    angle, length, thick = rng.uniform(0, np.pi), rng.uniform(3, 9), rng.uniform(0.6, 1.8)
    along = np.array([np.cos(angle), np.sin(angle)]) * length
    across = np.array([-np.sin(angle), np.cos(angle)]) * thick
    corners = np.stack([along + across, along - across, -along - across, across - along])
    canvas.polygon(place + corners, colour)


def _outline(body: Anatomy, width: Floats) -> Floats:
    left, right = body.back + width[:, None] * body.normal, body.back - width[:, None] * body.normal
    return np.concatenate([left, right[::-1]])


def _widths(scale: float) -> Floats:
    """(33,) half width of the torso from the tail's base to the neck: broad hips, narrower shoulders."""
    along = np.linspace(0, 1, 33)
    return scale * np.interp(along, [0, 0.06, 0.2, 0.42, 0.7, 1.0], [3.0, 8.5, 13.5, 15.0, 12.0, 9.0])


def _paw_places(body: Anatomy, posture: Posture) -> list[Floats]:
    places = []
    for at, side, offset in ((27, 1, 0.0), (27, -1, np.pi), (7, 1, np.pi), (7, -1, 0.0)):
        swing = 4.0 * np.sin(posture.stride + offset)
        forward = np.array([-body.normal[at, 1], body.normal[at, 0]])
        reach = (13.0 if at > 16 else 16.5) * side
        places.append(body.back[at] + posture.scale * (reach * body.normal[at] + (swing + 2) * forward))
    return places


def _tail_outline(body: Anatomy, scale: float) -> Floats:
    along = np.gradient(body.tail, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([along[:, 1], -along[:, 0]], axis=-1)
    thick = scale * np.linspace(2.6, 1.0, len(body.tail))[:, None]
    return np.concatenate([body.tail + thick * across, (body.tail - thick * across)[::-1]])


def _torso(canvas: Canvas, body: Anatomy, scale: float, look: Look) -> None:
    widths = _widths(scale)
    canvas.polygon(_outline(body, widths), look.fur)
    canvas.polygon(_outline(body, widths * 0.62), look.back)
    patch = slice(9, 22)  # a pale patch on the left flank only
    near = body.back[patch] + 0.45 * widths[patch, None] * body.normal[patch]
    far = body.back[patch] + 0.92 * widths[patch, None] * body.normal[patch]
    canvas.polygon(np.concatenate([near, far[::-1]]), look.flank)


def _dye(canvas: Canvas, body: Anatomy, scale: float, colour: Colour) -> None:
    """A patch across the hips and a collar behind the ears."""
    widths = _widths(scale)[:, None]
    for part, share in ((slice(4, 10), 0.8), (slice(27, 31), 1.0)):
        across = share * widths[part] * body.normal[part]
        canvas.polygon(np.concatenate([body.back[part] + across, (body.back[part] - across)[::-1]]), colour)


def _head_outline(body: Anatomy, scale: float, share: float = 1.0) -> Floats:
    left = np.array([body.ahead[1], -body.ahead[0]])
    at = np.array([-6.0, -1.0, 5.0, 11.0, 16.0, 19.5])[:, None] * scale
    half = share * np.array([9.5, 10.0, 9.0, 6.5, 4.0, 1.5])[:, None] * scale
    middle = body.back[-1] + at * body.ahead
    return np.concatenate([middle + half * left, (middle - half * left)[::-1]])


def _head(canvas: Canvas, body: Anatomy, scale: float, look: Look) -> None:
    snout, neck = body.keypoints[0], body.back[-1]
    left = np.array([body.ahead[1], -body.ahead[0]])
    canvas.polygon(_head_outline(body, scale), look.fur)
    canvas.polygon(_head_outline(body, scale, share=0.5), look.back)
    for side in (1, -1):
        canvas.disc(neck + scale * (9.0 * body.ahead + side * 5.6 * left), 1.6 * scale, (22, 20, 24))
    canvas.disc(snout, 2.9 * scale, look.snout)


def _marks(canvas: Canvas, body: Anatomy, scale: float, look: Look) -> None:
    _, leftear, rightear, spine, tailbase, tailtip = body.keypoints
    for ear, colour in ((leftear, look.leftear), (rightear, look.rightear)):
        canvas.disc(ear, 6.4 * scale, look.fur)
        canvas.disc(ear, 5.2 * scale, colour)
    canvas.disc(spine, 3.6 * scale, look.spine)
    canvas.disc(tailbase, 3.6 * scale, look.tailbase)
    canvas.disc(tailtip, 2.6 * scale, look.tailtip)
