"""From the rows that items carry to the report of a run, and to the screen."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.record import ModelRecord, Report, ResultRecord
from pytest_visualbias.reports.document import assemble
from pytest_visualbias.reports.screen import has_unicode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from pytest_visualbias.session import Settings

__all__ = ["Gathered", "report_of", "show"]


@dataclass(kw_only=True, slots=True)
class Gathered:
    """What items have carried so far, from this process or from workers of xdist."""

    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def add(self, nodeid: str, row: dict[str, Any]) -> None:
        """Keep what an item carried; a run of it again replaces the one before."""
        self._rows[nodeid] = row

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows as the specs have them, whatever the order in which they ran."""
        return sorted(self._rows.values(), key=lambda row: row["order"])

    def results(self) -> list[ResultRecord]:
        """Return the records of the rows."""
        return [ResultRecord.model_validate(row["result"]) for row in self.rows()]


def report_of(
    rows: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    settings: Settings,
    *,
    root: Path,
) -> Report:
    """Return the report of a run.

    Parameters
    ----------
    rows : sequence of mapping
        What the items carried, in the order to keep.
    summary : mapping
        What pytest knows of the run.
    settings : Settings
        How it was measured.
    root : Path
        Of the repository.
    """
    plain = [row["model"] for row in rows if row["model"] is not None]
    models = {(one["spec"], one["model"]): ModelRecord.model_validate(one) for one in plain}
    return assemble(
        [ResultRecord.model_validate(row["result"]) for row in rows],
        list(models.values()),
        summary,
        root=root,
        settings={
            "device": settings.device,
            "precision": settings.precision,
            "strict": settings.strict,
            "overrides": {
                one.name: f"{one.source}:{one.what}" if one.source else one.what
                for one in settings.overrides
            },
        },
    )


def show(
    config: pytest.Config,
    terminalreporter: Any,  # noqa: ANN401 - pytest's own plugins have no public type
    results: Sequence[ResultRecord],
    notes: Sequence[str],
) -> None:
    """Show verdicts and tables in pytest's terminal."""
    from pytest_visualbias.reports.terminal import Screen, render

    writer = config.get_terminal_writer()
    screen = Screen(
        width=writer.fullwidth,
        has_colour=writer.hasmarkup,
        has_unicode=has_unicode(sys.stdout),
    )
    text = render(results, notes, screen, verbosity=config.get_verbosity())
    terminalreporter.section("visualbias")
    terminalreporter.write(text)
