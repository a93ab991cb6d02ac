"""The page: whole, alone, small enough, and harmless whatever names it holds."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.html.page import render
from tests.reports.conftest import GROWTH
from tests.reports.html.samples import HOSTILE, drawn, hostile, large, record, report, stimuli

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.results import Report, ResultRecord

# Elements that have no end.
VOID = {"meta", "input", "br", "rect", "circle", "line", "path", "polyline"}
# Attributes that make a browser ask for something, or do something.
LOADING = {"src", "srcset", "action", "formaction", "data", "poster", "background", "xlink:href"}
SECRET = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Read(HTMLParser):
    """A page as its elements: all tags with attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute stands twice in {tag}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} ends where another element should"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.words.setdefault(self.open[-1], []).append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def measured(count: int = 20, folder: str = "stimuli") -> ResultRecord:
    """Return a result with sets and scores."""
    sets = {
        role: stimuli(
            role,
            [f"{i:03}.png" for i in range(count)],
            [f"{role}{i}" for i in range(count)],
            folder,
        )
        for role in "XYAB"
    }
    scores = {role: {f"{role}{i}": i * 0.1 for i in range(count)} for role in "XYAB"}
    return record(sets=sets, scores=scores)


@pytest.fixture(params=["small", "hostile", "empty", "errors"])
def some(request: pytest.FixtureRequest) -> Report:
    """A report of each sort."""
    if request.param == "hostile":
        return hostile()
    if request.param == "empty":
        return report(models=[], summary={}, environment={})
    if request.param == "small":
        return report([measured(), record("kept", outcome="pass", layer="early")])
    empty = dict.fromkeys(("effect_judged", "effect_size", "p_value", "p_verdict", "gap", "growth"))
    return report([record("e", outcome="error", **empty)])


def test_a_page_is_well_formed_and_every_id_stands_once(some: Report) -> None:
    page = Read(render(some))
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_link_leads_somewhere_in_the_page(some: Report) -> None:
    page = Read(render(some))
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for _, attributes in page.tags:
        for name in ("aria-labelledby", "aria-controls"):
            assert set(attributes.get(name, "").split()) <= ids
        if "href" in attributes:
            assert attributes["href"].startswith("#")
            assert attributes["href"][1:] in ids


def test_a_page_loads_nothing_and_runs_nothing_but_its_own_script(some: Report) -> None:
    page = Read(render(some))
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img", "image"}
        assert not LOADING & attributes.keys()
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert len(page.of("script")) == 1
    assert "http" not in "".join(page.words["style"]), "no address in the style"


def test_the_policy_allows_exactly_the_styles_and_the_script_of_the_page(some: Report) -> None:
    page = Read(render(some))
    (policy,) = [
        one["content"]
        for one in page.of("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digests(tag: str) -> str:
        found = [hashlib.sha256(one.encode()).digest() for one in page.words[tag]]
        return " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in found)

    assert rules == {
        "default-src": "'none'",
        "style-src": digests("style"),
        "script-src": digests("script"),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_policy_stands_before_anything_that_it_rules() -> None:
    text = render(report([record()]))
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script>")


def test_names_that_mean_harm_are_shown_as_they_are_written() -> None:
    """Every one of them is text, and none an element, an attribute, a template or a comment."""
    text = render(hostile())
    page = Read(text)
    shown = page.words["bdi"]
    for name in HOSTILE:
        visible = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)
        assert visible in shown
    assert text.count("<script>") == text.count("</script>") == 1
    assert "<!--" not in text
    assert "49" not in [word.strip() for word in shown]
    assert not page.of("img")


def test_nothing_hidden_is_in_a_page_and_nothing_turns_its_text_round(some: Report) -> None:
    """No control, and no override of the direction of text, wherever a name has one."""
    assert SECRET.findall(render(some)) == []


def test_names_stand_in_isolation_wherever_they_are_shown() -> None:
    """Letters that run from right to left turn nothing beside them."""
    page = Read(render(hostile()))
    arabic = [one for one in HOSTILE if "\u0645" in one]
    for tag, words in page.words.items():
        if tag not in ("bdi", "title", "desc", "option", "text"):
            assert not [word for word in words if arabic[0] in word], tag


def test_a_page_has_a_language_a_title_landmarks_and_tables_with_names() -> None:
    results = [measured(), *(record(f"t{i}", layer=one) for i in range(5) for one in ("a", "b"))]
    page = Read(render(report(results)))
    assert page.of("html") == [{"lang": "en"}]
    assert page.words["title"][0] == "failed · visual bias"
    assert [len(page.of(tag)) for tag in ("main", "nav", "footer", "h1")] == [1, 1, 1, 1]
    assert len(page.of("caption")) == len(page.of("table"))
    assert all(one.get("scope") in ("col", "row") for one in page.of("th"))
    assert all("aria-labelledby" in one for one in page.of("section"))
    charts = [one for one in page.of("svg") if one.get("class") == "drawn"]
    assert len(charts) == 1 + 2, "tests over layers, and counts at each layer"
    assert all(one["role"] == "img" for one in charts)


def test_every_result_has_a_row_and_all_its_numbers_the_worst_first() -> None:
    results = [record("kept", outcome="pass"), measured(), record("open", outcome="inconclusive")]
    page = Read(render(report(results)))
    bodies = [one for one in page.of("tbody") if one.get("id", "").startswith("r")]
    assert [one["id"] for one in bodies] == ["r1", "r2", "r0"]
    assert [one["data-o"] for one in bodies] == ["0", "1", "2"]
    shown = page.words["dd"]
    for number in ("+0.20 to +1.50", "0.002 (holm, 2 p)", "+0.90 (+0.40 to +1.30)"):
        assert number in shown


def test_the_spec_is_named_in_rows_only_where_there_are_several() -> None:
    one = Read(render(report([record(), record("b")]))).words["button"]
    two = Read(render(report([record(), record("b", spec="other.bias.yaml")]))).words["button"]
    assert ("spec" in one, "spec" in two) == (False, True)


def test_the_excess_has_a_column_where_a_limit_is_on_it() -> None:
    excess = {**GROWTH, "base": "untrained", "value": 0.62}
    bare = Read(render(report([record(excess=excess)])))
    one = record(excess=excess, limits={"max_excess": 0.5})
    limited = Read(render(report([one, record("b")])))
    assert ("excess" in bare.words["button"], "excess" in limited.words["button"]) == (False, True)
    cells = [cell["data-v"] for cell in limited.of("td") if cell.get("data-n") == "excess"]
    assert cells == ["0.62", ""]
    assert any(cell.startswith("+0.62") for cell in limited.words["td"])


def test_a_baseline_without_results_needs_no_chart_of_its_own() -> None:
    page = Read(render(report([record("a"), record("b")])))
    assert "layers" not in [one.get("aria-labelledby") for one in page.of("section")]


@pytest.mark.parametrize("wanted", [True, False])
def test_pictures_are_in_the_page_once_or_not_at_all(tmp_path: Path, wanted: bool) -> None:
    images = drawn(tmp_path / "stimuli", 24)
    names = {r: list(images)[place * 6 : place * 6 + 6] for place, r in enumerate("XYAB")}
    sets = {
        r: stimuli(r, one, [images[name] for name in one], "stimuli") for r, one in names.items()
    }
    scores = {r: {images[name]: i * 0.1 for i, name in enumerate(one)} for r, one in names.items()}
    results = [record(name, sets=sets, scores=scores) for name in ("a", "b", "c")]
    text = render(report(results), thumbnails=wanted, root=tmp_path)
    addresses = re.findall(r"url\((data:[^)]*)\)", text)
    assert len(addresses) == len(set(addresses)) == (4 if wanted else 0)
    assert text.count('class="picture ') == (12 if wanted else 0)


def test_what_of_the_pictures_is_missing_is_said(tmp_path: Path) -> None:
    text = render(report([measured()]), root=tmp_path)
    assert "Of the influential images, 0 are shown; 4 are not where they were" in text
    assert "Of the influential images" not in render(report([measured()]), thumbnails=False)


@pytest.mark.slow
def test_the_page_of_a_large_run_is_below_three_megabytes(tmp_path: Path) -> None:
    """39 tests, two models, six layers, and more pictures than there is room for."""
    images = drawn(tmp_path / "stimuli", 600)
    run = large(images)
    assert len(run.results) == 468
    text = render(run, root=tmp_path)
    assert len(text.encode()) < 3_000_000
    assert "are left out to keep this page small" in text
    assert len(re.findall(r"url\(data:", text)) > 50


def test_the_same_report_gives_the_same_page() -> None:
    assert render(hostile()) == render(hostile())
