"""A report that somebody else wrote: its names are text in every format, and nothing more."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from markdown_it import MarkdownIt

from pytest_visualbias.api import audit
from pytest_visualbias.cli.main import main
from tests.plugin.conftest import LATER, control_test, one_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

HOSTILE = (
    "::error file=evil::evil",
    "##vso[task.complete result=Succeeded;]evil",
    "##[set-output name=evil]evil",
    "<script>evil()</script><img src=evil onerror=evil()>",
    '"><a href="javascript:evil()">evil</a><!--',
    "[evil](https://evil.example) ![evil](https://evil.example/a.png) https://evil.example",
    "# evil\n\n| evil | evil |\n|---|---|\n<details>",
    "---\nevil: true\n---\n# evil",
    "evil: {license: evil}\n- evil\n<!-- visualbias:end -->",
    '=HYPERLINK("https://evil.example","evil")',
    "@SUM(1+evil)",
    "]]>&evil;\x1b[2J\x07\x9b1mevil\u202e\x00",
)
# What the schema allows only certain words for, and what names files that are looked for.
FIXED = {
    *("outcome", "role", "kind", "alternative", "sides", "evidence", "correction", "control"),
    *(
        "digest",
        "sha256",
        "side",
        "until",
        "started",
        "images",
        "image",
        "path",
        "spec_digest",
        "method",
    ),
}
COMMAND = re.compile(r"##\w*\[|^\s*::", re.MULTILINE)
UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a run with a failure, a waiver, a control and a model that cannot be read."""
    import safetensors.numpy

    from tests.plugin.conftest import vectors

    folder = tmp_path_factory.mktemp("plain")
    for name, bias in (("before", 0.0), ("after", 1.0)):
        safetensors.numpy.save_file(vectors(bias=bias), folder / f"{name}.safetensors")
    models = "".join(
        f"\n  {name}: {{source: embeddings, path: {name}.safetensors, labels: {{run: seven}}}}"
        for name in ("before", "after", "broken")
    )
    tests = (
        one_test("failed", about="about", tags="[tag]"),
        one_test("waived", accept=f"{{max_effect: 1.9, reason: known, until: {LATER}}}"),
        control_test(),
    )
    concepts = "{x: x, y: y, a: a, b: b, flower: flower, insect: insect}"
    text = f"visualbias: 1\ntitle: title\nmodels:{models}\nconcepts: {concepts}\ntests:\n"
    (folder / "x.bias.yaml").write_text(text + "".join(f"  {one}\n" for one in tests))
    report = audit(folder / "x.bias.yaml").report.model_dump_json(by_alias=True)
    found: dict[str, Any] = json.loads(report)
    assert {row["outcome"] for row in found["results"]} >= {"pass", "fail", "accepted", "error"}
    return found


def spoilt(value: Any, text: str, key: str = "") -> Any:  # noqa: ANN401 - plain data
    """Return plain data with another text wherever the schema allows any."""
    if isinstance(value, dict):
        return {name: spoilt(inner, text, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [spoilt(inner, text, key) for inner in value]
    return text if isinstance(value, str) and key not in FIXED else value


class Page(HTMLParser):
    """What a page is made of, and the places that it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value or "" for name, value in attrs if name in ("href", "src")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def check_html(text: str, before: str) -> None:
    page, known = Page(text), Page(before)
    for tag in ("script", "style", "img", "iframe", "form", "base", "meta", "link", "h1"):
        assert page.tags.count(tag) == known.tags.count(tag)
    assert not [one for one in page.places if "evil" in one and not one.startswith("#")]


def check_markdown(text: str, before: str) -> None:
    """Its structure is that of the harmless report: headings, links, and tags."""

    def parts(content: str) -> Iterator[str]:
        for token in MarkdownIt("commonmark").enable("table").parse(content):
            for one in (token, *(token.children or ())):
                if one.type in ("heading_open", "link_open", "image", "hr"):
                    yield one.type
                if one.type.startswith("html_"):
                    yield from re.findall(r"<\w+", one.content)

    assert sorted({*parts(text)} - {"<code", "<br"}) == sorted({*parts(before)} - {"<code", "<br"})
    without_code = re.sub(r"`[^`\n]*`|<code>.*?</code>", "", text)
    assert "https://evil" not in without_code
    assert not re.search(r"(?<![\w&])@\w", without_code)


def check_card(text: str, before: str) -> None:
    """The metadata have the keys that they have anyway, and names in them are text."""

    def metadata(content: str) -> tuple[Any, str]:
        _, head, body = re.split(r"^---\n", content, maxsplit=2, flags=re.MULTILINE)
        return yaml.safe_load(head), body

    def keys(value: Any) -> Any:  # noqa: ANN401 - plain data
        if isinstance(value, dict):
            return {name: keys(inner) for name, inner in value.items()}
        return [keys(inner) for inner in value] if isinstance(value, list) else type(value)

    (found, body), (known, known_body) = metadata(text), metadata(before)
    assert keys(found) == keys(known)
    check_markdown(body, known_body)


def check_csv(text: str, before: str) -> None:
    rows, known = (list(csv.reader(io.StringIO(one))) for one in (text, before))
    assert [len(row) for row in rows] == [len(row) for row in known]
    cells = [cell for row in rows for cell in row]
    assert not [one for one in cells if re.match(r"[=@\t\r]|[+-](?![\d.])", one)]


def check_lines(text: str, before: str) -> None:
    assert "evil" in text
    assert "evil" not in before


FORMATS: dict[str, tuple[tuple[str, ...], Callable[[str, str], None]]] = {
    "html": (("--html", "-"), check_html),
    "markdown": (("--md", "-"), check_markdown),
    "csv": (("--csv", "-"), check_csv),
    "json": (("--json", "-"), check_lines),
    "model card": (("--model-card", "card.md"), check_card),
    "terminal": ((), check_lines),
    "comparison": (("compare",), lambda _text, _before: None),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_a_report_are_text_in_every_format(
    tmp_path: Path,
    plain: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    options, check = FORMATS[name]

    def shown(report: dict[str, Any], file: str) -> str:
        (tmp_path / file).write_text(json.dumps(report))
        card = tmp_path / "card.md"
        card.unlink(missing_ok=True)
        if name == "comparison":
            status = main(["compare", file, file])
        else:
            status = main(["report", file, *options])
        said = capsys.readouterr()
        assert (status, said.err) == (0, ""), said.err
        return card.read_text() if card.exists() else said.out

    before, found = shown(plain, "plain.json"), shown(spoilt(plain, text), "spoilt.json")
    assert not COMMAND.search(found)
    if name != "json":  # in which they are escapes
        assert not UNSEEN.search(found)
    check(found, before)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_a_run_are_text_in_junit(project: Project, serial: Gate, text: str) -> None:
    """Only a run writes it; names that become commands there are errors of the spec."""
    quoted = json.dumps(text)
    accept = f"{{max_effect: 1.9, reason: {quoted}, until: {LATER}}}"
    project.pair(after=1.0)
    project.spec(
        one_test("one", about=quoted), one_test("two", accept=accept), head=f"title: {quoted}"
    )
    result = serial("--junitxml=junit.xml")
    if result.ret == 2:
        assert not (project.path / "out.json").exists()
        return
    content = (project.path / "junit.xml").read_text(encoding="utf-8")
    assert not COMMAND.search(content)
    assert not UNSEEN.search(content.replace("\r", ""))
    tags = {one.tag for one in ET.fromstring(content).iter()}
    assert tags <= {
        *("testsuites", "testsuite", "testcase", "failure", "error", "skipped"),
        *("properties", "property", "system-out", "system-err"),
    }
