"""Holding exported graphs against torch, and what they cost on the labelled images."""
