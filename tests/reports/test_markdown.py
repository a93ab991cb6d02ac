"""The report for a pull request: read by somebody else's Markdown, within GitHub's limits."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from pytest_visualbias.reports.escaping import markdown_code, markdown_text, visible
from pytest_visualbias.reports.markdown import COMMENT_LIMIT, markdown
from pytest_visualbias.reports.markdown_sections import Section, fit_sections
from pytest_visualbias.reports.model_card import bias_section
from tests.reports.conftest import GROWTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    MakeReport = Callable[..., Report]

# What our Markdown may become, and nothing else: no links, no images, no scripts.
TAGS = {
    *("h1", "h2", "h3", "p", "strong", "code", "ul", "li", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
ACCEPT = {"max_effect": 0.9, "reason": "known", "until": "2999-01-01"}


class Page(HTMLParser):
    """The tags of a page, the cells of its tables by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.is_cell = False
        self.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.is_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.is_cell = False

    def handle_data(self, data: str) -> None:
        if self.is_cell:
            self.rows[-1][-1] += data


def test_the_verdict_comes_first_then_what_needs_a_look(
    make: Make, make_report: MakeReport
) -> None:
    report = make_report(
        make("kept", outcome="pass"), make("bad", reasons=["why"]), make("open", outcome="invalid")
    )
    text = markdown(report)
    assert text.startswith("## Bias of vision models: failed\n")
    head, first, second, *_ = Page(text).rows
    cells = dict(zip(head, first, strict=True))
    assert (cells["verdict"], cells["test"], cells["why"]) == ("fail", "bad[pooled]", "why")
    assert (cells["effect"], cells["growth"]) == ("+1.00", "+0.90")
    assert cells["spec"] == "bias_specs/x.bias.yaml:9"
    assert second[:2] == ["invalid", "open[pooled]"]


@pytest.mark.parametrize(
    ("outcomes", "keys", "verdict"),
    [
        (["pass"], {"summary": {"exit_status": 0}}, "passed"),
        (["pass", "accepted"], {"summary": {}}, "passed"),
        (["pass", "inconclusive"], {"summary": {}}, "inconclusive"),
        (["pass"], {"summary": {"exit_status": 2}}, "failed"),
        (["pass"], {"summary": {"exit_status": None}}, "passed"),  # code has none
        (["pass", "inconclusive"], {"environment": {"strict": True}}, "failed"),
        (["pass", "error"], {}, "failed"),
        (["pass", "invalid"], {}, "failed"),
        (["pass"], {"summary": {"collection_errors": ["x.bias.yaml:1:1: wrong"]}}, "failed"),
        ([], {"results": [], "models": []}, "nothing was tested"),
    ],
)
def test_a_run_is_called_what_its_worst_result_is(
    make: Make,
    make_report: MakeReport,
    outcomes: list[str],
    keys: dict[str, object],
    verdict: str,
) -> None:
    """Where pytest was interrupted, what is missing might have been worse."""
    records = [make(f"t{index}", outcome=one) for index, one in enumerate(outcomes)]
    text = markdown(make_report(*records, **keys))
    assert text.startswith(f"## Bias of vision models: {verdict}\n")


def test_a_waiver_and_its_end_stand_in_the_open(make: Make, make_report: MakeReport) -> None:
    text = markdown(make_report(make(outcome="accepted", accept=ACCEPT)))
    row = ["accepted", "gender-career[pooled]", "after", "+1.00", "effect 0.9", "2999-01-01"]
    assert [*row, "known"] in Page(text[: text.index("<details>")]).rows


def test_what_puts_results_into_proportion_is_folded_below(
    make: Make, make_report: MakeReport
) -> None:
    """An untrained network and its seeds, the spread of trials, and labels."""
    trials = {"labels": ["a", "b"], "effect_size": [0, 0], "effect_judged": [0.5, -1.5]}
    excess = {**GROWTH, "base": "untrained", "untrained": [-0.4, 0.6]}
    one = make(
        excess=excess,
        trials=trials,
        labels={"size": "large | 2"},
    )
    text = markdown(make_report(one))
    rows = Page(text).rows
    assert [
        *("gender-career[pooled]", "after", "untrained", "-0.10 (2 seeds from -0.40 to +0.60)"),
        *("+1.00", "+0.90", "+0.40 to +1.30", "0.02"),
    ] in rows
    assert "2 trials from -1.50 to +0.50, largest -1.50: b" in text
    assert ["size", "models", "tests", "mean |effect|", "mean growth", "failing"] in rows
    assert ["large | 2", "1", "1", "1.00", "+0.90", "1"] in rows
    bare = markdown(make_report(make()))
    for title in ("Excess over", "Trials", "Models by"):
        assert f"<summary>{title}" in text
        assert f"<summary>{title}" not in bare


def test_folded_parts_are_closed_again(make: Make, make_report: MakeReport) -> None:
    text = markdown(make_report(make(warnings=["beware"]), make(model="before")))
    assert text.count("<details>") == text.count("</details>") == 5
    assert "Warnings (1)" in text
    assert "- commit: `c0ffee`" in text


def test_names_are_text_and_nothing_else(make: Make, make_report: MakeReport, hostile: str) -> None:
    record = make(
        hostile,
        model=hostile,
        layer=hostile,
        role="gated",
        spec=f"{hostile}.bias.yaml",
        reasons=[hostile],
        warnings=[hostile],
        concepts={"X": hostile},
        outcome="accepted",
        accept={**ACCEPT, "reason": hostile},
    )
    failing = record.model_copy(update={"outcome": "fail"})
    faults = {"collection_errors": [hostile], "title": hostile, "exit_status": 1}
    report = make_report(record, failing, summary=faults, environment={"platform": hostile})
    for text in (markdown(report), bias_section(report)):
        page = Page(text)
        assert page.tags <= TAGS
        widths = [len(row) for row in page.rows]
        assert set(widths) <= {3, 6, 7, 9}
        cells = [cell for row in page.rows for cell in row]
        assert visible(f"{hostile}[{hostile}]") in cells
        assert text.isprintable() is False, "lines are broken by us"
        assert all(line.isprintable() or "\u200d" in line for line in text.splitlines())


@pytest.mark.parametrize("escape", [markdown_code, markdown_text])
def test_a_name_in_a_cell_shows_as_it_is(escape: Callable[[str], str], hostile: str) -> None:
    text = f"| a | b |\n| --- | --- |\n| {escape(hostile)} | z |\n"
    assert Page(text).rows[1] == [visible(hostile).strip(), "z"]


@pytest.mark.parametrize("text", ["@octocat", "a @octocat/team", "#12", "fixes #1"])
def test_nobody_and_no_issue_is_called(text: str) -> None:
    """GitHub looks for a sign followed at once by a word; a comment stands between."""
    assert "@o" not in markdown_text(text)
    assert "#1" not in markdown_text(text)


@pytest.mark.parametrize("limit", [5000, 20_000, COMMENT_LIMIT])
def test_a_long_report_is_cut_within_the_limit_and_says_how_much_is_left_out(
    make: Make, make_report: MakeReport, limit: int
) -> None:
    records = [make(f"t{index}", reasons=["größer " * 150]) for index in range(100)]
    text = markdown(make_report(*records), limit)
    assert limit - 3000 < len(text.encode()) <= limit
    shown = sum(row[0] == "fail" for row in Page(text).rows)
    assert f"{100 - shown} results that need a look" in text
    assert text.count("<details>") == text.count("</details>")


def test_a_report_that_fits_is_whole(make: Make, make_report: MakeReport) -> None:
    assert "Left out" not in markdown(make_report(make()))


@pytest.mark.parametrize("limit", range(0, 900, 50))
def test_no_limit_is_exceeded_however_small(limit: int) -> None:
    sections = [
        Section(head="head\n", rows=["é" * 40] * 9, foot="foot\n", content="rows"),
        Section(head="last\n", content="lasts"),
    ]
    text = fit_sections(sections, limit)
    assert len(text.encode()) <= limit
    if limit >= 800:
        assert text.count("é" * 40) == 9
    elif text:
        left = 9 - text.count("é" * 40)
        assert not left or f"{left} rows" in text
