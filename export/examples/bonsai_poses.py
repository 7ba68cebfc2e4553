"""Poses for Bonsai's Python scripting: an Eval of poses(image) behind a Set of image."""

import ctypes

import numpy as np

import rigpose

BUNDLE = r"C:\models\my.bundle"
analyzer = rigpose.load(BUNDLE)


def poses(image):
    """List the keypoints of each animal in an OpenCV.Net image of 8 bits, in colour or grey: name, x, y, score."""
    start = ctypes.c_uint8 * (image.WidthStep * image.Height)
    rows = np.frombuffer(start.from_address(image.ImageData.ToInt64()), np.uint8).reshape(image.Height, -1)
    frame = rows[:, : image.Width * image.Channels].reshape(image.Height, image.Width, image.Channels)
    if image.Channels == 1:
        frame = np.repeat(frame, 3, axis=2)
    (found,) = analyzer.predict(np.ascontiguousarray(frame))
    return [
        [
            (name, *map(float, xy), float(score))
            for name, xy, score in zip(analyzer.spec.keypoints, *animal, strict=True)
        ]
        for animal in zip(found.xy, found.score, strict=True)
    ]
