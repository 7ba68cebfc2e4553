"""Rules on poses, written down in a file, that say when something outside is to happen."""
