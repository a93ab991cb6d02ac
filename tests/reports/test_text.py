"""A failure in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.sentences import failure_text, result_line
from tests.reports.conftest import GROWTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]


NO_P: dict[str, object] = dict.fromkeys(("p_value", "p_verdict", "p_adjusted", "p_method"))


def test_the_headline_is_all_reasons_in_one_line(make: Make) -> None:
    assert result_line(make(reasons=["one", "two"])) == "one; two"
    assert result_line(make(outcome="pass", reasons=[])) == "pass"


def test_where_nothing_was_measured_the_place_is_said(make: Make) -> None:
    record = make(outcome="error", measured=False, reasons=["no such folder"])
    assert failure_text(record).splitlines() == [
        "no such folder",
        "  bias_specs/x.bias.yaml:9: gender-career [pooled] of model 'after'",
    ]


def test_the_side_that_is_not_judged_is_left_out(make: Make) -> None:
    text = failure_text(make(sides="targets"))
    assert "permuting attributes" not in text
    assert "smallest detectable effect: none" in text


def test_a_text_is_plain_ascii_where_names_are(make: Make) -> None:
    assert failure_text(make()).isascii()
    assert "\x1b" not in failure_text(make())


@pytest.mark.parametrize(
    ("kind", "keys", "there", "absent"),
    [
        ("ieat", {}, ["permuting targets", "permuting attributes", "+1.25"], []),
        ("sc-eat", {}, ["permuting attributes", "d = +1.00"], ["targets"]),
        ("similarity-gap", {}, ["permuting targets", "d = +1.00"], ["attributes"]),
        ("intra-similarity", {"gap": None, **NO_P}, ["similarity +1.00"], ["p = ", "gap"]),
    ],
)
def test_what_a_kind_does_not_have_is_left_out(
    make: Make, kind: str, keys: dict[str, object], there: list[str], absent: list[str]
) -> None:
    one_side = {"effect_size_attributes": None, "p_attributes": None, "sides": None}
    growth = GROWTH | (NO_P if kind == "intra-similarity" else {})
    record = make(kind=kind, growth=growth, **(one_side if kind != "ieat" else {}), **keys)
    text = failure_text(record)
    assert [word for word in there if word not in text] == []
    assert [word for word in absent if word in text] == []
    assert "-0.10 -> +1.00" in text


def test_what_single_untrained_seeds_show_is_said(make: Make) -> None:
    """In their mean, effects of either sign cancel."""
    excess = {**GROWTH, "base": "untrained", "untrained": [-0.4, 0.1, 0.6]}
    assert "; its 3 seeds from -0.40 to +0.60" in failure_text(make(excess=excess))
    assert "seeds" not in failure_text(make(excess={**excess, "untrained": [0.6]}))
