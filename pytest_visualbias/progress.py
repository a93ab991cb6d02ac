"""Signs of life while many images are embedded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

__all__ = ["Progress"]

# Short work needs no sign of life, and a log no line for every batch.
FIRST_AFTER = 3.0
EVERY = 10.0


class Progress:
    """Writes lines through pytest's own reporter: one that is rewritten where it is a terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._plugins = config.pluginmanager
        self._next: float | None = None
        self._reported = 0

    def __call__(self, model: str, done: int, total: int) -> None:
        """Tell that `done` of `total` images were embedded with a model, or a network of it."""
        now = time.monotonic()
        self._next = now + FIRST_AFTER if self._next is None else self._next
        reporter = self._plugins.getplugin("terminalreporter")
        if reporter is None or now < self._next:
            return
        self._next = now + (0.0 if reporter.isatty else EVERY)
        self._write(reporter, f"visualbias: {model}: {done} of {total} images embedded")

    def _write(self, reporter: Any, line: str) -> None:
        capture = self._plugins.getplugin("capturemanager")
        if capture is None:
            self._show(reporter, line)
            return
        with capture.global_and_fixture_disabled():
            self._show(reporter, line)

    def _show(self, reporter: Any, line: str) -> None:
        # Ends a line that begins with a file; with -q there are dots alone, which none ends.
        reporter.ensure_newline()
        reported = sum(len(found) for name, found in reporter.stats.items() if name)
        if reported > self._reported and not reporter.showfspath:
            reporter.line("")
        self._reported = reported
        if reporter.isatty:
            reporter.rewrite(line, erase=True)
        else:
            reporter.write_line(line)
