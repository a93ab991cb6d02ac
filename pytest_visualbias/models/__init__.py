"""Load models: one module for each source, and what they share."""
