"""One file per family of models; each has the table of its names."""
