"""Labels of other tools -> a DeepLabCut project: each tool's file is read here, and all are written in one way."""

from __future__ import annotations

SOURCES = ("slp", "coco", "lightning-pose")
"""The names of the formats that can be read."""
