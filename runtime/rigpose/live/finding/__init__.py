"""How the animals of live frames are found and followed, each file one way of looking."""
