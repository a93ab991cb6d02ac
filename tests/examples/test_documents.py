"""What the documents show is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_visualbias.spec.parsing import parse_spec
from pytest_visualbias.spec.schema import BiasSpec, BiasTest, Limits, Settings, Transform
from pytest_visualbias.spec.suites import Suite, read_suite

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/spec.md", "docs/suites.md")


def blocks(document: str, language: str) -> list[str]:
    """Return the fenced blocks of a language in a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_spec_that_a_document_shows_is_valid(document: str) -> None:
    shown = [text for text in blocks(document, "yaml") if "visualbias: 1" in text]
    assert shown
    for text in shown:
        parse_spec(text, file=document, folder=ROOT)


def test_the_suite_that_a_document_shows_is_valid(tmp_path: Path) -> None:
    (text,) = [text for text in blocks("docs/suites.md", "yaml") if "visualbias_suite" in text]
    path = tmp_path / "work.suite.yaml"
    path.write_text(text, encoding="utf-8")
    suite = read_suite(path, file="docs/suites.md").suite
    missing = [key for key in Suite.model_fields if f"{key}:" not in text and key != "extends"]
    assert (len(suite.tests), missing) == (1, [])


@pytest.mark.parametrize("model", [BiasSpec, BiasTest, Limits, Settings, Transform])
def test_every_key_of_a_spec_is_described(model: type[BiasSpec]) -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    missing = [key for key in model.model_fields if not re.search(rf"\b{key}\b", text)]
    assert missing == []


def test_every_path_that_a_document_links_to_is_there() -> None:
    examples = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*/README.md")]
    pages = ("docs/baseline.md", "docs/cache.md", "docs/action.md")
    for document in (*DOCUMENTS, *pages, *examples):
        text = (ROOT / document).read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]
        assert missing == []


def test_every_option_that_the_readme_names_exists(pytester: pytest.Pytester) -> None:
    known = pytester.runpytest_inprocess("--help").stdout.str()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for option in set(re.findall(r"--visualbias(?:-[a-z]+)*", text)):
        assert option in known, option
