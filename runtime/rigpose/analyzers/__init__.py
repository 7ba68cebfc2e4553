"""Running a model: sessions and grouping together, one way for each task."""
