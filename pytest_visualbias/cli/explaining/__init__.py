"""Explain tests and results in sentences."""
