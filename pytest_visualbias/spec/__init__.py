"""The format of specs and suites: schema, parser and consistency checks."""
