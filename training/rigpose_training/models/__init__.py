"""Networks with DeepLabCut's parameter names."""

from rigpose_training.models.pose_model import PoseModel, build_model

__all__ = ["PoseModel", "build_model"]
