"""A drawn world with known truth: animals on a ground, as pictures, videos and projects."""
