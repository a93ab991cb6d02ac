"""What to do about an unknown word."""

from __future__ import annotations

import pytest

from pytest_visualbias.spec.error_messages import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("max_efect", ["max_effect", "max_gap"], "did you mean 'max_effect'?"),
        ("MALE", ["female", "Male"], "did you mean 'Male'?"),
        ("xyz", ["male", "female"], "known: male, female"),
        ("xyz", [], "there are none"),
    ],
)
def test_the_nearest_known_word_is_offered_or_all_of_them(
    word: str, known: list[str], expected: str
) -> None:
    assert did_you_mean(word, known) == expected
