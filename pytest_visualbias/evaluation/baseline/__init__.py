"""Recorded results that later runs are compared with."""
