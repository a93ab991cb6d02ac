"""The summary as text, whatever the screen."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.reports.tables import Screen
from pytest_visualbias.reports.terminal import render
from tests.reports.conftest import GROWTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import ResultRecord

    Make = Callable[..., ResultRecord]


def violation(kind: str, value: float | None) -> dict[str, object]:
    return {"kind": kind, "value": value, "limit": 0.5, "evidence": value is not None}


def screen(width: int = 80, *, colour: bool = False, unicode: bool = True) -> Screen:
    return Screen(width=width, has_colour=colour, has_unicode=unicode)


def shown(
    records: list[ResultRecord], on: Screen, *notes: str, quiet: bool = False, verbosity: int = 0
) -> list[str]:
    level = -1 if quiet else verbosity
    return [line.rstrip() for line in render(records, notes, on, verbosity=level).splitlines()]


@pytest.mark.parametrize(
    ("outcomes", "given", "verdict"),
    [
        (["pass"], {}, "passed"),
        (["pass", "accepted"], {}, "passed"),
        (["error", "fail", "invalid"], {}, "FAILED"),
        (["inconclusive", "pass"], {}, "INCONCLUSIVE"),
        (["inconclusive"], {"is_strict": True}, "FAILED"),
        (["fail", "inconclusive"], {}, "FAILED"),
        (["pass"], {"is_broken": True}, "FAILED"),
    ],
)
def test_the_first_line_says_the_verdict_in_a_word_and_counts_outcomes(
    make: Make, outcomes: list[str], given: dict[str, bool], verdict: str
) -> None:
    records = [make(f"t{n}", outcome=outcome) for n, outcome in enumerate(outcomes)]
    first = render(records, [], screen(), verbosity=-1, **given).splitlines()[0]
    assert first.partition(":")[0] == verdict
    assert all(f"1 {outcome}" in first for outcome in outcomes)


def test_what_is_wrong_with_many_tests_is_told_once(make: Make) -> None:
    gone = {"outcome": "error", "measured": False, "reasons": ["the checkpoint is gone"]}
    records = [make(f"t{n}", model=model, **gone) for n in (1, 2) for model in ("before", "after")]
    other = make("t3", outcome="error", measured=False, reasons=["the layer is gone"])
    invalid = [
        make(f"t{n}", outcome="invalid", layer=layer, reasons=["the control did not hold"])
        for n in range(3)
        for layer in ("early", "late")
    ]
    unlike = ["not_comparable: before and after differ in pooling"]
    missing = violation("growth", None)
    apart = [make(name, reasons=unlike, violations=[missing]) for name in ("a", "b")]
    both = make("c", reasons=["effect", *unlike], violations=[violation("effect", 1.0), missing])
    lines = shown([*records, other, *invalid, *apart, both], screen(), quiet=True)
    assert sorted(line.partition(" of ")[0].partition("[pooled]")[0] for line in lines[1:]) == [
        "ERROR 4 tests",
        "ERROR bias_specs/x.bias.yaml::after::t3",
        "FAIL 2 tests",
        "FAIL bias_specs/x.bias.yaml::after::c",
        "INVALID 6 tests",
    ]


def test_what_fails_by_its_numbers_is_told_test_by_test(make: Make) -> None:
    over = [make(name, violations=[violation("effect", 1.0)]) for name in ("a", "b")]
    assert sum(line.startswith("FAIL ") for line in shown(over, screen())) == 2


def test_the_interval_stands_in_numbers_where_there_is_room(make: Make) -> None:
    assert "+0.20 +1.50" not in "".join(shown([make()], screen(152)))
    assert "+0.20 +1.50" in "".join(shown([make()], screen(153)))


def test_a_long_table_shows_what_must_be_known_unless_asked_for_all(make: Make) -> None:
    records = [make(f"t{index}", outcome="pass") for index in range(20)]
    records += [make("bad"), make("control", outcome="pass", control="positive")]
    lines = shown(records, screen())
    start = lines.index("bias_specs/x.bias.yaml :: after")
    assert [line.split()[0] for line in lines[start + 3 : start + 5]] == ["bad", "control"]
    assert lines[start + 5].startswith("and 20 pass")
    rows = "\n".join(shown(records, screen(), verbosity=1))
    assert all(f"\nt{index} " in rows for index in range(20))
    assert "which -v shows" not in rows


def test_the_excess_stands_where_it_is_limited(make: Make) -> None:
    excess = {**GROWTH, "base": "untrained", "value": 0.47, "untrained": [0.1, 0.2]}
    lines = shown([make(excess=excess, limits={"max_excess": 0.3})], screen())
    assert "excess" in lines[4]
    assert "+0.47" in lines[6]
    assert "excess" not in shown([make(excess=excess)], screen())[4]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [("inconclusive", "needs more images"), ("invalid", "positive control"), ("fail", "-vv")],
)
def test_what_to_do_is_said_once_for_each_outcome(make: Make, outcome: str, said: str) -> None:
    over = [violation("growth", 1.0)]
    records = [make(name, outcome=outcome, violations=over) for name in ("a", "b")]
    lines = shown(records, screen())
    (line,) = [line for line in lines if line.startswith("to do: ")]
    assert said in line
    assert not [line for line in shown([make(outcome="pass")], screen()) if "to do" in line]


@pytest.mark.parametrize(
    ("kinds", "keys"),
    [
        (["effect"], ["max_effect: 1.01"]),
        (["gap"], ["max_gap: 1.01"]),
        (["effect", "growth"], ["max_effect: 1.01", "max_growth: 1.01"]),
        (["shift"], []),
        (["effect", "shift"], []),
        (["excess"], []),
    ],
)
def test_a_waiver_is_advised_with_the_limits_that_it_has_to_cover(
    make: Make, kinds: list[str], keys: list[str]
) -> None:
    failed = make(violations=[violation(kind, 1.004) for kind in kinds])
    (line,) = [one for one in shown([failed], screen()) if one.startswith("to do: ")]
    assert re.findall(r"max_\w+: [\d.]+", line) == keys


def test_a_waiver_is_advised_for_the_models_that_fail(make: Make) -> None:
    bad = [violation("effect", 1.0)]
    records = [
        make(violations=bad),
        make(model="worse", role="gated", violations=[violation("effect", 1.7)]),
        make(model="clean", role="gated", outcome="pass"),
    ]
    (line,) = [one for one in shown(records, screen()) if one.startswith("to do: ")]
    assert "{max_effect: 1.7, models: [after, worse], " in line
    # Of the layers of two models no choice fits.
    apart = [
        make(violations=bad, layer="early"),
        make(layer="late", outcome="pass"),
        make(model="worse", role="gated", layer="early", outcome="pass"),
        make(model="worse", role="gated", layer="late", violations=bad),
    ]
    assert not [one for one in shown(apart, screen()) if "accept:" in one]


@pytest.mark.parametrize(
    ("templates", "said"),
    [((["{}"], ["{}"]), "more words"), (([], ["{}"]), "more images or words")],
)
def test_what_is_inconclusive_needs_more_of_what_its_sets_hold(
    make: Make, templates: tuple[list[str], list[str]], said: str
) -> None:
    one = {"concept": "c", "n": 8, "digest": "0" * 64, "images": [], "names": []}
    pairs = zip("XA", templates, strict=True)
    sets = {role: {**one, "templates": found} for role, found in pairs}
    (line,) = [
        line
        for line in shown([make(outcome="inconclusive", sets=sets)], screen())
        if line.startswith("to do: ")
    ]
    assert f"needs {said}, or" in line


def test_what_is_not_comparable_needs_other_advice_than_an_effect(make: Make) -> None:
    lines = shown([make(reasons=["not_comparable: before and after differ in pooling"])], screen())
    assert not [line for line in lines if line.startswith("to do: ")]


def test_a_limit_on_the_gap_brings_the_gap_to_any_screen(make: Make) -> None:
    assert " gap " in shown([make(limits={"max_gap": 0.1})], screen())[4]
    assert "+0.031" in shown([make(limits={"max_gap": 0.1})], screen())[6]
    assert " gap " not in shown([make()], screen())[4]


def test_passes_that_show_little_are_counted(make: Make) -> None:
    """With few images an effect at the limit cannot be told from chance: no evidence of none."""
    seen = {"detectable": 0.8}
    weak = make("weak", outcome="pass", **seen)
    strong = make("strong", outcome="pass", **{**seen, "limits": {"max_effect": 0.9}})
    few = "note: 1 test that passes has too few images to find an effect"
    (line,) = [line for line in shown([weak, strong], screen()) if line.startswith(few)]
    assert "0.80" in line
    assert not any("too few images" in line for line in shown([strong], screen()))


@pytest.mark.parametrize(
    ("keys", "is_open"),
    [
        ({"ci_low": -0.3, "ci_high": 0.4}, False),
        ({"ci_low": -0.7, "ci_high": 0.4}, True),
        ({"ci_low": -0.7, "ci_high": 0.4, "alternative": "greater"}, False),
        ({"ci_low": None, "ci_high": None}, True),
    ],
)
def test_a_pass_whose_interval_is_within_the_limit_has_shown_enough(
    make: Make, keys: dict[str, object], is_open: bool
) -> None:
    seen = {"detectable": 0.8}
    lines = shown([make(outcome="pass", **seen, **keys)], screen())
    assert any("too few images" in line for line in lines) is is_open


def test_a_model_that_is_a_reference_in_some_tests_only_is_not_called_one(make: Make) -> None:
    """Its other tests can fail, and stand in the same table."""
    records = [make("one", model="b", role=role) for role in ("gated", "reference")]
    assert "bias_specs/x.bias.yaml :: b" in shown(records, screen())


def test_a_screen_of_ascii_whole(make: Make) -> None:
    records = [make("Müller")]
    lines = shown(records, screen(140, unicode=False))
    assert lines[1] == "FAIL bias_specs/x.bias.yaml::after::M\\xfcller[pooled]: a reason"
    assert all(line.isascii() for line in lines)
    assert "before -> after" in lines[4]
    assert "-0.10 -> +1.00 (+0.90)" in lines[6]
    assert "   : |-:o-   " in lines[6]


@pytest.mark.parametrize("width", [80, 135, 136, 140, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_tables_fit_the_screen_and_fold_long_names(make: Make, width: int, unicode: bool) -> None:
    name = "long-" * 30 + "end"
    records = [make(name, layer="blocks.11"), make(outcome="inconclusive", p_adjusted=1.2e-05)]
    lines = shown(records, screen(width, unicode=unicode))
    table = lines[lines.index("") :]
    assert max(len(line) for line in table) <= width
    assert "…" not in "".join(table)
    cells = [re.split(r"  |\|", line)[0] for line in table]
    assert f"{name}[blocks.11]" in "".join(cells).replace(" ", "")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_where_features_were_found_is_one_line_of_a_model(make: Make, width: int) -> None:
    def read(module: str, side: str) -> dict[str, object]:
        return {"read_out": {"module": module, "side": side, "length": 512}, "module": "pooled"}

    records = [make(name, **read("backbone.classifier.3", "input")) for name in ("one", "two")]
    records.append(make(model="before", **read("output", "output")))
    records.append(make(model="timm", **read("pooled", "")))
    lines = shown(records, screen(width))
    found = [line for line in lines if line.startswith("pooled: ")]
    assert found == [
        "pooled: input of backbone.classifier.3, 512 numbers",
        "pooled: the network's output, 512 numbers",
    ]
    assert lines[lines.index(found[0]) - 1].endswith(":: after")


def test_layers_stand_beside_tests_where_there_are_several(make: Make) -> None:
    records = [make(layer="early"), make(layer="late")]
    text = "\n".join(shown(records, screen()))
    assert "test [layer]" in text
    assert "gender-career [late]" in text


def test_what_could_not_be_measured_has_dashes(make: Make) -> None:
    lines = shown([make(outcome="error", measured=False)], screen(140))
    assert lines[0] == "FAILED: 1 of 1 test (1 error)"
    assert lines[-1].split() == ["gender-career", *"-" * 8, "error"]


def test_a_warning_is_said_once_and_notes_come_last(make: Make) -> None:
    records = [make("one", warnings=["same"]), make("two", warnings=["same", "other"])]
    lines = shown(records, screen(), "a note")
    assert lines[-3:] == ["warning: same", "warning: other", "a note"]


def test_quiet_leaves_tables_and_warnings_out(make: Make) -> None:
    lines = shown([make(warnings=["same"])], screen(), "a note", quiet=True)
    assert lines == [
        "FAILED: 1 of 1 test (1 fail)",
        "FAIL bias_specs/x.bias.yaml::after::gender-career[pooled]: a reason",
        "a note",
    ]


@pytest.mark.parametrize("verbosity", [-1, 0, 1, 2])
def test_no_name_reaches_the_terminal_as_its_codes(
    make: Make, hostile: str, verbosity: int
) -> None:
    """Nor can one turn the direction of what stands beside it, or add lines to a table."""
    sets = {
        role: {"concept": hostile, "n": 3, "digest": "0", "images": list("abc"), "names": names}
        for role, names in zip("XYAB", [[hostile, "b", "c"]] * 4, strict=True)
    }
    scores = {role: {"a": 2.0, "b": 0.1, "c": 0.0} for role in "XYAB"}
    told: dict[str, object] = {
        **dict.fromkeys(("spec", "nodeid"), hostile),
        "labels": {hostile: hostile},
        "warnings": [hostile],
        "reasons": [hostile],
        "sets": sets,
        "scores": scores,
        "growth": GROWTH | {"base": hostile},
    }
    records = [
        make(f"{hostile}{n}", model=hostile, layer=hostile, role="gated", **told) for n in range(11)
    ]
    text = render(records, [hostile], screen(140), verbosity=verbosity)
    assert {one for one in text if unicodedata.category(one) in ("Cc", "Zl", "Zp")} == {"\n"}
    assert not {*text} & {*"\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def test_text_of_users_is_never_read_as_markup(make: Make) -> None:
    text = render([make("[red]x[/red] :smile:")], [], screen(colour=True), verbosity=-1)
    assert "[red]x[/red] :smile:" in text


def test_an_id_is_never_broken_into_lines(make: Make) -> None:
    name = "a long name with spaces " * 8
    lines = shown([make(name)], screen(80), quiet=True)
    assert lines[1] == f"FAIL bias_specs/x.bias.yaml::after::{name}[pooled]: a reason"


def test_where_nothing_ran_the_note_stands_alone() -> None:
    assert shown([], screen(), "no item of a spec ran") == ["no item of a spec ran"]
