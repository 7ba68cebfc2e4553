"""Results -> the formats of other tools. Each format is a file; its library is imported when it is written."""

from __future__ import annotations

FORMATS = ("nwb", "slp", "parquet", "csv", "h5")
"""The formats' names, which are their files' endings."""
