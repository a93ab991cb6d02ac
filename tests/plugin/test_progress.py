"""Signs of life beside the dots of pytest."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from pytest_visualbias.plugin.reporting import TerminalProgress


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_line_begins_below_the_dots(pytestconfig: pytest.Config, *, is_quiet: bool) -> None:
    """Also with -q, where no file begins the line that the dots are on."""
    stream = io.StringIO()
    reporter = TerminalReporter(pytestconfig, stream)
    reporter.showfspath = not is_quiet
    if not is_quiet:
        reporter.currentfspath = Path("x.bias.yaml")
    reporter.stats["passed"] = [1, 2]
    reporter.write("..")
    progress = TerminalProgress(pytestconfig)
    for line in ("one", "two"):
        progress._show(reporter, line)
    assert stream.getvalue() == "..\none\ntwo\n"
