"""Bringing the published stimuli of a suite: verified, resumable, with a record of what came."""
