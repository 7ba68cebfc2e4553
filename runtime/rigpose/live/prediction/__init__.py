"""Where keypoints will be when a result is acted upon, and whether saying so is better than holding the last place."""
