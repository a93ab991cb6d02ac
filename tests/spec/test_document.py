"""YAML read strictly: the traps of YAML 1.1, by both parsers of PyYAML."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pytest_visualbias.errors import printable
from pytest_visualbias.spec.yaml_document import (
    DEEPEST,
    KeyPath,
    SourcePosition,
    format_path,
    read_document,
)

if TYPE_CHECKING:
    from pytest_visualbias.spec.yaml_document import Document


@pytest.fixture(params=["c", "pure"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test of this file holds for the C parser and for the one in Python."""
    name: str = request.param
    if name == "pure":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this PyYAML was built without its C parser")
    return name


def places(document: Document) -> list[str]:
    """Return the places of faults as ``line:column key``."""
    located = [fault.located("f") for fault in document.faults]
    assert all(str(one).isprintable() for one in located)
    return [f"{one.line}:{one.column} {one.place}".rstrip() for one in located]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("1.5e3", 1500.0),
        ("+.5", 0.5),
        ("1.", 1.0),
        ("-12", -12),
        ("012", 12),
        ("08", 8),
        ("0o12", 10),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("'1'", "1"),
        ('"true"', "true"),
        ("-.inf", -math.inf),
        ("1.2.3", "1.2.3"),
        ("٣", "٣"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: object) -> None:
    document = read_document(f"key: {scalar}\n")
    assert document.faults == ()
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


@pytest.mark.parametrize("scalar", ["", "null", "Null", "NULL", "~"])
@pytest.mark.parametrize(
    ("text", "path", "column"),
    [
        ("key: {}\n", ("key",), 1),
        ("{{key: {}}}\n", ("key",), 2),
        ("- key: {}\n", (0, "key"), 3),
    ],
)
def test_a_key_without_a_value_is_a_fault_at_its_place(
    scalar: str, text: str, path: KeyPath, column: int
) -> None:
    """What a template left empty is not the same as what nobody wrote."""
    (fault,) = read_document(text.format(scalar)).faults
    assert (fault.path, fault.place.line, fault.place.column) == (path, 1, column)


@pytest.mark.parametrize("scalar", ["", "null", "~"])
def test_an_entry_of_a_list_without_a_value_is_a_fault(scalar: str) -> None:
    (fault,) = read_document(f"key:\n  - a\n  - {scalar}\n").faults
    assert (fault.path, fault.place.line) == (("key", 1), 3)


def test_nan_is_a_number_and_left_to_the_schema() -> None:
    assert math.isnan(read_document(".nan").data)


@pytest.mark.parametrize("style", ["|", ">"])
def test_block_scalars_are_text_whatever_they_look_like(style: str) -> None:
    assert read_document(f"key: {style}-\n  12\n").data == {"key": "12"}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert read_document("no: a\n1: b\n2024-01-01: c\n").data == {
        "no": "a",
        "1": "b",
        "2024-01-01": "c",
    }


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "9" * 5000, "0x" + "f" * 6000])
def test_thousands_of_digits_stay_text(number: str) -> None:
    assert read_document(f"key: {number}").data == {"key": number}


def test_every_value_has_a_place() -> None:
    document = read_document("a:\n  - x\n  - {b: 1, c: [2]}\n")
    assert document.data == {"a": ["x", {"b": 1, "c": [2]}]}
    assert document.place(("a",)) == SourcePosition(line=1, column=1)
    assert document.place(("a", 0)) == SourcePosition(line=2, column=5)
    assert document.place(("a", 1, "c")) == SourcePosition(line=3, column=12)
    assert document.place(("a", 1, "c", 0)) == SourcePosition(line=3, column=16)


def test_a_path_that_is_not_there_has_the_place_of_what_encloses_it() -> None:
    document = read_document("a: 1\nb:\n  c: 2\n")
    assert document.place(("b", "missing", "deeper")) == SourcePosition(line=2, column=1)


def test_a_duplicate_key_is_told_with_both_lines() -> None:
    document = read_document("a: 1\nb:\n  limit: 1\n  other: 2\n  limit: 3\n")
    assert places(document) == ["5:3 b.limit"]
    assert "line 3" in document.faults[0].mistake.problem


def test_keys_that_read_the_same_are_duplicates_however_they_are_quoted() -> None:
    document = read_document("a: 1\n'a': 2\n\"a\": 3\n")
    assert [fault.place.line for fault in document.faults] == [2, 3]


def test_the_same_key_in_two_mappings_is_no_duplicate() -> None:
    assert read_document("- a: 1\n- a: 2\n").faults == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Anchors and aliases.
        ("a: &x 1\n", ["1:4 a"]),
        ("a: &x 1\nb: *x\n", ["1:4 a", "2:4 b"]),
        ("a: &x [*x]\n", ["1:4 a", "1:8 a[0]"]),
        # Merge keys and tags.
        ("<<: {a: 1}\n", ["1:1 <<"]),
        ("a: !!int 3\n", ["1:4 a"]),
        ("- !!python/name:abs x\n", ["1:3 [0]"]),
        # A second document, and keys that are no text.
        ("a: 1\n---\nb: 2\n", ["2:1"]),
        ("? [a]\n: 1\n", ["1:3"]),
        ("? {a: b}\n: 1\n", ["1:3"]),
    ],
)
def test_what_a_reader_would_stumble_on_is_a_fault(text: str, expected: list[str]) -> None:
    assert places(read_document(text)) == expected


def test_an_alias_in_place_of_a_key_stops_the_reading() -> None:
    """Otherwise the value after it would be taken for a key and told as unknown."""
    document = read_document("&x a: 1\n*x : 2\nb: 3\n")
    assert places(document)[-1] == "2:1"
    assert not document.complete


def test_one_document_may_be_marked_as_such() -> None:
    document = read_document("---\na: 1\n...\n")
    assert (document.data, document.faults) == ({"a": 1}, ())


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n"])
def test_an_empty_text_is_nothing_and_no_fault_of_syntax(text: str) -> None:
    document = read_document(text)
    assert document.data is None
    assert document.faults == ()
    assert document.place(("anything",)).line >= 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b\n\tc: 2\n", 2),
        ("\ta: 1\n", 1),
        ("a: 1\nb: c: 2\n", 2),
        ("a: @x\n", 1),
        ("a: 'x\n", 2),
        ("a: 1\n- b\n", 2),
    ],
)
def test_bad_syntax_is_one_fault_with_its_line(text: str, line: int) -> None:
    document = read_document(text)
    (fault,) = document.faults
    assert fault.place.line == line
    assert not document.complete


def test_an_open_bracket_is_a_fault_and_what_was_read_is_kept() -> None:
    document = read_document("a: 1\nb: [1, 2\n")
    assert not document.complete
    assert document.data == {"a": 1, "b": [1, 2]}
    assert len(document.faults) == 1


@pytest.mark.parametrize("letter", ["\x00", "\x01", "\x1b", "\x7f", "\ufffe"])
def test_a_control_character_is_named_with_its_line(letter: str) -> None:
    """The line is right after text outside ASCII, too, where bytes and letters differ."""
    document = read_document(f"# {'é' * 30}\nb: x{letter}\nc: 1\nd: 2\ne: 3\n")
    assert places(document) == ["2:1"]
    assert f"U+{ord(letter):04X}" in document.faults[0].mistake.problem


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_key() -> None:
    assert read_document("\ufeffa: 1\n").data == {"a": 1}


def test_nesting_is_bounded() -> None:
    deepest: Any = "x"
    for _ in range(DEEPEST):
        deepest = [deepest]
    assert read_document("[" * DEEPEST + "x" + "]" * DEEPEST).data == deepest
    document = read_document("[" * 100_000)
    (fault,) = document.faults
    assert fault.place == SourcePosition(line=1, column=DEEPEST + 1)


def test_a_bomb_of_aliases_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    document = read_document("\n".join(lines))
    assert document.data["a59"] == [None, None]
    assert len(document.faults) == 60 + 2 * 59


def test_windows_line_ends_count_as_one() -> None:
    assert read_document("a: 1\r\nb: 1\r\na: 2\r\n").faults[0].place.line == 3


def test_a_path_reads_as_people_say_it() -> None:
    assert format_path(("tests", 0, "limits", "max_effect")) == "tests[0].limits.max_effect"
    assert format_path((0, "a")) == "[0].a"
    assert format_path(()) == ""


def test_a_fault_stays_on_one_line_whatever_a_key_holds() -> None:
    document = read_document('"a\\nb": 1\n"a\\nb": 2\n')
    assert places(document) == ["2:1 a\nb"]


def test_printable_leaves_readable_text_as_it_is() -> None:
    assert printable("Grüße, 世界 1/2") == "Grüße, 世界 1/2"
    assert printable("a\u2028b\x1b[31m\udcff") == r"a\u2028b\x1b[31m\udcff"
