"""What GitHub Actions is told: on the right line, worst first, and nothing that is not ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import LocatedFault
from pytest_visualbias.reports.github import (
    SUMMARY_LIMIT,
    append_summary,
    workflow_commands,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    MakeReport = Callable[..., Report]

ROOT = Path("/home/runner/checkout/models")
COMMAND = re.compile(r"::(error|warning) ((?:[a-z]+=[^:,]*,?)+)::(.*)")


def told(
    records: Sequence[ResultRecord],
    *faults: LocatedFault,
    workspace: str = "/home/runner/checkout",
) -> list[str]:
    return workflow_commands(records, faults, root=ROOT, workspace=Path(workspace), is_strict=False)


def unescaped(text: str) -> str:
    """Return what a runner of GitHub makes of a value."""
    for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def properties(line: str) -> dict[str, str]:
    found = COMMAND.fullmatch(line)
    assert found is not None, line
    return {
        name: unescaped(value)
        for name, _, value in (one.partition("=") for one in found[2].split(","))
    }


def test_a_failure_is_marked_on_the_line_of_its_test(make: Make) -> None:
    (line,) = told([make(), make("kept", outcome="pass"), make("ok", outcome="accepted")])
    assert line.startswith("::error ")
    assert properties(line) == {
        "file": "models/bias_specs/x.bias.yaml",
        "line": "9",
        "title": "fail: after::gender-career[pooled]",
    }
    assert "::a reason%0A" in line


def test_what_keeps_many_tests_from_being_measured_is_marked_once_at_its_own_line(
    make: Make,
) -> None:
    fault = LocatedFault(
        file="bias_specs/x.bias.yaml",
        line=4,
        column=3,
        place="models.after",
        problem="the checkpoint a.pt is not there",
        remedy="bring it",
    )
    records = [
        make(
            f"t{n}", outcome="error", measured=False, reasons=[str(fault)], fault=fault, line=9 + n
        )
        for n in range(3)
    ]
    (line,) = told(records)
    assert properties(line) == {
        "file": "models/bias_specs/x.bias.yaml",
        "line": "4",
        "col": "3",
        "title": "error: 3 tests of 'after'",
    }
    assert line.endswith(f"::{fault.text}")


def test_an_error_without_a_place_of_its_own_is_marked_at_the_test(make: Make) -> None:
    (line,) = told([make(outcome="error", measured=False)])
    assert properties(line)["line"] == "9"
    assert properties(line)["title"] == "error: after::gender-career[pooled]"


def test_a_spec_outside_of_the_checkout_has_no_file(make: Make) -> None:
    (line,) = told([make()], workspace="/somewhere/else")
    assert {*properties(line)} == {"title"}


def test_the_worst_ten_of_each_level_are_marked_and_the_rest_counted(make: Make) -> None:
    records = [
        *(make(f"o{n}", outcome="inconclusive") for n in range(12)),
        *(make(f"e{n}", outcome="error", measured=False, reasons=[f"why {n}"]) for n in range(5)),
        *(make(f"f{n}", effect_judged=n / 10) for n in range(8)),
    ]
    lines = told(records)
    heads = [properties(line)["title"] for line in lines if line.startswith("::error")]
    assert heads[:8] == [f"fail: after::f{n}[pooled]" for n in reversed(range(8))]
    assert heads[8:] == ["error: after::e0[pooled]", "error: after::e1[pooled]"]
    assert sum(line.startswith("::warning") for line in lines) == 10
    left = [line.split()[:3] for line in lines if not line.startswith("::")]
    assert left == [["3", "more", "errors"], ["2", "more", "warnings"]]


def test_every_fault_of_a_spec_is_at_its_own_line_and_comes_first(make: Make) -> None:
    faults = [
        LocatedFault(file="a.yaml", line=3, column=5, place="tests[0]", problem="one", remedy="x"),
        LocatedFault(file="a.yaml", line=8, column=1, place="layers", problem="two", remedy="x"),
        LocatedFault(file="a.yaml", problem="a problem"),
    ]
    first, second, whole, record = told([make()], *faults)
    places = [properties(line) for line in (first, second, whole)]
    assert [(one["file"], one.get("line"), one.get("col")) for one in places] == [
        ("models/a.yaml", "3", "5"),
        ("models/a.yaml", "8", "1"),
        ("models/a.yaml", None, None),
    ]
    assert first.endswith(f"::{faults[0].text}")
    assert properties(record)["line"] == "9"


def test_the_same_fault_from_two_workers_is_one() -> None:
    fault = LocatedFault(file="a.bias.yaml", line=3, column=5, problem="x")
    assert len(told([], fault, fault)) == 1


def test_names_cannot_give_commands_of_their_own(make: Make, hostile: str) -> None:
    record = make(hostile, spec=f"{hostile}.bias.yaml", reasons=[hostile])
    lines = told([record], LocatedFault(file=f"{hostile}.bias.yaml", problem=hostile))
    assert len(lines) == 2
    for line in lines:
        assert line.isprintable() or "\u200d" in line
        assert line.startswith("::error ")
        assert {*properties(line)} <= {"file", "line", "title"}


def test_the_summary_stays_within_what_github_takes_of_a_step(
    make: Make, make_report: MakeReport, tmp_path: Path
) -> None:
    """It counts all that earlier commands of the step have written, and drops what is longer."""
    path = tmp_path / "summary.md"
    path.write_text("x" * (SUMMARY_LIMIT - 5000))
    report = make_report(*(make(f"t{n}", reasons=["long " * 100]) for n in range(200)))
    append_summary(report, path)
    text = path.read_text("utf-8")
    assert SUMMARY_LIMIT - 1500 < path.stat().st_size <= SUMMARY_LIMIT
    assert "Left out to stay within" in text


@pytest.mark.parametrize("room", [0, 1, 100, 600])
def test_where_there_is_no_room_nothing_is_added(
    make_report: MakeReport, tmp_path: Path, room: int
) -> None:
    path = tmp_path / "summary.md"
    path.write_text("x" * (SUMMARY_LIMIT - room))
    append_summary(make_report(), path)
    assert path.stat().st_size <= SUMMARY_LIMIT
