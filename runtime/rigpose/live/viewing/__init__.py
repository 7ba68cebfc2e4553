"""Looking at a live run while it goes on: a window in a process of its own, and a page in a browser."""
