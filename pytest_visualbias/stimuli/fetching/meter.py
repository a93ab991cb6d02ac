"""How far a fetch is: a bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_visualbias.stimuli.byte_sizes import format_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """Shows on stderr how many files are done with, where that is a terminal."""

    def __init__(self, suite: str) -> None:
        self._suite = suite
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._size = 0

    def close(self) -> None:
        """Give the terminal back."""
        if self._progress is not None:
            self._progress.stop()

    def waiting(self) -> None:
        """Say that another process has the folder; this is worth a line anywhere."""
        print(f"{self._suite}: another process is fetching it; waiting", file=sys.stderr)

    def begin(self, total: int) -> None:
        """Show the bar."""
        if total == 0 or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[size]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(self._suite, total=total, size="")
        self._progress.start()

    def step(self, size: int) -> None:
        """Move the bar by a file."""
        self._size += size
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, size=format_size(self._size))
