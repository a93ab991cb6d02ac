"""A spec is edited where it has to be, and nowhere else."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.errors import UsageError
from pytest_visualbias.suggesting.editing import edited, scalar

HEAD = "visualbias: 1   # the format\nmodels: {after: {source: timm, name: x}}\n"
NEW: dict[str, dict[str, Any]] = {"one": {"limits": {"max_effect": 0.85, "max_growth": 0.4}}}


def changed(before: str, after: str) -> list[str]:
    """Return the lines that were taken away and put in."""
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in diff if line[:1] in "+-" and line[:3] not in ("+++", "---")]


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        pytest.param(
            "tests:\n  - name: one\n    limits: {max_effect: 0.5}  # mine\n    kind: ieat\n",
            [
                "-    limits: {max_effect: 0.5}  # mine",
                "+    limits: {max_effect: 0.85, max_growth: 0.40}  # mine",
            ],
            id="in-braces",
        ),
        pytest.param(
            "tests:\n  - name: one\n    limits:\n      max_effect: 0.5  # mine\n      # too\n"
            "  - name: two\n",
            [
                "-      max_effect: 0.5  # mine",
                "+      max_effect: 0.85  # mine",
                "+      max_growth: 0.40",
            ],
            id="in-lines",
        ),
        pytest.param(
            "tests:\n- kind: ieat\n  name: one   # the first\n\n# the second\n- name: two\n",
            ["+  limits: {max_effect: 0.85, max_growth: 0.40}"],
            id="none-yet",
        ),
        pytest.param(
            "tests: [{name: one, kind: ieat}, {name: two}]\n",
            [
                "-tests: [{name: one, kind: ieat}, {name: two}]",
                (
                    "+tests: [{name: one, kind: ieat, limits: {max_effect: 0.85, "
                    "max_growth: 0.40}}, {name: two}]"
                ),
            ],
            id="all-in-braces",
        ),
        pytest.param(
            "tests:\n  - name: one\n    limits: {}\n",
            [
                "-    limits: {}",
                "+    limits: {max_effect: 0.85, max_growth: 0.40}",
            ],
            id="empty-braces",
        ),
        pytest.param(
            "tests:\n  - name: one\n    limits:\n    kind: ieat\n",
            ["-    limits:", "+    limits: {max_effect: 0.85, max_growth: 0.40}"],
            id="nothing-behind-the-colon",
        ),
        pytest.param(
            "tests:\n  - name: one\n    limits:\n      max_effect:\n      max_gap: 0.1",
            [
                "-      max_effect:",
                "+      max_effect: 0.85",
                "+      max_growth: 0.40",
            ],
            id="no-value-and-no-last-line-break",
        ),
    ],
)
def test_only_the_lines_of_limits_change(tests: str, expected: list[str]) -> None:
    text = HEAD + tests
    assert changed(text, edited(text, NEW, file="x")) == expected


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ("suite: ieat", ["tests:", "  - name: one"]),
        ("suite: ieat\ntests:\n    - name: two  # mine\n# end\n", ["    - name: one"]),
        ("tests:\n- name: two\nsuite: ieat\n", ["- name: one"]),
    ],
)
def test_a_test_of_a_suite_is_added_by_its_name(tests: str, expected: list[str]) -> None:
    text = HEAD + tests
    new = edited(text, NEW, file="x")
    added = [line[1:] for line in changed(text, new)]
    indent = expected[-1].partition("-")[0]
    assert added == [*expected, f"{indent}  limits: {{max_effect: 0.85, max_growth: 0.40}}"]
    assert yaml.safe_load(new)["tests"][-1]["name"] == "one"


@pytest.mark.parametrize("last", ["suite: ieat  # mine", "title: |\n  of two\n  lines"])
def test_tests_are_put_before_what_is_said_at_the_end_about_something_else(last: str) -> None:
    """As the first spec that `init` writes ends with another one, in comments."""
    text = f"{HEAD}{last}\n\n# another spec:\n# suite: ieat\n"
    after = edited(text, NEW, file="x")
    assert changed(text, after)[0].startswith("+tests:")
    if "|" not in last:
        assert after.index("tests:") < after.index("# another spec:")


def test_other_limits_keys_and_line_ends_stay() -> None:
    text = (HEAD + "tests:\n  - name: one\n    limits: {max_gap: 0.1}\n    kind: ieat\n").replace(
        "\n", "\r\n"
    )
    keys = {"one": {"limits": {"max_shift": 0.08}, "evidence": "interval"}}
    new = edited(text, keys, file="x")
    assert "limits: {max_gap: 0.1, max_shift: 0.08}\r\n" in new
    assert new.endswith("    kind: ieat\r\n    evidence: interval\r\n")
    assert "\n" not in new.replace("\r\n", "")


@pytest.mark.parametrize(
    "tests",
    [
        "tests: []\n",
        "tests:\n",
        "tests: [{name: two}]\n",
        "tests:\n  - name: one\n    about: |\n      Several\n      lines.\n",
    ],
)
def test_what_cannot_be_edited_safely_is_refused_in_one_sentence(tests: str) -> None:
    with pytest.raises(UsageError) as error:
        edited(HEAD + tests, NEW, file="x.bias.yaml")
    assert str(error.value) == (
        "x.bias.yaml is laid out in a way that is not edited here; paste the lines that are printed"
    )


@given(
    names=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4, unique=True),
    data=st.data(),
)
@pytest.mark.property
def test_whatever_a_test_is_called_the_rest_says_what_it_said(
    names: list[str], data: st.DataObject
) -> None:
    tests = [{"name": name, "kind": "ieat"} for name in names]
    style = data.draw(st.sampled_from([True, False, None]))
    text = yaml.safe_dump({"visualbias": 1, "tests": tests}, default_flow_style=style)
    name = data.draw(st.sampled_from(names))
    try:
        new = edited(text, {name: {"limits": {"max_effect": 0.5}}}, file="x")
    except UsageError:
        return
    for test in tests:
        expected = {"limits": {"max_effect": 0.5}} if test["name"] == name else {}
        found = next(one for one in yaml.safe_load(new)["tests"] if one["name"] == test["name"])
        assert found == {**test, **expected}


@pytest.mark.parametrize("text", ["plain", "no", "a: b", "a\nb", "", "ünï", "1e3", "{", "-", "#"])
def test_a_name_reads_back_as_itself(text: str) -> None:
    assert yaml.safe_load(f"- name: {scalar(text)}") == [{"name": text}]
