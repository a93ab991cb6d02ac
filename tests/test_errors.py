"""What a user is told stays on one line and can be read, whatever it quotes."""

from __future__ import annotations

import pickle

import pytest

from pytest_visualbias.errors import (
    MAX_LENGTH,
    DegenerateTestError,
    EncoderError,
    LocatedFault,
    SpecError,
    StimulusError,
    StorageError,
    UsageError,
    VisualBiasError,
    legible,
)


@pytest.mark.parametrize("kind", [UsageError, EncoderError, DegenerateTestError])
def test_a_name_cannot_begin_a_line_or_colour_a_terminal(kind: type[Exception]) -> None:
    """A line of its own would be a command to GitHub, or look like another verdict."""
    error = kind("no layer 'x\n::error::y\r\x1b[31m\u202e'; name another")
    assert str(error) == r"no layer 'x\n::error::y\r\x1b[31m\u202e'; name another"


def test_of_what_nobody_would_read_the_start_and_the_remedy_stay() -> None:
    text = f"x.pt: no key '{'k' * 100_000}'; save it again"
    found = str(EncoderError(text))
    assert len(found) <= MAX_LENGTH
    assert found.startswith("x.pt: no key 'kkk")
    assert "kkk ... kkk" in found
    assert found.endswith("kkk'; save it again")


def test_what_is_just_short_enough_is_told_whole() -> None:
    assert legible("x" * MAX_LENGTH) == "x" * MAX_LENGTH
    assert len(legible("x" * (MAX_LENGTH + 1))) <= MAX_LENGTH


def test_every_fault_of_a_spec_has_its_own_line() -> None:
    error = SpecError(
        [
            LocatedFault(file="a.yaml", line=1, column=1, problem="x\ny", remedy="mend it"),
            LocatedFault(file="a.yaml", line=2, place="models.m", problem="z" * 100_000),
        ]
    )
    first, second = str(error).split("\n")
    assert first == r"a.yaml:1:1: x\ny; mend it"
    assert second.startswith("a.yaml:2: models.m: zzz")
    assert len(second) <= MAX_LENGTH


@pytest.mark.parametrize(
    "error",
    [
        SpecError(
            [LocatedFault(file="a", line=1, column=2, place="b", problem="c", remedy="d")] * 2
        ),
        EncoderError("no weights", "bring them", place="x.pt", key="checkpoint"),
        StimulusError("is no image", place="a.png"),
        StorageError("no such file", "bring it", reason="absent", is_missing=True),
        DegenerateTestError("one image", "add some", role="X", row=3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_another_process_keeps_its_fields(error: VisualBiasError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_a_sentence_is_made_of_the_place_the_problem_and_the_remedy() -> None:
    error = UsageError("no such layer", "name another", place="x.yaml:3")
    assert (error.place, error.problem, error.remedy) == (
        "x.yaml:3",
        "no such layer",
        "name another",
    )
    assert str(error) == "x.yaml:3: no such layer; name another"
    assert str(StimulusError("is no image", place="a.png")) == "a.png is no image"
    assert str(EncoderError("no weights")) == "no weights"
