"""DeepLabCut projects on disk: configuration, labels, splits and shuffles, read and written."""
