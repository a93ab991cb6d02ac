"""How far the work is: a bar on a terminal, and now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Final

from pytest_visualbias.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

__all__ = ["Meter"]

EVERY_S: Final = 5.0


class Meter:
    """Shows on standard error how many images are embedded."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._next = time.monotonic() + EVERY_S
        self._has_told = False
        self._untold = ""

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Have a bar meanwhile, where it is a terminal; elsewhere lines end with the last state."""
        if not sys.stderr.isatty():
            try:
                yield
            finally:
                if self._has_told and self._untold:
                    self._tell()
            return
        with _bars() as self._bars:
            yield
        self._bars = None

    def __call__(self, done: int, total: int, what: str) -> None:
        """Show that `done` of `total` images are embedded, with what or by whom."""
        if self._bars is not None:
            self._move(self._bars, done, total, what)
            return
        self._untold = f"{printable(what)}: {done} of {total} images embedded"
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY_S
            self._tell()

    def _tell(self) -> None:
        print(self._untold, file=sys.stderr)
        self._has_told, self._untold = True, ""

    def _move(self, bars: Progress, done: int, total: int, what: str) -> None:
        from rich.markup import escape

        shown = escape(printable(what))
        if self._bar is None:
            self._bar = bars.add_task(shown, total=total)
        bars.update(self._bar, completed=done, total=total, description=shown)


def _bars() -> Progress:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("images, {task.description}"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # What is printed meanwhile goes above the bar, unless it goes elsewhere.
        redirect_stdout=sys.stdout.isatty(),
    )
