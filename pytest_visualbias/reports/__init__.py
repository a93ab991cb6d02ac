"""Projections of the report: lines and pages that people read."""
