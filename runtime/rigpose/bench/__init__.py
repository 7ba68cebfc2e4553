"""Whether this machine keeps up: what is timed, how it is summed up, and what is said about it."""
