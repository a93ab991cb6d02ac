"""From the rows that items carry to the report of a run, and to the screen."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.baseline.files import SUFFIXES
from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.records import error_record
from pytest_visualbias.record import ModelRecord, Report, ResultRecord
from pytest_visualbias.reports.document import assemble
from pytest_visualbias.reports.screen import has_unicode
from pytest_visualbias.spec.layers import layers_of, test_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from pytest_visualbias.session import Session
    from pytest_visualbias.settings import Settings

__all__ = ["Gathered", "lost_row", "report_of", "show", "unwritten"]


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


def lost_row(report: pytest.TestReport, session: Session) -> dict[str, Any] | None:
    """Return the row of an item whose worker died with it, and so could not carry it.

    Parameters
    ----------
    report : TestReport
        What xdist says of it is of no phase of pytest's; there is no row of any other.
    session : Session
        The memory of the run.
    """
    name, _, rest = report.nodeid.partition("::")
    if report.when in ("setup", "call", "teardown") or not name.endswith(SUFFIXES):
        return None
    try:
        file = session.load(session.settings.project / name, name).file
    except VisualBiasError:
        return None  # changed since the workers read it
    places = itertools.product(enumerate(file.spec.models), enumerate(file.spec.tests))
    for (number, model), (index, test) in places:
        for position, layer in enumerate(layers_of(file.spec, test)):
            if rest == f"{model}::{test.name}[{layer}]":
                told = {"nodeid": report.nodeid, "reason": report.longreprtext}
                record = error_record(file, model, test_at(file.spec, test, layer), layer, **told)
                order = [file.file, number, index, position]
                return {"order": order, "result": record.model_dump(mode="json"), "model": None}
    return None


def unwritten(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each reason for which embeddings could not be kept."""
    models = [row["model"] for row in rows if row["model"] is not None]
    said = dict.fromkeys(str(model["description"].get("cache", "")) for model in models)
    return [f"cache {what}; the next run embeds anew" for what in said if what]


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
            "started": settings.started,
            "device": settings.device,
            "precision": settings.precision,
            "strict": settings.strict,
            "overrides": {one.name: one.shown for one in settings.overrides},
        },
    )


def show(
    config: pytest.Config,
    terminalreporter: Any,  # noqa: ANN401 - pytest's own plugins have no public type
    results: Sequence[ResultRecord],
    notes: Sequence[str],
    *,
    is_strict: bool,
    is_broken: bool,
) -> None:
    """Show verdicts and tables in pytest's terminal."""
    from pytest_visualbias.reports.terminal import Screen, render

    writer = config.get_terminal_writer()
    screen = Screen(
        width=writer.fullwidth,
        has_colour=writer.hasmarkup,
        has_unicode=has_unicode(sys.stdout),
    )
    text = render(
        results,
        notes,
        screen,
        verbosity=config.get_verbosity(),
        is_strict=is_strict,
        is_broken=is_broken,
    )
    terminalreporter.section("visualbias")
    terminalreporter.write(text)
