"""Which class a test asks a classifier about, by what a spec and a network call it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_visualbias.embeddings.table import Trial
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.evaluation.classifier_scoring import target_classes
from pytest_visualbias.evaluation.growth_references import _classes
from pytest_visualbias.evaluation.measurement import Measurement, ScoredTest, TargetClass
from pytest_visualbias.spec.parser import parse_spec
from pytest_visualbias.statistics.classifier_gap import OutcomeScores

SPEC = """
visualbias: 1
models:
  after: {{source: embeddings, path: x.npz}}
concepts: {{x: x, y: y}}
{head}
tests:
  - name: one
    kind: outcome-gap
    targets: {{X: x, Y: y}}
    prediction: {{class: {asked}, rate: share}}
"""


def asked(of: str, *own: tuple[str, ...], head: str = "") -> tuple[TargetClass, ...]:
    """Return what is asked of networks that call their classes so."""
    file = parse_spec(SPEC.format(asked=of, head=head), file="s.bias.yaml", folder=Path())
    trials = [Trial(label="", facts={}, fingerprint="", tables={}, classes=names) for names in own]
    return target_classes(file.spec, file.spec.tests[0], trials)


@pytest.mark.parametrize("of", ["nurse", "1"])
@pytest.mark.parametrize("own", [(), ("doctor", "nurse")])
@pytest.mark.parametrize("head", ["", "classes: [doctor, nurse]"])
def test_a_name_is_that_of_the_spec_or_of_the_network_itself(
    of: str, own: tuple[str, ...], head: str
) -> None:
    if not own and not head:
        if of == "1":
            assert asked(of, own) == (TargetClass(index=1),)
        return
    assert asked(of, own, head=head) == (TargetClass(index=1, name="nurse", count=2),)


def test_each_trial_has_its_own_place_for_a_name() -> None:
    first, second = asked("nurse", ("nurse", "doctor"), ("doctor", "nurse"))
    assert first is not None
    assert second is not None
    assert (first.index, second.index) == (0, 1)


@pytest.mark.parametrize(
    ("of", "own", "head", "named"),
    [
        ("nurze", [("doctor", "nurse")], "", ["'nurze'", "'nurse'"]),
        ("1", [("nurse", "doctor")], "classes: [doctor, nurse]", ["'nurse'", "'doctor'"]),
        ("1", [("doctor",)], "classes: [doctor, nurse]", ["'nurse'"]),
        ("1", [("a", "b"), ("b", "a")], "", ["'a'", "'b'"]),
    ],
)
def test_names_that_contradict_each_other_are_errors(
    of: str, own: list[tuple[str, ...]], head: str, named: list[str]
) -> None:
    with pytest.raises(EncoderError) as caught:
        asked(of, *own, head=head)
    assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("nurse", "doctor", ["class 1 ('nurse' and 'doctor')"]),
        ("nurse", "nurse", []),
        ("", "doctor", []),
    ],
)
def test_one_number_with_two_names_cannot_be_compared(
    before: str, after: str, said: list[str]
) -> None:
    scores = OutcomeScores(first=[0, 1], second=[0, 1], is_rate=True, classes=2)  # type: ignore[arg-type]
    old, new = TargetClass(index=1, name=before), TargetClass(index=1, name=after)
    earlier = ScoredTest(sets={}, trials=(scores,), mean=scores, target_class=old)
    later = Measurement(sets={}, scores=scores, target_class=new)
    found = [*_classes(earlier, later)]
    assert [one.text for one in found] == said
    assert not any(one.is_declarable for one in found)
