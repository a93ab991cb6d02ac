"""The `visualbias` command."""
