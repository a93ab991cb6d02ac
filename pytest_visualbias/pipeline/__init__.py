"""The one composition: spec file, sets, tables, scores, family, verdicts. Works without pytest."""
