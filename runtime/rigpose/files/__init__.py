"""DeepLabCut's result files: what stands in them, read and written."""
