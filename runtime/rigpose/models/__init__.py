"""What a model says of itself, and how frames and crops become its inputs."""
