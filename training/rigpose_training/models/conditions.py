"""The picture of a rough pose that a conditional top-down network looks at beside the image.

Computed inside the network, so that training, export and every runtime draw the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rigpose.errors import ConfigError


@dataclass(frozen=True)
class KeypointEncoderConfig:
    """``kpt_encoder``: how the rough pose is drawn.

    Attributes:
        num_joints: Keypoints, and channels of the picture.
        kernel_size: Width and height of the blur [input px], odd.
        img_size: Height and width of the images, as the backbone's own ``img_size``, which is the default.
    """

    type: Literal["StackedKeypointEncoder"]
    num_joints: int
    kernel_size: tuple[int, int] = (15, 15)
    img_size: tuple[int, int] | None = None


class ConditionImage(nn.Module):
    """Conditions (B, K, 3) x, y [input px], score -> (B, K, H, W): a blurred dot per keypoint, brightest at 255.

    A keypoint without score, without coordinates or outside the image has no dot. Of an animal's dots the brightest
    is 255; a dot near a border is brighter than others, because the blur mirrors what leaves the image.

    The blur of a single dot is the product of a blurred row and a blurred column, and there are only H and W of
    those: two look-ups and a product instead of a convolution over the whole image.
    """

    blurred_rows: torch.Tensor
    blurred_columns: torch.Tensor

    def __init__(self, config: KeypointEncoderConfig, img_size: tuple[int, int]) -> None:
        super().__init__()
        if config.img_size not in (None, img_size):
            raise ConfigError(
                f"model.backbone.kpt_encoder.img_size: {list(config.img_size or ())} differs from model.backbone."
                f"img_size, {list(img_size)}; remove it, or write the same."
            )
        if any(size % 2 == 0 for size in config.kernel_size):
            raise ConfigError(
                f"model.backbone.kpt_encoder.kernel_size: {list(config.kernel_size)} must be odd, so that the blur "
                "has a centre."
            )
        self.img_size = img_size
        self.channels = config.num_joints
        width, height = config.kernel_size
        # Not persistent: a checkpoint's keys stay DeepLabCut's.
        self.register_buffer("blurred_rows", _blurred_dots(img_size[0], height), persistent=False)
        self.register_buffer("blurred_columns", _blurred_dots(img_size[1], width), persistent=False)

    def forward(self, images: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        self._check(images, conditions)
        height, width = self.img_size
        xy, score = conditions[..., :2], conditions[..., 2]
        # NaN compares as false, so a missing place has no dot whatever its score. A place on the right or lower edge
        # (x = W) counts as inside.
        visible = (score > 0) & (xy >= 0).all(2) & (xy <= xy.new_tensor([width, height])).all(2)  # (B, K)
        pixel = torch.where(visible.unsqueeze(2), xy, 1.0).floor().long()
        # DeepLabCut puts the dot one pixel left of and above the keypoint's, and for the first column and row into
        # the last one. Its networks were trained with that, so it is so here.
        across, down = (pixel[..., 0] - 1) % width, (pixel[..., 1] - 1) % height
        rows = functional.embedding(down, self.blurred_rows)  # (B, K, H)
        columns = functional.embedding(across, self.blurred_columns)  # (B, K, W)
        brightest = (rows.amax(2) * columns.amax(2) * visible).amax(1)  # (B,)
        scale = 255 / torch.where(brightest > 0, brightest, 1.0)
        rows = rows * (visible * scale.unsqueeze(1)).unsqueeze(2)
        return rows.unsqueeze(3) * columns.unsqueeze(2)

    def _check(self, images: torch.Tensor, conditions: torch.Tensor) -> None:
        height, width = self.img_size
        if tuple(images.shape[-2:]) != self.img_size:
            raise ConfigError(
                f"model.backbone.img_size: the network was built for images of {width} x {height} px (width x height), "
                f"but found {images.shape[-1]} x {images.shape[-2]}; set top_down_crop in data.train and "
                f"data.inference to width: {width}, height: {height}."
            )
        if conditions.ndim != 3 or tuple(conditions.shape[1:]) != (self.channels, 3):
            raise ConfigError(
                f"model.backbone.kpt_encoder.num_joints: conditions must be (B, {self.channels}, 3) x, y and score, "
                f"but found {tuple(conditions.shape)}; give the rough pose of one animal per image."
            )


def _blurred_dots(size: int, kernel_size: int) -> torch.Tensor:
    """(size, size): row p is a line of pixels with 1 at p, blurred as OpenCV does without a given sigma."""
    kernel = cv2.getGaussianKernel(kernel_size, 0)[:, 0]
    radius = kernel_size // 2
    mirrored = np.pad(np.eye(size), ((0, 0), (radius, radius)), mode="reflect")  # row p: the dot and its mirror images
    blurred = np.stack([np.convolve(line, kernel, mode="valid") for line in mirrored])
    return torch.from_numpy(blurred.astype(np.float32))
