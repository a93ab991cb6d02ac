"""Numbers of biases in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]


def shown(records: list[ResultRecord], width: int = 80) -> list[str]:
    screen = Screen(width=width, has_colour=False, has_unicode=True)
    return [line.rstrip() for line in render(records, [], screen).splitlines()]


def cell(make: Make, tests: int = 10, biased: int = 3, **keys: object) -> list[ResultRecord]:
    """Return the records of a cell of which some tests have a small p."""
    return [
        make(f"{index}", **{"p_verdict": 0.001 if index < biased else 0.8, **keys})
        for index in range(tests)
    ]


def table(lines: list[str]) -> list[str]:
    start = next(index for index, line in enumerate(lines) if "number of biases" in line)
    return lines[start:]


def test_a_spec_of_ten_tests_has_a_table_of_models_and_layers(make: Make) -> None:
    records = [
        *cell(make, model="before"),
        *cell(make, layer="early", biased=0),
        *cell(make, biased=5),
        *cell(make, model="random", role="random", biased=4),
        make("flowers", control="positive", outcome="fail"),
    ]
    lines = table(shown(records))
    assert [line.split() for line in (lines[1], *lines[3:6])] == [
        ["model", "pooled", "early"],
        ["before", "(reference)", "3/0/3", "-"],
        ["after", "5/1/5!", "0/0"],
        ["random", "(random)", "4/4", "-"],
    ]
    assert any(line.startswith("! ") for line in lines), "a positive control failed there"


def test_a_cell_that_lacks_tests_says_of_how_many_it_is(make: Make) -> None:
    late = cell(make, layer="late")
    late[9] = make("9", layer="late", measured=False, outcome="error")
    lines = table(shown([*cell(make), *late]))
    assert lines[3].split() == ["after", "3/3", "3/3", "of", "9"]


def test_fewer_tests_have_no_table(make: Make) -> None:
    assert not any("number of biases" in line for line in shown(cell(make, tests=9)))


@pytest.mark.parametrize("width", [40, 80, 140])
def test_layers_that_do_not_fit_follow_in_another_table(make: Make, width: int) -> None:
    layers = [f"stages.{index}.blocks.10.attention:flatten" for index in range(12)]
    records = [one for layer in layers for one in cell(make, layer=layer)]
    lines = table(shown(records, width))
    assert max(map(len, lines[:-1])) <= max(width, 72)
    assert "".join(lines).count("3/3") == 12


def test_names_are_shown_as_they_are(make: Make) -> None:
    lines = table(shown(cell(make, model="[red]m[/red]", layer="[bold]l", role="gated")))
    assert "[red]m[/red]" in "\n".join(lines)
    assert "[bold]l" in "\n".join(lines)
