"""What a person sees at the end of a run, on any terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import control_test, one_test, sentences

if TYPE_CHECKING:
    from tests.plugin.conftest import Project

FLAG = "--visualbias"
LONG = "a-name-that-is-long-enough-to-fill-more-than-half-of-any-line-of-eighty-columns"


@pytest.fixture
def verdicts(project: Project) -> Project:
    """A test that passes, one that fails, one without evidence and one that errs."""
    project.pair(after=0.15)
    project.spec(
        one_test("kept", A="c", B="d"),
        one_test("grown", "{max_growth: 0.2}", evidence="point"),
        one_test(LONG),
        one_test("gone", X="gone"),
        control_test(),
        concepts=(
            "{x: x, y: y, a: a, b: b, c: c, d: d, flower: flower, insect: insect, gone: gone}"
        ),
    )
    return project


def section(lines: list[str]) -> list[str]:
    """Return the lines of the gate's own summary."""
    start = next(index for index, line in enumerate(lines) if re.search(r"=+ visualbias =+", line))
    rest = lines[start + 1 :]
    end = next(
        index for index, line in enumerate(rest) if line.lstrip("\x1b[0123456789m")[:3] == "==="
    )
    return rest[:end]


def tables(lines: list[str]) -> list[str]:
    """Return the lines of the tables: those after the verdicts, without the warnings."""
    start = lines.index("") if "" in lines else len(lines)
    return [line for line in lines[start:] if not line.startswith(("warning: ", "note: "))]


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_no_table_is_wider_than_the_screen_and_ids_are_never_shortened(
    verdicts: Project, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = section(verdicts.gate().outlines)
    shown = tables(lines)
    assert len(shown) > 15
    if columns > 40:
        assert max(len(line) for line in shown) <= columns
    assert any(f"bias_specs/x.bias.yaml::after::{LONG}[pooled]: " in line for line in lines)
    assert not {"…", "..."} & {*"".join(lines)}
    folded = "".join(line.split(" ")[0] for line in shown).partition("bars:")[0]
    assert folded.count(LONG) == 2, "once for each model, folded where it must be"


def test_nothing_of_it_is_shown_where_no_spec_was_met(project: Project) -> None:
    project.pytester.makepyfile("def test_other(): pass")
    text = sentences(project.run("-v"))
    assert "== visualbias" not in text
    assert "visualbias: " not in text


def test_colour_comes_when_asked_for_and_not_otherwise(
    verdicts: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any("\x1b" in line for line in verdicts.gate("--color=no").outlines)
    assert any("\x1b[1;31mFAIL" in line for line in verdicts.gate("--color=yes").outlines)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any("\x1b" in line for line in verdicts.gate().outlines)


@pytest.mark.slow
def test_a_screen_of_ascii_is_readable(verdicts: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines stay lines, and what ASCII does not have is written out."""
    verdicts.spec(one_test("Müller"), one_test("one", "{max_growth: 0.2}", evidence="point"))
    for name, value in {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}.items():
        monkeypatch.setenv(name, value)
    result = verdicts.process(FLAG)
    assert result.ret == 1
    lines = result.outlines
    assert all(line.isascii() for line in lines)
    shown = section(lines)
    assert any(line.startswith("M\\xfcller ") for line in shown)
    assert any("before -> after" in line for line in shown)
    assert any(set(line) <= set("+- ") and "--" in line for line in shown), "a rule of ASCII"
    assert "\\n" not in "".join(shown)


def test_without_pytests_cache_embeddings_are_kept_for_the_run_only(verdicts: Project) -> None:
    assert verdicts.gate("-p", "no:cacheprovider").ret == 1
    assert not (verdicts.path / ".pytest_cache").exists()


def test_without_a_terminal_the_gate_still_judges(verdicts: Project) -> None:
    result = verdicts.gate("-p", "no:terminal")
    assert result.ret == 1
    assert verdicts.outcomes()["after::grown[pooled]"] == "fail"


@pytest.mark.parametrize("style", ["short", "line", "no", "native", "long"])
def test_no_style_of_tracebacks_shows_one_for_a_verdict(verdicts: Project, style: str) -> None:
    verdicts.refuses(1, options=[f"--tb={style}"])


def test_on_ci_the_short_summary_has_the_whole_headline(
    verdicts: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("COLUMNS", "80")
    result = verdicts.gate()
    headline = verdicts.row("grown")["reasons"][0]
    node = "bias_specs/x.bias.yaml::after::grown[pooled]"
    assert f"FAILED {node} - {headline}" in sentences(result)
