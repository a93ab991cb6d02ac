"""Embed images and texts, and cache the vectors."""
