"""Coordinate classification: the best bin of each axis is the place (SimCC, Li et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class SimCCPredictor:
    """``predictor`` of a ``type: SimCCPredictor``, with DeepLabCut's defaults.

    Attributes:
        simcc_split_ratio: Bins per input px.
        apply_softmax: Whether a score is a bin's share of its axis.
        normalize_outputs: Divide each axis by its maximum where that is above 1, instead of scaling it.
        sigma: Of the training targets [bins], one or x and y; a factor of the scaling.
        decode_beta: The other factor.
    """

    type: str
    simcc_split_ratio: float = 2.0
    apply_softmax: bool = True
    normalize_outputs: bool = False
    sigma: float | tuple[float, float] = 6.0
    decode_beta: float = 150.0


class SimCCDecoder(nn.Module):
    """DeepLabCut's decoding: the first largest bin of each axis, without half a bin; the smaller of the two scores.

    The stride of the features has no part in it: bins are fractions of input px.
    """

    def __init__(self, config: SimCCPredictor, stride: float) -> None:  # noqa: ARG002
        super().__init__()
        self.config = config
        sigma = config.sigma
        self.sigma = sigma if isinstance(sigma, tuple) else (sigma, sigma)

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Decode a batch.

        Args:
            maps: ``x`` (B, K, X) and ``y`` (B, K, Y), one value per bin.

        Returns:
            ``keypoints`` (B, K, 3): x, y [input px], score; float32. A keypoint that no bin stands out for has NaN
            places, where DeepLabCut says half a pixel before the image.
        """
        best, largest = [], []
        for bins, sigma in zip((maps["x"].float(), maps["y"].float()), self.sigma, strict=True):
            share = self._share(bins, sigma)
            best.append(share.argmax(dim=2))
            largest.append(share.amax(dim=2))
        score = torch.minimum(*largest)
        # As in DeepLabCut, both axes are held against the length of the first.
        nothing = 1.0 / maps["x"].shape[2] if self.config.apply_softmax else 0.0
        xy = torch.stack(best, dim=2).float() / self.config.simcc_split_ratio
        xy = torch.where((score > nothing).unsqueeze(2), xy, torch.nan)
        return {"keypoints": torch.cat([xy, score.unsqueeze(2)], dim=2)}

    def _share(self, bins: torch.Tensor, sigma: float) -> torch.Tensor:
        if self.config.normalize_outputs:
            bins = bins.clamp(min=0.0)
            bins = bins / bins.amax(dim=2, keepdim=True).clamp(min=1.0)
        else:
            bins = bins * (sigma * self.config.decode_beta)
        return torch.softmax(bins, dim=2) if self.config.apply_softmax else bins
