"""Evaluate a spec: embed, measure, correct, judge, build results."""
