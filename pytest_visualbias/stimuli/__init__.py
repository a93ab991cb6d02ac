"""Stimuli: resolve concepts to files, verify, decode, download."""
