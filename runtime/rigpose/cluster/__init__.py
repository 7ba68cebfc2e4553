"""Bulk analysis on a Ray cluster: many machines and GPUs, and the files of one machine."""
