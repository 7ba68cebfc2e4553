"""From nothing to a labelled video: drawn projects, trained, exported, analysed and scored."""
