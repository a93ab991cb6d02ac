"""A failure in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.text import failure_text, headline

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.record import ResultRecord

    Make = Callable[..., ResultRecord]


def test_the_headline_is_all_reasons_in_one_line(make: Make) -> None:
    assert headline(make(reasons=["one", "two"])) == "one; two"
    assert headline(make(outcome="pass", reasons=[])) == "pass"


def test_a_failure_whole(make: Make) -> None:
    sets = {
        role: {"concept": name, "n": 8, "digest": "0" * 64, "images": [], "names": []}
        for role, name in {"X": "male", "Y": "female", "A": "career", "B": "family"}.items()
    }
    record = make(
        sets=sets,
        smallest_detectable_effect=0.96,
        smallest_detectable_effect_attributes=1.08,
        p_welch=0.0123,
    )
    assert failure_text(record) == (
        "a reason\n"
        "  bias_specs/x.bias.yaml:9: gender-career [pooled] of model 'after'\n"
        "  X = male (8), Y = female (8), A = career (8), B = family (8)\n"
        "  d = +1.00 from the targets, +1.25 from the attributes; judged +1.00 "
        "(95% interval +0.20 to +1.50), gap +0.0310\n"
        "  p = 0.001 permuting targets (exact), 5.0e-04 permuting attributes, 0.012 by Welch's t, "
        "adjusted 0.002 (holm, 2 tests)\n"
        "  since 'before': -0.10 -> +1.00, with its sign changed, growth +0.90 (+0.40 to +1.30), "
        "shift +1.10, p = 0.02\n"
        "  limits: max_effect 0.5; smallest |d| that can be significant here: "
        "targets 0.96, attributes 1.08"
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
    assert "smallest |d| that can be significant here: targets none" in text


def test_a_text_is_plain_ascii_where_names_are(make: Make) -> None:
    assert failure_text(make()).isascii()
    assert "\x1b" not in failure_text(make())
