"""Part affinity fields: peaks of every part, and how well the field joins every two of them (Cao et al. 2017).

The numbers are DeepLabCut's, for any number of animals in a few batched operations of fixed shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import conv2d

from rigpose.errors import ConfigError
from rigpose.models.model_spec import PafGrouping
from rigpose_training.dense.peaks import best_cells, keep_peaks, read_cells

PEAK_THRESHOLD = 0.01
"""Smallest smoothed score of a peak."""
SAMPLES = 10
"""Places along a pair of peaks where the field is read, both ends among them."""
DECIMALS = 1000.0
"""DeepLabCut rounds affinities to three decimals, and equal ones then go by order; so do these."""


@dataclass(frozen=True)
class PartAffinityFieldPredictor:
    """``predictor`` of a ``type: PartAffinityFieldPredictor``, with DeepLabCut's defaults.

    Attributes:
        num_animals: Most animals of a frame.
        num_multibodyparts: K; the maps say it as well.
        num_uniquebodyparts: Must be 0: keypoints that exist once per frame have a head of their own.
        graph: Pairs of keypoints, one per pair of ``paf`` channels.
        edges_to_keep: Indices into ``graph`` of the pairs that are used.
        nms_radius: Half width of the smoothing [cells], and whole width of the window that a peak is the maximum of.
        sigma: Of the smoothing [cells].
        locref_stdev: Input px per unit of ``locref``.
        min_affinity: Smallest affinity of two peaks of one animal.
        apply_sigmoid: Whether the heatmaps are logits.
        clip_scores: Whether scores are limited to 0..1.
        add_discarded: Whether unused peaks fill gaps of the nearest animal.
        force_fusion: Whether surplus animals are merged.
        return_preds: DeepLabCut's switch for its own evaluation; no part in decoding.
        peaks_per_animal: How many peaks of a part the graph gives, times ``num_animals``. The grouping uses the best
            ``num_animals`` of a part and no other, so 1 loses nothing; 2 leaves room to raise the number of animals
            at run time, and for gaps that are filled with unused peaks. Not a key of DeepLabCut's.
    """

    type: str
    num_animals: int
    num_multibodyparts: int
    graph: tuple[tuple[int, int], ...]
    edges_to_keep: tuple[int, ...]
    num_uniquebodyparts: int = 0
    nms_radius: int = 5
    sigma: float = 1.0
    locref_stdev: float = 7.2801
    min_affinity: float = 0.05
    apply_sigmoid: bool = True
    clip_scores: bool = False
    add_discarded: bool = False
    force_fusion: bool = False
    return_preds: bool = False
    peaks_per_animal: int = 2

    def __post_init__(self) -> None:
        if self.num_uniquebodyparts:
            raise ConfigError(
                "predictor.num_uniquebodyparts: keypoints that exist once per frame have a head of their own; write 0."
            )
        if self.nms_radius % 2 == 0:
            raise ConfigError(f"predictor.nms_radius: {self.nms_radius} has no middle cell; write an odd number.")
        if any(not 0 <= e < len(self.graph) for e in self.edges_to_keep):
            raise ConfigError(
                f"predictor.edges_to_keep: graph has {len(self.graph)} edges, counted from 0; remove the others."
            )
        if min(self.num_animals, self.peaks_per_animal) < 1:
            raise ConfigError("predictor.num_animals, predictor.peaks_per_animal: both must be at least 1.")

    def grouping(self) -> PafGrouping:
        """What the sparse half does with the candidates."""
        return PafGrouping(
            edges=tuple(self.graph[e] for e in self.edges_to_keep),
            max_animals=self.num_animals,
            min_affinity=self.min_affinity,
            add_discarded=self.add_discarded,
            force_fusion=self.force_fusion,
            clip_scores=self.clip_scores,
        )


class PafDecoder(nn.Module):
    """DeepLabCut's peaks and edge costs: smoothed maxima, offsets, line integrals between all pairs."""

    taps: torch.Tensor
    along: torch.Tensor
    source: torch.Tensor
    target: torch.Tensor
    channel: torch.Tensor

    def __init__(self, config: PartAffinityFieldPredictor, stride: float) -> None:
        super().__init__()
        self.config = config
        self.stride = stride
        self.peaks = config.num_animals * config.peaks_per_animal
        distance = torch.arange(-config.nms_radius, config.nms_radius + 1, dtype=torch.float32)
        edges = torch.tensor([config.graph[e] for e in config.edges_to_keep], dtype=torch.long).reshape(-1, 2)
        constants = {
            "taps": torch.softmax(-distance.square() / (2 * config.sigma**2), dim=0),
            "along": torch.linspace(0, 1, SAMPLES, dtype=torch.float32),
            "source": edges[:, 0],
            "target": edges[:, 1],
            "channel": torch.tensor(config.edges_to_keep, dtype=torch.long),
        }
        for name, value in constants.items():
            self.register_buffer(name, value.contiguous(), persistent=False)

    def forward(self, maps: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Decode a batch.

        Args:
            maps: ``heatmap`` (B, K, h, w); ``locref`` (B, 2K, h, w), x then y of each keypoint; ``paf`` (B, 2L, h, w),
                x then y of each edge of the whole graph.

        Returns:
            ``peaks`` (B, K, P, 3): x, y [input px], score, in the order of the maps' rows, NaN where there are fewer.
            ``affinity`` (B, E, P, P): of each kept edge, first part's peak then second part's; 0 without a peak.
            float32 whatever the maps' precision.
        """
        heatmap = maps["heatmap"].float()
        if self.config.apply_sigmoid:
            heatmap = torch.sigmoid(heatmap)
        heatmap = self._smooth(heatmap)
        is_high = heatmap >= PEAK_THRESHOLD
        found = best_cells(torch.where(is_high, keep_peaks(heatmap, self.config.nms_radius), 0.0), self.peaks)
        score, row, column, cell = found
        is_peak = score > 0
        batch, keypoints, height, width = heatmap.shape
        locref = maps["locref"].float().reshape(batch, keypoints, 2, height, width)
        offset = read_cells(locref, cell) * self.config.locref_stdev
        # As in DeepLabCut: half a stride rounded down, so at stride 1 a cell's place is its corner.
        corner = self.stride * torch.stack([column, row], dim=3).float() + self.stride // 2
        peaks = torch.cat([corner + offset, score.unsqueeze(3)], dim=3)
        peaks = torch.where(is_peak.unsqueeze(3), peaks, torch.nan)
        if not len(self.channel):
            return {"peaks": peaks, "affinity": heatmap.new_zeros(batch, 0, self.peaks, self.peaks)}
        affinity = self._affinity(maps["paf"].float(), torch.stack([row, column], dim=3).float())
        pair = is_peak.index_select(1, self.source).unsqueeze(3) & is_peak.index_select(1, self.target).unsqueeze(2)
        return {"peaks": peaks, "affinity": torch.where(pair, affinity, 0.0)}

    def _smooth(self, heatmap: torch.Tensor) -> torch.Tensor:
        channels, radius = heatmap.shape[1], self.config.nms_radius
        taps = self.taps.expand(channels, 1, 1, -1)
        smooth = conv2d(heatmap, taps.transpose(2, 3), padding=(radius, 0), groups=channels)
        return conv2d(smooth, taps, padding=(0, radius), groups=channels)

    def _affinity(self, paf: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Norm of the field's integral along each pair of peaks, over the pair's length.

        Args:
            paf: (B, 2L, h, w).
            cells: (B, K, P, 2) row, column of the peaks [cells].

        Returns:
            (B, E, P, P), rounded to three decimals.
        """
        batch, _, height, width = paf.shape
        count, E = self.peaks, len(self.channel)
        field = paf.reshape(batch, -1, 2, height * width)
        if self.config.edges_to_keep != tuple(range(len(self.config.graph))):
            field = field.index_select(1, self.channel)
        start = cells.index_select(1, self.source).unsqueeze(3)  # (B, E, P, 1, 2)
        way = cells.index_select(1, self.target).unsqueeze(2) - start  # (B, E, P, P, 2)
        # As in DeepLabCut, the cells that are read, not the places on the line, are the abscissae of the integral.
        line = (start.unsqueeze(4) + self.along[:, None] * way.unsqueeze(4)).floor()  # (B, E, P, P, S, 2)
        index = (line[..., 0] * width + line[..., 1]).long().reshape(batch, E, 1, -1)
        values = field.gather(3, index.expand(-1, -1, 2, -1)).reshape(batch, E, 2, count, count, SAMPLES)
        step = (line[..., 1:, :] - line[..., :-1, :]).flip(-1).permute(0, 1, 5, 2, 3, 4)  # x then y
        integral = ((values[..., 1:] + values[..., :-1]) * step).sum(dim=5) / 2  # (B, E, 2, P, P)
        length = way.square().sum(dim=4).sqrt() + torch.finfo(torch.float32).eps
        affinity = integral.square().sum(dim=2).sqrt() / length
        return torch.round(affinity * DECIMALS) / DECIMALS
