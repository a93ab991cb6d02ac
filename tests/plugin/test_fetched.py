"""Fetched stimuli in the gate: found where they were put, and never judged by half."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import NETWORKS, sentences
from tests.stimuli.web import Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.plugin.conftest import Project

SUITE = """\
visualbias_suite: 1
licence: CC0
concepts: {x: x, y: y, a: a, b: b}
tests:
  - {name: one, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}
"""
SPEC = f"visualbias: 1\nmodels:{NETWORKS}suite: drawn\n"
GONE = "x/4.png"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server without files."""
    with serving() as state:
        yield state


@pytest.fixture
def published(networks: Project, server: Server, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that gates by a suite that ships, whose images are on a server alone."""
    shipped, images = networks.path / "shipped", networks.path / "stimuli"
    rows = []
    for path in sorted(images.rglob("*.png")):
        name = path.relative_to(images).as_posix()
        server.files[name] = path.read_bytes()
        url = "-" if name == GONE else server.url(name)
        rows.append(f"{name}\t{url}\t-\t-\n")
        path.unlink()
    (shipped / "manifests").mkdir(parents=True)
    (shipped / "manifests" / "drawn.tsv").write_text("".join(rows))
    (shipped / "drawn.suite.yaml").write_text(SUITE)
    for module in ("spec.suites", "stimuli.manifest"):
        monkeypatch.setattr(f"pytest_visualbias.{module}.shipped_folder", lambda folder: shipped)
    monkeypatch.setenv("VISUALBIAS_DATA", str(networks.path / "data"))
    monkeypatch.delenv("VISUALBIAS_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (networks.path / "bias_specs" / "x.bias.yaml").write_text(SPEC)
    return networks


def fetch(*arguments: str) -> int:
    return main(["fetch", "drawn", "--accept-licence", "--retries=0", *arguments])


def warnings_of_sets(project: Project) -> list[str]:
    """Return what is said of incomplete sets; the drawn squares are near-duplicates, too."""
    warnings: list[str] = project.row("one")["warnings"]
    others = [one for one in warnings if "near-duplicates" not in one]
    assert len(others) == len(warnings) - 1
    return others


def folder(project: Project) -> Path:
    return project.path / "data" / "drawn"


def test_before_the_fetch_the_gate_names_the_command_and_after_it_runs(
    published: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    published.refuses(1, "bias_specs/x.bias.yaml:5:1: suite: ", "'visualbias fetch drawn'")
    capsys.readouterr()
    assert fetch() == 0
    assert "x/4.png" in capsys.readouterr().out
    result = published.gate()
    result.assert_outcomes(passed=2)
    row = published.row("one")
    assert (row["n_x"], row["n_y"]) == (4, 5)
    (warning,) = warnings_of_sets(published)
    assert warning.startswith("drawn.suite.yaml:3:12: concepts.x: has 4 images, and 5 ")
    assert warning in sentences(result)


def test_a_whole_set_has_no_warning(published: Project) -> None:
    fetch()
    published.images("spare", ground=(1, 2, 3), n=5)
    (published.path / "stimuli" / "spare" / "4.png").rename(folder(published) / GONE)
    published.gate().assert_outcomes(passed=2)
    assert warnings_of_sets(published) == []
    assert published.row("one")["n_x"] == 5


def test_what_the_server_no_longer_has_is_a_warning(published: Project, server: Server) -> None:
    del server.files["a/2.png"]
    assert fetch() == 1
    published.gate().assert_outcomes(passed=2)
    row = published.row("one")
    assert row["n_a"] == 4
    assert any("concepts.a: has 4 images, and 5 are published" in one for one in row["warnings"])


def test_a_set_that_was_fetched_in_part_is_an_error_until_it_is_whole(
    published: Project, server: Server
) -> None:
    """One file was refused, which the fetch said; the gate must not go on without it."""
    right = server.files["a/2.png"]
    server.files["a/2.png"] = b"<html>"
    assert fetch() == 1
    published.refuses(1, "drawn.suite.yaml:3:24: concepts.a: 4 of 5 images ")
    assert {*published.outcomes().values()} == {"error"}
    server.files["a/2.png"] = right
    assert fetch() == 0
    published.gate().assert_outcomes(passed=2)


def test_a_fetched_file_that_was_removed_is_an_error(published: Project) -> None:
    fetch()
    (folder(published) / "b" / "0.png").unlink()
    published.refuses(1, "concepts.b: 4 of 5 images ")
    assert {*published.outcomes().values()} == {"error"}


def test_one_set_alone_is_not_enough_for_a_test_of_four(published: Project) -> None:
    assert fetch("--only=x") == 0
    published.refuses(1, "drawn.suite.yaml:3:18: concepts.y: ")
    assert {*published.outcomes().values()} == {"error"}


def test_a_record_that_cannot_be_read_is_an_error(published: Project) -> None:
    fetch()
    (folder(published) / "FETCHED.json").write_text("{")
    result = published.gate()
    result.assert_outcomes(errors=2)
    assert "data/drawn/FETCHED.json: " in sentences(result)


def test_stimuli_that_the_spec_names_are_taken_as_they_are(
    published: Project, server: Server
) -> None:
    server.files["a/2.png"] = b"<html>"
    fetch()
    (published.path / "bias_specs" / "x.bias.yaml").write_text(
        f"{SPEC}stimuli: {json.dumps(str(folder(published)))}\n"
    )
    published.gate().assert_outcomes(passed=2)
    assert warnings_of_sets(published) == []


def test_the_list_of_suites_says_how_much_is_there(
    published: Project, capsys: pytest.CaptureFixture[str], server: Server
) -> None:
    assert main(["suites"]) == 0
    assert "(not there; visualbias fetch drawn)" in " ".join(capsys.readouterr().out.split())
    del server.files["a/2.png"]
    fetch()
    capsys.readouterr()
    for arguments in ([], ["drawn"]):
        assert main(["suites", *arguments]) == 0
        # Where a line is broken depends on how long the path is.
        letters = "".join(capsys.readouterr().out.split())
        assert f"stimuli:{folder(published)}(18of20arethere)" in letters
