"""What runs a bundle fastest on this machine within an accuracy: measured for seconds, and remembered."""

AUTO = "auto"
"""What a user says where it shall be chosen."""
