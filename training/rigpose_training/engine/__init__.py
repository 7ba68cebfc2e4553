"""Training: the loop, what it starts from, what it leaves behind."""
