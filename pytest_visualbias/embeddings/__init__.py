"""Vectors of stimuli: what to embed, how, and where the result is kept."""
