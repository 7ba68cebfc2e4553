"""Run an exported pose model on a rig: videos and frames in, poses and DeepLabCut result files out. No torch."""

from __future__ import annotations

from rigpose.analyzers.analyzer import Analyzer
from rigpose.bundles.bundle import Bundle
from rigpose.errors import RigposeError
from rigpose.load import load
from rigpose.poses import Poses

__version__ = "0.1.0"

__all__ = ["Analyzer", "Bundle", "Poses", "RigposeError", "__version__", "load"]
