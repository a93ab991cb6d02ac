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


def test_the_headline_is_all_reasons_in_one_line(make: Make) -> None:
    assert result_line(make(reasons=["one", "two"])) == "one; two"
    assert result_line(make(outcome="pass", reasons=[])) == "pass"


def test_a_failure_whole(make: Make) -> None:
    sets = {
        role: {"concept": name, "n": 8, "digest": "0" * 64, "images": [], "names": []}
        for role, name in {"X": "male", "Y": "female", "A": "career", "B": "family"}.items()
    }
    record = make(
        sets=sets,
        detectable=1.31,
        p_welch=0.0123,
    )
    assert failure_text(record) == (
        "a reason\n"
        "  bias_specs/x.bias.yaml:9: gender-career [pooled] of model 'after'\n"
        "  X = male (8), Y = female (8), A = career (8), B = family (8)\n"
        "  d = +1.00 from the targets, +1.25 from the attributes; judged +1.00 "
        "(95% interval +0.20 to +1.50), gap +0.0310\n"
        "  p = 0.001 permuting targets (exact), 5.0e-04 permuting attributes, 0.012 by Welch's t, "
        "adjusted 0.002 (holm, 2 p)\n"
        "  since 'before': sign changed: -0.10 -> +1.00, growth +0.90 (+0.40 to +1.30), "
        "shift +1.10, adjusted p = 0.02\n"
        "  limits: max_effect 0.5; smallest detectable effect: 1.31"
    )


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


def of_one_side(make: Make, kind: str, **keys: object) -> ResultRecord:
    """Return a record of a kind that has one side only."""
    return make(
        kind=kind,
        effect_size_attributes=None,
        p_attributes=None,
        sides=None,
        detectable=0.96,
        **keys,
    )


@pytest.mark.parametrize(
    ("kind", "part"), [("sc-eat", "attributes"), ("similarity-gap", "targets")]
)
def test_of_a_kind_with_one_side_only_that_side_is_told(make: Make, kind: str, part: str) -> None:
    assert failure_text(of_one_side(make, kind)).splitlines()[3:] == [
        "  d = +1.00 (95% interval +0.20 to +1.50), gap +0.0310",
        f"  p = 0.001 permuting {part} (exact), adjusted 0.002 (holm, 2 p)",
        (
            "  since 'before': sign changed: -0.10 -> +1.00, "
            "growth +0.90 (+0.40 to +1.30), shift +1.10, adjusted p = 0.02"
        ),
        "  limits: max_effect 0.5; smallest detectable effect: 0.96",
    ]


def test_a_similarity_within_a_set_has_an_interval_and_no_p(make: Make) -> None:
    nothing = dict.fromkeys(("p_value", "p_verdict", "p_adjusted", "p_method"))
    growth = GROWTH | nothing
    record = of_one_side(make, "intra-similarity", gap=None, growth=growth, **nothing)
    assert failure_text(record).splitlines()[3:] == [
        "  mean similarity +1.00 (95% interval +0.20 to +1.50)",
        (
            "  since 'before': sign changed: -0.10 -> +1.00, "
            "growth +0.90 (+0.40 to +1.30), shift +1.10"
        ),
        "  limits: max_effect 0.5",
    ]


def test_what_single_untrained_seeds_show_is_said(make: Make) -> None:
    """In their mean, effects of either sign cancel."""
    excess = {**GROWTH, "base": "untrained", "untrained": [-0.4, 0.1, 0.6]}
    assert "; its 3 seeds from -0.40 to +0.60" in failure_text(make(excess=excess))
    assert "seeds" not in failure_text(make(excess={**excess, "untrained": [0.6]}))
