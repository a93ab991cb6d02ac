"""Limits that a model's own numbers support: measured, derived, and put into a spec."""
