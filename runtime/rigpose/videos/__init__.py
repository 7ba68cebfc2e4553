"""Videos and images in, result files and labelled videos out."""
