"""Derive limits from the measurements of a model."""
