"""What the sets of a spec must be to each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.stimuli.concept_checks import SetFinding, set_findings
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Findings = Callable[..., list[SetFinding]]


def a_set(concept: str, images: Mapping[str, str], others: tuple[str, ...] = ()) -> StimulusSet:
    """Return a set of images, given as content by name."""
    stimuli = tuple(
        Stimulus(name=f"{concept}/{name}", digest=content, identity=content)
        for name, content in images.items()
    )
    return StimulusSet(concept=concept, stimuli=stimuli, others=others)


@pytest.fixture
def findings(valid: str) -> Findings:
    """What is found where some of four good sets are replaced."""

    def found(
        *replaced: StimulusSet, settings: str = "{}", known: str = "[]", leave_out: str = ""
    ) -> list[SetFinding]:
        text = valid.replace("{alpha: 0.05}", settings) + f"known_duplicates: {known}\n"
        spec = parse_spec(text, file="s", folder=Path()).spec
        sets = {
            name: a_set(name, {f"{name}{i}.png": f"{name}{i}" for i in range(3)})
            for name in spec.concepts
            if name != leave_out
        }
        sets |= {one.concept: one for one in replaced}
        return list(set_findings(spec, sets))

    return found


def test_the_concepts_of_a_test_by_role(valid: str) -> None:
    (test,) = parse_spec(valid, file="s", folder=Path()).spec.tests
    assert concepts_of(test) == {"X": "male", "Y": "female", "A": "career", "B": "family"}


def test_good_sets_give_no_findings(findings: Findings) -> None:
    assert findings() == []


def test_an_empty_set_is_a_fault(findings: Findings) -> None:
    (finding,) = findings(a_set("male", {}))
    assert (finding.path, finding.is_fault) == (("concepts", "male"), True)


def test_files_left_out_are_a_warning_that_names_them(findings: Findings) -> None:
    (finding,) = findings(a_set("male", {"a.png": "a"}, others=tuple(f"{i}.txt" for i in range(8))))
    assert not finding.is_fault
    assert "0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more" in finding.message


@pytest.mark.parametrize(
    ("concept", "other", "part", "roles"),
    [("female", "male", "targets", "X and Y"), ("family", "career", "attributes", "A and B")],
)
def test_an_overlap_of_a_side_is_a_fault_whatever_the_names(
    findings: Findings, concept: str, other: str, part: str, roles: str
) -> None:
    (finding,) = findings(a_set(concept, {"renamed.png": f"{other}1", "z.png": "z"}))
    assert (finding.path, finding.is_fault) == (("tests", 0, part), True)
    assert finding.message.startswith(f"{roles} ")
    assert f"{other}/{other}1.png = {concept}/renamed.png" in finding.message


def test_an_overlap_of_a_side_is_a_fault_although_it_is_known(findings: Findings) -> None:
    (finding,) = findings(a_set("female", {"male1.png": "male1"}), known="['male1*']")
    assert finding.is_fault


def test_two_sets_of_equal_names_and_other_content_do_not_overlap(findings: Findings) -> None:
    assert findings(a_set("female", {"male0.png": "f0", "male1.png": "f1"})) == []


class TestDuplicates:
    TWICE = a_set("male", {"a.png": "same", "b.png": "other", "c.png": "same"})
    SHARED = a_set("career", {"desk.png": "male1", "pen.png": "pen"})

    def test_within_a_set_are_a_warning_that_names_the_files(self, findings: Findings) -> None:
        (finding,) = findings(self.TWICE)
        assert (finding.path, finding.is_fault) == (("concepts", "male"), False)
        assert "male/a.png = male/c.png" in finding.message

    def test_of_target_and_attribute_are_a_warning_that_names_both(
        self, findings: Findings
    ) -> None:
        (finding,) = findings(self.SHARED)
        assert (finding.path, finding.is_fault) == (("tests", 0), False)
        assert "male/male1.png = career/desk.png" in finding.message

    @pytest.mark.parametrize("stimuli", [TWICE, SHARED])
    def test_are_faults_where_the_spec_says_so(
        self, findings: Findings, stimuli: StimulusSet
    ) -> None:
        (finding,) = findings(stimuli, settings="{duplicates: error}")
        assert finding.is_fault

    @pytest.mark.parametrize("settings", ["{duplicates: warn}", "{duplicates: error}"])
    @pytest.mark.parametrize("known", ["male/c.png", "c.png", "c", "male/*", "[ac].png"])
    def test_that_are_known_are_silent(self, findings: Findings, known: str, settings: str) -> None:
        assert findings(self.TWICE, known=f"['{known}']", settings=settings) == []

    @pytest.mark.parametrize("known", ["male1", "career/desk.png", "desk"])
    def test_are_known_by_the_name_in_either_set(self, findings: Findings, known: str) -> None:
        assert findings(self.SHARED, known=f"['{known}']") == []

    def test_others_are_still_told(self, findings: Findings) -> None:
        stimuli = a_set("male", {"a.png": "1", "b.png": "1", "c.png": "2", "d.png": "2"})
        (finding,) = findings(stimuli, known="[a]")
        assert "male/c.png = male/d.png" in finding.message
        assert "a.png" not in finding.message


def test_a_name_with_a_line_break_is_shown_in_one_line(findings: Findings) -> None:
    (finding,) = findings(a_set("male", {"a\nb.png": "same", "c\x1b[31m.png": "same"}))
    assert finding.message.isprintable()
    assert r"male/a\nb.png = male/c\x1b[31m.png" in finding.message


def test_a_test_that_lacks_a_set_is_passed_over(findings: Findings) -> None:
    """That a set is missing is told by the items that need it."""
    assert findings(a_set("female", {"a.png": "male1"}), leave_out="career") == []


def test_sets_that_no_test_uses_are_not_looked_at(findings: Findings) -> None:
    assert findings(a_set("unused", {})) == []
