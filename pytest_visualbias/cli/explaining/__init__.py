"""Tests and their results in words."""
