"""The texts that people read, each recorded in ``texts``; ``make golden`` records them again."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.cli.main import main
from tests.golden.conftest import TEXTS
from tests.plugin.conftest import (
    LATER,
    LAYERED,
    control_test,
    kind_test,
    one_test,
    sentences,
    vectors,
)
from tests.plugin.test_outcome_gap import gate as gate_gaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugin.conftest import Project

    Golden = Callable[[str, str], None]
    Output = pytest.CaptureFixture[str]

COLUMNS = ("60", "80", "140")
EVIDENCE = ("significant", "point", "interval", "equivalence")
SPEC = "bias_specs/x.bias.yaml"
CONCEPTS = "{x: x, y: y, a: a, b: b, c: c, d: d, flower: flower, insect: insect, gone: gone}"
WAIVER = f"{{max_effect: 1.9, reason: Retrained in May., until: {LATER}}}"
FORMATS = {"md": "report.md", "csv": "r.csv", "model-card": "model_card.md", "html": "page.html"}


@pytest.fixture
def every_outcome(project: Project) -> Project:
    """A project in which a test passes, fails, errs, is inconclusive, invalid and accepted."""
    both = vectors(bias=0.15) | {"u": vectors(bias=1.0)["x"], "v": vectors(bias=1.0)["y"]}
    still = vectors() | {"u": vectors()["x"], "v": vectors()["y"]}
    project.store("before", still)
    project.store("after", {**both, "c": both["c"] * 0 + both["c"][:1], "rock": both["c"]})
    project.spec(
        one_test("passes", "{max_effect: 1.9, max_growth: 1.9}"),
        one_test("fails", X="u", Y="v"),
        one_test("grows", "{max_growth: 0.2}", evidence="point"),
        one_test("inconclusive"),
        one_test("errs", X="gone"),
        one_test("accepted", X="u", Y="v", accept=WAIVER),
        one_test("control", "{min_effect: 1.9}", X="x", Y="y", A="c", B="d", control="positive"),
        one_test("invalid", A="c", B="d"),
        one_test("reported", "{}"),
        concepts=CONCEPTS.replace("}", ", u: u, v: v}"),
    )
    return project


@pytest.mark.parametrize("columns", COLUMNS)
def test_terminal(
    every_outcome: Project, golden: Golden, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    golden(f"terminal_{columns}.txt", sentences(every_outcome.gate()))


def test_terminal_verbose(every_outcome: Project, golden: Golden) -> None:
    golden("terminal_verbose.txt", sentences(every_outcome.gate("-v", "-rA", "--tb=no")))


def test_terminal_quiet(every_outcome: Project, golden: Golden) -> None:
    golden("terminal_quiet.txt", sentences(every_outcome.gate("-q", "--visualbias-strict")))


def test_report_files(every_outcome: Project, golden: Golden, capsys: Output) -> None:
    every_outcome.gate("--junitxml=junit.xml")
    written = [f"--{name}={file}" for name, file in FORMATS.items()]
    main(["report", "out.json", *written, "--no-thumbnails"])
    capsys.readouterr()
    text = {file: (every_outcome.path / file).read_text("utf-8") for file in FORMATS.values()}
    golden("report.md", text["report.md"])
    golden("model_card.md", text["model_card.md"])
    golden("csv_header.txt", text["r.csv"].splitlines()[0].replace(",", "\n"))
    golden("page.txt", shown_text(text["page.html"]))
    junit = (every_outcome.path / "junit.xml").read_text("utf-8")
    junit = re.sub(r' (time|timestamp|hostname)="[^"]*"', "", junit).replace("><", ">\n<")
    golden("junit.xml", re.sub(r"(\d\.\d{3})\d{5,}", r"\1", junit))


def shown_text(page: str) -> str:
    """Return the text of a page, a line for each element that has text."""
    page = re.sub(r"<(script|style|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    pieces = (html.unescape(piece).strip() for piece in re.split(r"<[^>]*>", page))
    return "\n".join(" ".join(piece.split()) for piece in pieces if piece)


def test_github(every_outcome: Project, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(every_outcome.path / "summary.md"))
    lines = every_outcome.gate().outlines
    golden("github_commands.txt", "\n".join(line for line in lines if line.startswith("::")))
    golden("github_summary.md", (every_outcome.path / "summary.md").read_text("utf-8"))


def failures(project: Project) -> str:
    """Return what the gate says of the tests that do not pass, each with its details."""
    lines = project.gate().outlines
    first = next(n for n, line in enumerate(lines) if re.search("= (FAILURES|ERRORS|visual)", line))
    last = next(n for n, line in enumerate(lines) if "= short test summary" in line)
    return "\n".join(lines[first:last])


EVERY_LIMIT = {
    "ieat": ("max_effect: 0.5", "max_gap: 0.1", "max_growth: 0.2", "max_shift: 0.2"),
    "sc-eat": ("max_effect: 0.5", "max_gap: 0.1", "max_growth: 0.2"),
    "similarity-gap": ("max_effect: 0.5", "max_gap: 0.1", "max_growth: 0.2"),
    "intra-similarity": ("max_effect: 0.1", "max_growth: 0.1", "max_shift: 0.1"),
}


@pytest.mark.parametrize("kind", EVERY_LIMIT)
def test_failures_of_a_kind(project: Project, golden: Golden, kind: str) -> None:
    project.pair(after=3.0)
    project.spec(
        *(kind_test(kind, f"{{{limit}}}", name=limit.split(":")[0]) for limit in EVERY_LIMIT[kind])
    )
    golden(f"failures_{kind}.txt", failures(project))


def test_evidence(project: Project, golden: Golden) -> None:
    project.pair(after=0.15)
    project.spec(*(one_test(evidence, evidence=evidence) for evidence in EVIDENCE))
    golden("evidence.txt", sentences(project.gate()))


def test_failures_of_controls(project: Project, golden: Golden) -> None:
    project.store("before", control=1.0)
    project.store("after", control=0.0)
    project.spec(
        control_test(),
        one_test("tested"),
        one_test("absent", "{min_effect: 1.5}", A="c", B="d", control="positive"),
    )
    golden("failures_controls.txt", failures(project))


def test_failures_with_waivers(project: Project, golden: Golden) -> None:
    project.store("before", vectors(bias=-1.0) | {"u": vectors()["x"], "v": vectors()["y"]})
    project.store("after", vectors(bias=1.0) | {"u": vectors()["x"], "v": vectors()["y"]})
    project.spec(
        one_test("ended", accept=WAIVER.replace(LATER, "2026-08-31")),
        one_test("too_small", accept=WAIVER.replace("1.9", "1.5")),
        one_test("of_another_limit", "{max_gap: 0.05}", accept=WAIVER),
        one_test("turned_round", accept=WAIVER),
        one_test("not_needed", X="u", Y="v", accept=WAIVER),
        one_test("of_a_shift", "{max_effect: 0.5, max_shift: 0.2}", accept=WAIVER),
        concepts=CONCEPTS.replace("}", ", u: u, v: v}"),
    )
    golden("failures_waivers.txt", failures(project))


def test_outcome_gap(project: Project, golden: Golden, capsys: Output) -> None:
    gate_gaps(project)
    golden("outcome_gap.txt", sentences(project.gate("-vv")))
    capsys.readouterr()
    main(["explain", SPEC, "one", "--report", "out.json"])
    golden("explain_outcome_gap.txt", capsys.readouterr().out)


def test_errors(project: Project, golden: Golden) -> None:
    spoilt = vectors()
    spoilt["x"][3] = 0
    spoilt["c"][2, 0] = np.nan
    project.store("before", label="other-")
    project.store("after", spoilt)
    project.spec(
        one_test("no_set", X="gone"),
        one_test("row_of_zeros"),
        one_test("not_finite", X="flower", Y="insect", A="c", B="d"),
        one_test("other_stimuli", "{max_growth: 0.2}", X="flower", Y="insect"),
        concepts=CONCEPTS,
    )
    golden("errors.txt", failures(project))


def test_errors_of_models(project: Project, golden: Golden) -> None:
    project.pair()
    (project.path / "broken.safetensors").write_bytes(b"no weights")
    project.spec(
        models="""
  before: {source: embeddings, path: ../absent.safetensors}
  after: {source: embeddings, path: ../broken.safetensors}
"""
    )
    golden("errors_models.txt", sentences(project.gate()))


def test_baseline(project: Project, golden: Golden) -> None:
    alone = "\n  after: {source: embeddings, path: ../after.safetensors}\n"
    project.pair()
    test = one_test("one", "{max_growth: 0.2}")
    project.spec(test, models=alone)
    absent = sentences(project.gate())
    recorded = sentences(project.gate("--visualbias-update"))
    project.pair(after=1.0)
    grown = sentences(project.gate())
    golden("baseline.txt", f"{absent}\n\n{recorded}\n\n{grown}")


def test_layers_and_growth(project: Project, golden: Golden) -> None:
    project.layered("early", "late")
    project.spec(head="layers: [early, late]", models=LAYERED)
    golden("layers_of_vectors.txt", sentences(project.gate("-v")))


def test_compare(project: Project, golden: Golden, capsys: Output) -> None:
    project.spec(one_test("one"), one_test("same", A="c", B="d"), one_test("gone", X="flower"))
    for name, bias in (("first", 0.0), ("second", 1.0)):
        if name == "second":
            project.spec(one_test("one"), one_test("same", A="c", B="d"), one_test("new"))
        project.pair(after=bias)
        project.run("--visualbias", f"--visualbias-json={name}.json")
    capsys.readouterr()
    main(["compare", "first.json", "second.json"])
    main(["compare", "second.json", "first.json"])
    golden("compare.txt", capsys.readouterr().out)


def test_commands_about_a_spec(every_outcome: Project, golden: Golden, capsys: Output) -> None:
    every_outcome.gate()
    capsys.readouterr()
    every_outcome.path.joinpath("second.bias.yaml").write_text("visualbias: 1\nmodel: {}\n")
    commands = {
        "check.txt": ["check", SPEC, "second.bias.yaml"],
        "explain.txt": ["explain", SPEC, "grows"],
        "explain_result.txt": ["explain", SPEC, "grows", "--report", "out.json"],
        "explain_spec.txt": ["explain", SPEC],
        "suggest.txt": ["suggest", SPEC, "--seeds", "0"],
        "layers.txt": ["layers", SPEC, "after"],
        "report.txt": ["report", "out.json"],
    }
    for name, arguments in commands.items():
        code = main(arguments)
        output = capsys.readouterr()
        golden(name, f"{output.out}{output.err}\nexit code {code}")


NETWORK = ("--after", "after.safetensors", "--source", "timm", "--name", "test_resnet")


def test_commands_without_a_spec(
    project: Project, golden: Golden, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALBIAS_DATA", "/nowhere/data")  # lines wrap by the length of the path
    project.store("after")
    commands = {
        "init_empty.txt": ["init", "--dry-run"],
        "init.txt": ["init", "--dry-run", "--ci", "github", *NETWORK],
        "suites.txt": ["suites"],
        "suites_ieat.txt": ["suites", "ieat"],
        "fetch.txt": ["fetch", "ieat", "--dry-run", "--data", "data"],
        "cache.txt": ["cache", "info", "--cache", "absent"],
    }
    for name, arguments in commands.items():
        code = main(arguments)
        output = capsys.readouterr()
        golden(name, f"{output.out}{output.err}\nexit code {code}")


COMMANDS = (
    *("check", "embed", "cache", "compare", "explain", "fetch", "init", "layers", "probe"),
    *("report", "schema", "suggest", "suites"),
)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(
    golden: Golden, capsys: Output, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"] if command else ["--help"])
    usage, _, text = capsys.readouterr().out.partition("\n\n")
    assert usage.startswith("usage: visualbias")  # wrapped in other ways by other Pythons
    golden(f"help_{command or 'visualbias'}.txt", text)


def test_help_of_pytest(project: Project, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = project.run("--help").outlines
    start = next(index for index, line in enumerate(lines) if line.startswith("bias of vision"))
    end = next(
        index for index, line in enumerate(lines) if index > start and line and line[0] != " "
    )
    options = [line for line in lines if re.match(r"  visualbias_\w+ \(", line)]
    golden("help_pytest.txt", "\n".join([*lines[start:end], *options]))


FAULTY_HEADS = (
    "visualbias: 2",
    "layers: [pool, pool]",
    "setings: {}",
    "settings: {alpha: 1.5}",
    "settings: {seed: high}",
    "settings: {evidence: proof}",
    "settings: {correction: none at all}",
    "known_duplicates: x",
    "suite: {name: ieta}",
)
FAULTY_TESTS = (
    one_test("name", "{max_efect: 0.5}"),
    one_test("number", "{max_effect: much}"),
    one_test("negative", "{max_effect: -1}"),
    one_test("too_large", "{max_effect: 2.5}"),
    one_test("not_a_number", "{max_effect: .nan}"),
    one_test("contradiction", "{min_effect: 0.6, max_effect: 0.5}"),
    one_test("unknown", X="males"),
    one_test("same", Y="x"),
    one_test("model", "{max_growth: 0.2}", growth_from="last"),
    one_test("key", limit="0.5"),
    one_test("control", "{max_effect: 0.5}", control="positive"),
    one_test("kind").replace("kind: ieat", "kind: iat"),
    one_test("roles").replace(", B: b}", "}"),
    one_test("until", accept="{max_effect: 1, reason: known, until: soon}"),
    one_test("reason", accept=f"{{max_effect: 1, until: {LATER}}}"),
    one_test("anyway", accept=f"{{max_effect: 0.5, reason: known, until: {LATER}}}"),
    one_test("no_limit", accept=f"{{reason: known, until: {LATER}}}"),
    kind_test("intra-similarity", "{max_gap: 0.1}"),
    kind_test("similarity-gap").replace("{A: a}", "{A: a, B: b}"),
)
FAULTY_MODELS = (
    "\n  after: {source: embedding, path: x.safetensors}\n",
    "\n  after: {source: embeddings}\n",
    "\n  after: {source: timm, name: test_resnet, checkpoint: 3}\n",
    "\n  after: {source: timm, name: test_resnet, pretrained: true, checkpoint: x.pth}\n",
    "\n  after: {source: factory, call: models}\n",
    "\n  after: {source: timm, name: test_resnet, checkpoints: run/*.pth, growth_from: first}\n",
)


def test_spec_errors(project: Project, golden: Golden, capsys: Output) -> None:
    """Each fault in a spec of its own, so that none hides another."""
    project.pair()
    messages = []
    for arguments in (
        *({"head": head} for head in FAULTY_HEADS),
        *({"models": models} for models in FAULTY_MODELS),
    ):
        project.spec(**arguments)
        messages.append(checked(capsys))
    for test in FAULTY_TESTS:
        project.spec(test)
        messages.append(checked(capsys))
    for text in ("", "- a list", "visualbias: 1\n\ttests: []", "visualbias: 1\nvisualbias: 1"):
        (project.path / SPEC).write_text(text, encoding="utf-8")
        messages.append(checked(capsys))
    golden("spec_errors.txt", "\n".join(messages))


def checked(capsys: Output) -> str:
    """Return what `check` says of the spec."""
    code = main(["check", SPEC])
    output = capsys.readouterr()
    return f"{output.out}{output.err}exit code {code}\n"


def test_every_recorded_text_is_compared() -> None:
    """No text stays that no test writes any more."""
    source = Path(__file__).read_text(encoding="utf-8")
    named = set(re.findall(r'"(\w+\.(?:txt|md|xml))"', source))
    named |= {f"terminal_{columns}.txt" for columns in COLUMNS}
    named |= {f"failures_{name}.txt" for name in EVERY_LIMIT}
    named |= {f"help_{command}.txt" for command in ("visualbias", *COMMANDS)}
    assert {path.name for path in TEXTS.iterdir()} == named - {"summary.md"}
