"""Asking graphs the same question, and holding this machine against what the export proved."""
