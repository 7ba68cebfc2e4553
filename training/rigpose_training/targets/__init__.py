"""From labels to what each head should have said."""

from rigpose_training.targets.heatmap import HeatmapTarget, Target, heatmap_targets

__all__ = ["HeatmapTarget", "Target", "heatmap_targets"]
