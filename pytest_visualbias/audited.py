"""What an audit found, for Python code and notebooks."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.errors import UsageError
from pytest_visualbias.remote.urls import place
from pytest_visualbias.reports.files import FORMATS, write
from pytest_visualbias.reports.outcomes import label
from pytest_visualbias.reports.text import failure_text
from pytest_visualbias.spec.faults import did_you_mean
from pytest_visualbias.verdict import number, p_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_visualbias.record import Report, ResultRecord

__all__ = ["Audit"]

FAILING = ("fail", "invalid", "error")
SUFFIXES = {"json": "json", "html": "html", "htm": "html", "md": "md", "csv": "csv"}
COLUMNS = ("test", "model", "layer", "effect", "interval", "p adjusted", "growth", "verdict")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Audit:
    """The report of an audit with what code asks of it.

    Attributes
    ----------
    report : Report
        All results; `to_json` of `record` writes it.
    strict : bool
        Whether what is inconclusive fails.
    """

    report: Report
    strict: bool = False
    _asked: list[str] = field(default_factory=list, compare=False)

    @property
    def is_unasked(self) -> bool:
        """Whether it fails, and no code has looked at results or asked for the verdict."""
        return not self._asked and not self._passed

    def __bool__(self) -> bool:
        """Return whether it passed: ``assert audit(...)`` means what it says."""
        return self.passed

    def __iter__(self) -> Iterator[ResultRecord]:
        self._asked.append("results")
        return iter(self.report.results)

    def __repr__(self) -> str:
        state = "passed" if self._passed else f"{len(self._failures)} failing"
        return f"<Audit: {state} of {len(self)} results>"

    def __len__(self) -> int:
        return len(self.report.results)

    @property
    def failures(self) -> list[ResultRecord]:
        """The results for which a run of pytest would fail."""
        self._asked.append("failures")
        return self._failures

    @property
    def passed(self) -> bool:
        """Whether there are results, and none of them fails."""
        self._asked.append("passed")
        return self._passed

    @property
    def _failures(self) -> list[ResultRecord]:
        failing = (*FAILING, "inconclusive") if self.strict else FAILING
        return [one for one in self.report.results if one.outcome in failing]

    @property
    def _passed(self) -> bool:
        return len(self) > 0 and not self._failures

    def check(self) -> None:
        """Raise where a run of pytest would fail.

        Raises
        ------
        AssertionError
            With what each failure needs a person to know.
        """
        __tracebackhide__ = True  # pytest then shows the test's own line alone
        self._asked.append("check")
        if not self.passed:
            texts = [f"{one.nodeid}: {failure_text(one)}" for one in self.failures]
            raise AssertionError("\n".join(texts) or "nothing was measured")

    def result(self, test: str, *, model: str = "after", layer: str | None = None) -> ResultRecord:
        """Return the result of a test.

        Parameters
        ----------
        test, model : str
            Their names.
        layer : str, optional
            Needed where there are several.

        Raises
        ------
        UsageError
            Where there is none, or more than one.
        """
        of_model = [one for one in self if one.model == model]
        found = [one for one in of_model if one.test == test and layer in (None, one.layer)]
        if len(found) == 1:
            return found[0]
        if found:
            layers = ", ".join(one.layer for one in found)
            raise UsageError(f"'{test}' was measured at {layers}; name a layer")
        if not of_model:
            near = did_you_mean(model, {one.model for one in self})
            raise UsageError(f"no model '{model}' was measured; {near}")
        near = did_you_mean(test, {one.test for one in of_model})
        raise UsageError(f"'{model}' has no result of '{test}' here; {near}")

    def save(self, path: Path | str) -> None:
        """Write a report, to a path or a URL, by its ending: .json, .html, .md or .csv.

        Raises
        ------
        UsageError
            For another ending.
        ReportError
            Where it cannot be written.
        """
        target = place(path) if isinstance(path, str) else path
        kind = SUFFIXES.get(target.suffix.lower().removeprefix("."), "")
        if kind not in FORMATS:
            raise UsageError(f"{target}: a report ends in .json, .html, .md or .csv; choose one")
        write(kind, self.report, target)

    def __str__(self) -> str:
        """Return what the terminal shows, at 80 columns and without colour."""
        from pytest_visualbias.reports.terminal import Screen, render

        screen = Screen(width=80, has_colour=False, has_unicode=True)
        return render(self.report.results, [], screen, is_strict=self.strict)

    def _repr_html_(self) -> str:
        """Return a table for a notebook; names are text, whatever stands in them."""
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in _cells(one))}</tr>"
            for one in self.report.results
        )
        heads = "".join(f"<th>{name}</th>" for name in COLUMNS)
        verdict = "passed" if self._passed else f"{len(self._failures)} failing"
        return (
            f"<table><caption>{verdict} of {len(self)} results</caption>"
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _cells(record: ResultRecord) -> tuple[str, ...]:
    low, high, growth = record.ci_low, record.ci_high, record.growth
    p = record.p_adjusted if record.p_adjusted is not None else record.p_verdict
    return (
        *(record.test, record.model, record.layer),
        "" if record.effect_judged is None else number(record.effect_judged),
        "" if low is None or high is None else f"{low:+.2f} to {high:+.2f}",
        "" if p is None else p_text(p),
        "" if growth is None else number(growth.value),
        label(record),
    )
