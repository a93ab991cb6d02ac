"""Whatever a report, a baseline or a ledger holds: it is read, or a sentence says why it is not."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.errors import BaselineError, FetchError, ReportError, SpecError, UsageError
from pytest_visualbias.evaluation.baseline_file import (
    MARK,
    VERSION,
    Contents,
    entry_key,
    entry_of,
    is_report,
    read_baseline,
)
from pytest_visualbias.reports.comparison import compare
from pytest_visualbias.reports.document import read_accuracies, read_report
from pytest_visualbias.reports.files import FORMATS, RenderOptions, write
from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render
from pytest_visualbias.results import Report
from pytest_visualbias.stimuli.manifest import LEDGER, load_manifest
from pytest_visualbias.stimuli.transfer import read_ledger
from tests.fuzz.effort import SENTENCE, answered, bounded, cases, in_time
from tests.fuzz.mutations import WORDS, anything, edits, spoilt, spoilt_text, torn
from tests.fuzz.reports import reports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.property

KEYS = (
    "results",
    "models",
    "trials",
    "growth",
    "scores",
    "entries",
    "schema_version",
    MARK,
    "fail",
)
PLAIN = Screen(width=80, has_colour=False, has_unicode=False)
SCREEN = Screen(width=100, has_colour=True, has_unicode=True)
LINE = re.compile(r"[^\n]+?:[0-9]+: [^\n]+")


def dumped(data: Any) -> bytes:  # noqa: ANN401 - plain data
    """Return JSON, or what is nearly that: NaN and halves of characters stay."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")


def drawn(data: st.DataObject, whole: Any) -> bytes:  # noqa: ANN401 - plain data
    """Draw the bytes of spoilt data, now and then torn."""
    content = dumped(data.draw(spoilt(st.just(whole), KEYS)))
    return torn(content, data.draw(edits(2))) if data.draw(st.booleans()) else content


@cases(120)
@given(data=st.data())
def test_a_spoilt_report_is_read_or_told(
    tmp_path: Path, report: dict[str, Any], data: st.DataObject
) -> None:
    found = answered(read_report, tmp_path / "r.json", drawn(data, report), ReportError)
    assert found is None or isinstance(found, Report)


@cases(25)
@given(data=st.data())
def test_a_spoilt_report_is_shown_in_every_format_or_told(
    tmp_path: Path, report: dict[str, Any], data: st.DataObject
) -> None:
    content = dumped(data.draw(spoilt(st.just(report), KEYS, most=2)))
    path = tmp_path / "r.json"
    path.write_bytes(dumped(report))
    whole = read_report(path)
    found = answered(read_report, path, content, ReportError)
    if not isinstance(found, Report):
        return
    for name in FORMATS:
        shown(partial(write, name, found, tmp_path / name, RenderOptions(thumbnails=False)))
    shown(lambda: render(found.results, [], SCREEN, verbosity=2))
    shown(lambda: compare(whole, found, 0.1).plain())
    shown(lambda: compare(found, whole, 0.1).plain())


@cases(6)
@given(plain=reports())
def test_any_report_of_the_schema_is_shown_in_every_format(
    tmp_path: Path, plain: dict[str, Any]
) -> None:
    """Whoever makes one may write numbers, words and kinds that no run gives."""
    path = tmp_path / "r.json"
    found = answered(read_report, path, dumped(plain), ReportError)
    assert isinstance(found, Report)
    for name in FORMATS:
        shown(partial(write, name, found, tmp_path / name, RenderOptions(thumbnails=False)))
        (tmp_path / name).unlink()
    text = render(found.results, [], PLAIN, verbosity=2)
    assert text.replace("\n", "").isprintable()
    shown(lambda: compare(found, found, 0.1).plain())


def shown(show: Callable[[], object]) -> None:
    with in_time():
        try:
            show()
        except ReportError as error:
            bounded(error, SENTENCE)


@pytest.fixture(scope="session")
def baseline(report: dict[str, Any]) -> dict[str, Any]:
    """The plain data of recorded results."""
    models = {one["model"]: one for one in report["models"]}
    entries = {
        entry_key(row["model"], row["test"], row["layer"]): entry_of(
            row, models[row["model"]]
        ).model_dump()
        for row in report["results"]
        if row["scores"]
    }
    return {MARK: VERSION, "entries": entries}


@cases(120)
@given(data=st.data(), is_run=st.booleans())
def test_spoilt_recorded_results_are_read_or_told(
    tmp_path: Path,
    report: dict[str, Any],
    baseline: dict[str, Any],
    data: st.DataObject,
    is_run: bool,
) -> None:
    content = drawn(data, report if is_run else baseline)

    def ask(path: Path) -> Contents:
        is_report(path)
        return read_baseline(path, "b.json")

    found = answered(ask, tmp_path / "b.json", content, BaselineError)
    assert found is None or isinstance(found, Contents)


LEDGERS: dict[str, Any] = {
    "version": 1,
    **dict.fromkeys(("suite", "title", "source", "licence", "citation", "manifest"), "x"),
    **dict.fromkeys(("accepted", "tool"), "2026-01-01T00:00:00Z"),
    "files": {
        "m/0.png": {
            "url": "https://example.org/0.png",
            "sha256": "0" * 64,
            "size": 3,
            "format": "PNG",
            "date": "2026-01-01T00:00:00Z",
            "checked": "manifest",
            "tool": "x",
        }
    },
    "gone": {"m/1.png": {"url": "https://example.org/1.png", "date": "x", "reason": "404"}},
    "due": ["m/2.png"],
}


@cases(60)
@given(data=st.data())
def test_a_spoilt_ledger_is_read_or_told(tmp_path: Path, data: st.DataObject) -> None:
    content = drawn(data, LEDGERS)
    answered(lambda path: read_ledger(path.parent), tmp_path / LEDGER, content, FetchError)


ACCURACIES = {"schema_version": 1, "accuracies": [{"model": "after", "accuracy": 0.5, "n": 3}]}


@cases(40)
@given(data=st.data())
def test_spoilt_accuracies_are_read_or_told(tmp_path: Path, data: st.DataObject) -> None:
    answered(read_accuracies, tmp_path / "a.json", drawn(data, ACCURACIES), ReportError, UsageError)


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """Draw the lines of a manifest."""
    paths = st.sampled_from(("m/0.png", "m/1.png", "../x", "M/0.PNG", *WORDS)) | st.text(max_size=9)
    urls = st.sampled_from(("-", "https://example.org/x.png", "http://[", "file:///x", *WORDS))
    columns = st.tuples(
        paths, urls, st.sampled_from(("-", "0" * 64, "x")), st.sampled_from(("-", "3", "0"))
    )
    return "\n".join("\t".join(row) for row in draw(st.lists(columns, max_size=4)))


@cases(100)
@given(text=spoilt_text(manifests(), most=1), changes=edits(1))
def test_a_spoilt_manifest_is_read_or_every_line_of_it_is_told(
    tmp_path: Path, text: str, changes: list[Any]
) -> None:
    path = tmp_path / "m.tsv"
    path.write_bytes(torn(text.encode("utf-8", "surrogatepass"), changes))
    with in_time():
        try:
            entries = load_manifest(path)
        except SpecError as error:
            bounded(error, LINE)
            return
        except FetchError as error:
            bounded(error, SENTENCE)
            return
    for entry in entries:
        assert (tmp_path / entry.path).resolve().is_relative_to(tmp_path.resolve())


@cases(20)
@given(value=anything())
def test_json_of_another_kind_is_told(tmp_path: Path, value: Any) -> None:  # noqa: ANN401
    content = dumped(value)
    path = tmp_path / "x.json"
    assert answered(read_report, path, content, ReportError) is None
    assert answered(lambda one: read_baseline(one, "x"), path, content, BaselineError) is None
    assert answered(read_accuracies, path, content, ReportError, UsageError) is None
