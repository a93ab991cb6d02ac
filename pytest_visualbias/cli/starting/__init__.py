"""Inspect a repository and write a first spec for it."""
