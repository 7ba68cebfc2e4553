"""How good a trained network is, in DeepLabCut's measures and files."""
