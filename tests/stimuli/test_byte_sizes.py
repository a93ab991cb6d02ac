"""Numbers of bytes as people write and read them."""

from __future__ import annotations

import pytest

from pytest_visualbias.stimuli.byte_sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("17 b", 17),
        ("1kB", 1000),
        ("500MB", 500_000_000),
        ("1.5 GB", 1_500_000_000),
        ("2g", 2_000_000_000),
        ("2GiB", 2 * 1024**3),
        (" 3 Ti ", 3 * 1024**4),
    ],
)
def test_sizes_are_read_in_the_units_that_people_write(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "2", "GB", "-1GB", "2XB", "1,5GB", "1e3MB", "2 GB left", "²GB", "nanGB"]
)
def test_what_means_no_size_is_refused_in_a_sentence(text: str) -> None:
    """A number without a unit, too: two bytes are never meant."""
    with pytest.raises(ValueError, match="500MB or 2GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_340_000_000, "1.3 GB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_are_shown_with_four_digits_at_most(size: int, text: str) -> None:
    assert format_size(size) == text
