"""How wrong the maps are: every head's targets and criteria, read from the configuration once."""

from rigpose_training.losses.criteria import CRITERIA, Criterion
from rigpose_training.losses.heads import HeadObjective, loss_terms, read_objectives

__all__ = ["CRITERIA", "Criterion", "HeadObjective", "loss_terms", "read_objectives"]
