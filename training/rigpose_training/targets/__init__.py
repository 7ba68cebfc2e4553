"""From labels to what each head should have said."""

from rigpose_training.targets.dekr import DEKRTarget, dekr_targets, with_centres
from rigpose_training.targets.generators import GENERATORS, GeneratorConfig, draw_targets, drawn_maps, read_generators
from rigpose_training.targets.heatmap import HeatmapTarget, heatmap_targets
from rigpose_training.targets.paf import PartAffinityFieldTarget, paf_targets
from rigpose_training.targets.simcc import SimCCTarget, simcc_targets
from rigpose_training.targets.target import Target

__all__ = [
    "GENERATORS",
    "DEKRTarget",
    "GeneratorConfig",
    "HeatmapTarget",
    "PartAffinityFieldTarget",
    "SimCCTarget",
    "Target",
    "dekr_targets",
    "draw_targets",
    "drawn_maps",
    "heatmap_targets",
    "paf_targets",
    "read_generators",
    "simcc_targets",
    "with_centres",
]
