"""Suites: what a spec draws from one, and what is said where that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.parser import SpecFile, parse_spec
from pytest_visualbias.spec.schema import BiasSpec
from pytest_visualbias.spec.suites import (
    read_suite,
    shipped_folder,
    stimuli_folder,
    suite_names,
    suite_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.errors import LocatedFault

    Faults = tuple[LocatedFault, ...]

HEAD = """\
visualbias: 1
models:
  before: {source: timm, name: test_resnet}
  after: {source: timm, name: test_resnet, checkpoint: after.safetensors}
"""
SUITE = """\
visualbias_suite: 1
title: Two tests and a control
layers: [layer3, pooled]
tags: {home: at home, calm: a control}
known_duplicates: [one]
concepts: {x: sets/x, y: sets/y, a: sets/a, b: sets/b}
tests:
  - {name: first, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}, tags: [home]}
  - {name: second, kind: ieat, targets: {X: a, Y: b}, attributes: {A: x, B: y}, about: Turned.}
  - {name: calm, kind: ieat, control: positive, targets: {X: y, Y: x}, attributes: {A: b, B: a},
     tags: [calm]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a suite of the user's own."""
    (tmp_path / "own.suite.yaml").write_text(SUITE)
    return tmp_path


@pytest.fixture
def parsed(folder: Path) -> Callable[[str], SpecFile]:
    """Parse a text after the head of a spec."""

    def parse(text: str) -> SpecFile:
        return parse_spec(HEAD + text, file="specs/s.bias.yaml", folder=folder)

    return parse


@pytest.fixture
def faults(parsed: Callable[[str], SpecFile]) -> Callable[[str], Faults]:
    """Return what is wrong with a text after the head of a spec."""

    def find(text: str) -> Faults:
        with pytest.raises(SpecError) as caught:
            parsed(text)
        return caught.value.faults

    return find


def limits(file: SpecFile) -> dict[str, dict[str, Any]]:
    return {test.name: test.limits.model_dump(exclude_none=True) for test in file.spec.tests}


def test_a_suite_brings_its_tests_concepts_layers_title_and_known_duplicates(
    parsed: Callable[[str], SpecFile],
) -> None:
    spec = parsed("suite: own.suite.yaml\nknown_duplicates: [two]\n").spec
    assert [test.name for test in spec.tests] == ["first", "second", "calm"]
    assert spec.tests[1].about == "Turned."
    assert spec.concepts["b"] == "sets/b"
    assert spec.layers == ("layer3", "pooled")
    assert spec.title == "Two tests and a control"
    assert spec.known_duplicates == ("one", "two")


def test_the_own_keys_of_a_spec_win(parsed: Callable[[str], SpecFile]) -> None:
    spec = parsed(
        "title: Mine\nlayers: [conv1]\nsuite: own.suite.yaml\nconcepts: {a: mine/a}\n"
    ).spec
    assert (spec.title, spec.layers) == ("Mine", ("conv1",))
    assert spec.concepts == {"x": "sets/x", "y": "sets/y", "a": "mine/a", "b": "sets/b"}


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("tags: [home]", ["first"]),
        ("tests: [second]", ["second"]),
        ("tests: [calm], tags: [home]", ["first", "calm"]),
    ],
)
def test_tests_are_drawn_by_name_or_by_tag_in_the_order_of_the_suite(
    parsed: Callable[[str], SpecFile], choice: str, names: list[str]
) -> None:
    spec = parsed(f"suite: {{name: own.suite.yaml, {choice}}}\n").spec
    assert [test.name for test in spec.tests] == names


def test_a_test_of_the_spec_named_like_one_of_the_suite_draws_it(
    parsed: Callable[[str], SpecFile],
) -> None:
    text = "suite: {name: own.suite.yaml, tags: [home]}\ntests:\n  - {name: second, tags: [mine]}\n"
    spec = parsed(text).spec
    assert [(test.name, test.tags) for test in spec.tests] == [
        ("first", ("home",)),
        ("second", ("mine",)),
    ]
    assert spec.tests[1].targets.X == "a"


def test_limits_of_the_choice_hold_for_all_tests_and_those_of_a_test_come_before_them(
    parsed: Callable[[str], SpecFile],
) -> None:
    text = """\
suite: {name: own.suite.yaml, limits: {max_effect: 0.5, max_growth: 0.2}}
tests:
  - {name: second, limits: {max_effect: 0.9, max_growth: none}}
  - {name: own, kind: ieat, targets: {X: x, Y: y}, attributes: {A: a, B: b}}
"""
    assert limits(parsed(text)) == {
        "first": {"max_effect": 0.5, "max_growth": 0.2},
        "second": {"max_effect": 0.9},
        "calm": {},
        "own": {},
    }


def test_the_control_of_a_suite_asks_for_what_the_choice_asks_of_controls(
    parsed: Callable[[str], SpecFile],
) -> None:
    file = parsed("suite: {name: own.suite.yaml, limits: {max_effect: 1, min_effect: 0.4}}\n")
    assert limits(file)["calm"] == {"min_effect": 0.4}
    assert limits(file)["first"] == {"max_effect": 1.0}
    assert [test.control for test in file.spec.tests] == [None, None, "positive"]


def test_the_control_of_a_suite_is_only_measured_where_nothing_is_asked_of_it(
    parsed: Callable[[str], SpecFile],
) -> None:
    file = parsed("suite: {name: own.suite.yaml, limits: {max_effect: 1}}\n")
    assert file.spec.tests[2].control == "idle"
    assert limits(file)["calm"] == {}


def test_the_control_of_a_suite_is_a_plain_test_where_it_is_given_another_limit(
    parsed: Callable[[str], SpecFile],
) -> None:
    file = parsed("suite: own.suite.yaml\ntests:\n  - {name: calm, limits: {max_effect: 0.5}}\n")
    assert [test.control for test in file.spec.tests] == [None, None, None]
    assert limits(file)["calm"] == {"max_effect": 0.5}


def test_a_spec_may_make_a_control_of_a_test_and_a_test_of_a_control(
    parsed: Callable[[str], SpecFile],
) -> None:
    text = """\
suite: {name: own.suite.yaml, limits: {max_effect: 1}}
tests:
  - {name: first, control: positive, limits: {min_effect: 0.3}}
  - {name: calm, control: none}
"""
    file = parsed(text)
    assert [test.control for test in file.spec.tests] == ["positive", None, None]
    assert limits(file) == {
        "first": {"min_effect": 0.3},
        "second": {"max_effect": 1.0},
        "calm": {"max_effect": 1.0},
    }


SEVERAL = """\
suite: {name: own.suite.yaml, tests: [second]}
known_duplicates: [2]
tests:
  - {name: own, kind: ieat, targets: {X: x, Y: z}, attributes: {A: a, B: b}}
  - {name: second, evidence: sure}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("suite: iaet\n", ["5:1 suite"]),
        ("suite: {name: iaet}\n", ["5:9 suite.name"]),
        ("suite: {name: own.suite.yaml, tags: [hom]}\n", ["5:38 suite.tags[0]"]),
        ("suite: {name: own.suite.yaml, tests: [first, secnd]}\n", ["5:46 suite.tests[1]"]),
        (
            "suite: own.suite.yaml\ntests:\n  - {name: frist, limits: {max_effect: 1}}\n",
            ["7:6 tests[0].name"],
        ),
        ("suite: {name: own.suite.yaml, limit: {max_effect: 1}}\n", ["5:31 suite.limit"]),
        ("suite: 3\n", ["5:1 suite"]),
        ("suite: {name: own.suite.yaml, tags: []}\n", ["5:31 suite.tags"]),
        (
            "suite: {name: own.suite.yaml, tags: [home], limits: {min_effect: 1}}\n",
            ["5:54 suite.limits.min_effect"],
        ),
        (
            "suite: {name: own.suite.yaml, limits: {max_efect: 1}}\n",
            ["5:40 suite.limits.max_efect"],
        ),
        (
            SEVERAL,
            ["6:20 known_duplicates[0]", "8:45 tests[0].targets.Y", "9:20 tests[1].evidence"],
        ),
    ],
)
def test_a_choice_that_cannot_be_made_is_told_at_its_place(
    faults: Callable[[str], Faults], text: str, expected: list[str]
) -> None:
    found = faults(text)
    assert {fault.file for fault in found} == {"specs/s.bias.yaml"}
    assert [f"{one.line}:{one.column} {one.place}" for one in found] == expected


def test_a_suite_that_is_not_there_is_told_at_its_own_path(
    faults: Callable[[str], Faults],
) -> None:
    (fault,) = faults("suite: none.suite.yaml\n")
    assert (fault.file, fault.line) == ("specs/none.suite.yaml", 1)


def test_a_limit_that_fits_no_test_is_said_once_and_where_it_was_given(folder: Path) -> None:
    text = HEAD.replace("  before: {source: timm, name: test_resnet}\n", "")
    with pytest.raises(SpecError) as caught:
        parse_spec(
            f"{text}suite: {{name: own.suite.yaml, limits: {{max_growth: 1}}}}\n",
            file="s.bias.yaml",
            folder=folder,
        )
    (fault,) = caught.value.faults
    assert (fault.line, fault.column, fault.place) == (4, 40, "suite.limits.max_growth")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("Y: y}, attributes: {A: a", "Y: z}, attributes: {A: a", "8:47 tests[0].targets.Y"),
        ("tags: [home]}", "tags: [hom]}", "8:87 tests[0].tags[0]"),
        ("name: second", "name: first", "9:6 tests[1].name"),
        ("about: Turned.", "limits: {}", "9:81 tests[1].limits"),
        ("visualbias_suite: 1", "visualbias: 1", "1:1 visualbias"),
        ("layers:", "layrs:", "3:1 layrs"),
        ("title: T", "title: [", "3:7 "),
        ("concepts: {x", "concepts: {x: 1, x", "6:18 concepts.x"),
    ],
)
def test_faults_of_a_suite_point_into_the_suite(
    folder: Path, faults: Callable[[str], Faults], old: str, new: str, place: str
) -> None:
    assert SUITE.count(old) == 1
    (folder / "own.suite.yaml").write_text(SUITE.replace(old, new))
    found = faults("suite: own.suite.yaml\n")
    assert {fault.file for fault in found} == {"specs/own.suite.yaml"}
    assert place in [f"{one.line}:{one.column} {one.place}" for one in found]


def test_a_suite_extends_another_and_says_what_is_other_in_it(folder: Path) -> None:
    text = "visualbias_suite: 1\nextends: own.suite.yaml\nlayers: [conv1]\nconcepts: {y: more/y}\n"
    (folder / "deep.suite.yaml").write_text(text)
    suite = read_suite(folder / "deep.suite.yaml", file="deep.suite.yaml")
    assert [test.name for test in suite.suite.tests] == ["first", "second", "calm"]
    assert suite.suite.layers == ("conv1",)
    assert suite.suite.concepts == {"x": "sets/x", "y": "more/y", "a": "sets/a", "b": "sets/b"}
    assert {concept: home.suite for concept, home in suite.homes.items()} == {
        **dict.fromkeys("xab", "own"),
        "y": "deep",
    }
    assert len(suite.digests) == 2


@pytest.mark.parametrize("extends", ["deep.suite.yaml", "iaet", "3"])
def test_a_suite_that_cannot_extend_another(folder: Path, extends: str) -> None:
    (folder / "deep.suite.yaml").write_text(
        f"visualbias_suite: 1\nextends: {extends}\nconcepts: {{x: x}}\n"
    )
    with pytest.raises(SpecError) as caught:
        read_suite(folder / "deep.suite.yaml", file="deep.suite.yaml")
    found = [(one.file, one.line, one.place) for one in caught.value.faults]
    assert ("deep.suite.yaml", 2, "extends") in found


def test_the_digest_of_a_spec_follows_its_suite(
    folder: Path, parsed: Callable[[str], SpecFile]
) -> None:
    first = parsed("suite: own.suite.yaml\n").digest
    assert parsed("suite: own.suite.yaml\n").digest == first
    (folder / "own.suite.yaml").write_text(SUITE.replace("sets/b", "sets/c"))
    assert parsed("suite: own.suite.yaml\n").digest != first


def test_stimuli_are_with_the_suite_unless_the_spec_or_its_concept_says_otherwise(
    folder: Path, parsed: Callable[[str], SpecFile]
) -> None:
    file = parsed("suite: own.suite.yaml\nconcepts: {a: mine/a}\n")
    assert {concept: home.folder for concept, home in file.homes.items()} == {
        "x": folder,
        "y": folder,
        "b": folder,
    }
    assert parsed("suite: own.suite.yaml\nstimuli: images\n").homes == {}


def test_a_suite_may_say_where_its_stimuli_are(
    folder: Path, parsed: Callable[[str], SpecFile]
) -> None:
    """Relative to itself; a suite that extends it keeps its own beside itself."""
    head = SUITE.replace("title:", "stimuli: ../pictures\ntitle:")
    (folder / "own.suite.yaml").write_text(head)
    (folder / "more.suite.yaml").write_text(
        "visualbias_suite: 1\nextends: own.suite.yaml\nconcepts: {c: sets/c}\n"
    )
    homes = parsed("suite: own.suite.yaml\n").homes
    assert {home.folder for home in homes.values()} == {folder.parent / "pictures"}
    assert not any(home.can_be_fetched for home in homes.values())
    homes = parsed("suite: more.suite.yaml\n").homes
    assert (homes["c"].folder, homes["x"].folder) == (folder, folder.parent / "pictures")


def test_the_drawings_ship_with_their_images() -> None:
    file = read_suite(suite_path("drawings"), file="drawings.suite.yaml")
    assert {home.folder for home in file.homes.values()} == {
        shipped_folder("data") / "quickstart/stimuli"
    }
    for concept in file.suite.concepts.values():
        folder = file.homes["warm"].folder / str(concept)
        assert len([*folder.glob("*.png")]) == 20


def test_what_is_fetched_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUALBIAS_DATA", "/data/bias")
    assert stimuli_folder("ieat") == Path("/data/bias/ieat")
    monkeypatch.delenv("VISUALBIAS_DATA")
    monkeypatch.setenv("HOME", "/home/someone")
    for relative in ("", "data"):
        monkeypatch.setenv("XDG_DATA_HOME", relative)
        assert stimuli_folder("ieat") == Path("/home/someone/.local/share/visualbias/ieat")
    monkeypatch.setenv("XDG_DATA_HOME", "/data/mine")
    assert stimuli_folder("ieat") == Path("/data/mine/visualbias/ieat")


def test_a_wheel_has_what_ships_inside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "pytest_visualbias" / "spec" / "shipped.py"
    inside = tmp_path / "pytest_visualbias" / "_shipped" / "bias_specs"
    inside.mkdir(parents=True)
    (inside / "mine.suite.yaml").write_text(SUITE)
    monkeypatch.setattr("pytest_visualbias.spec.suites.__file__", str(module))
    assert suite_names() == ("mine",)
    assert suite_path("mine") == inside / "mine.suite.yaml"
    assert shipped_folder("data") == tmp_path / "data"


@pytest.mark.parametrize("name", suite_names())
def test_a_suite_that_ships_is_sound_and_says_what_it_is(name: str) -> None:
    suite = read_suite(suite_path(name), file=name).suite
    assert suite.title
    assert suite.citation
    assert suite.source.startswith("https://") or suite.stimuli is not None
    assert suite.licence
    assert all(test.about and test.tags for test in suite.tests)
    used = {*"".join(" " + " ".join(test.tags) for test in suite.tests).split()}
    assert used == {*suite.tags}


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ({"suite": "ieat"}, True),
        ({"suite": {"name": "ieat", "tags": ["gender"]}}, True),
        ({"suite": "ieat", "tests": [{"name": "Race", "limits": {"max_effect": 1}}]}, True),
        ({"suite": {"name": "ieat", "tag": ["gender"]}}, False),
        ({"suite": "ieat", "tests": [{"name": "Race", "limit": {}}]}, False),
        ({"concepts": {"x": "x"}, "tests": [{"name": "Race"}]}, False),
        ({"concepts": {"x": "x"}}, False),
    ],
)
def test_editors_know_both_a_spec_with_a_suite_and_one_without(
    text: dict[str, Any], is_right: bool
) -> None:
    models = {"after": {"source": "timm", "name": "resnet18"}}
    editor = jsonschema.Draft202012Validator(BiasSpec.model_json_schema())
    assert editor.is_valid({"visualbias": 1, "models": models, **text}) is is_right
