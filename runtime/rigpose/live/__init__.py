"""Real-time analysis: cameras -> newest frame -> poses -> outputs, with every frame accounted for."""
