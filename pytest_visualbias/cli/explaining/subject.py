"""Select the test to explain, with all that is known before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.errors import SpecError, UsageError, printable
from pytest_visualbias.evaluation.preflight import preflight
from pytest_visualbias.evaluation.training_run import judged_together
from pytest_visualbias.spec.effective_settings import is_gated, is_random, layers_of, test_at
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.schema import ConceptWords
from pytest_visualbias.spec.test_kinds import concepts_of
from pytest_visualbias.stimuli.concept_checks import group_stimuli, groups_path
from pytest_visualbias.stimuli.resolve import counted_stimuli

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.spec.urls import Url
    from pytest_visualbias.stimuli.remote.mirror import Mirror
    from pytest_visualbias.stimuli.resolve import StimulusSet

SEPARATOR = "::"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """What a node id, or a spec and the name of a test, say; "" for what they leave open."""

    spec: str
    model: str = ""
    test: str = ""
    layer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A test in its spec."""

    file: SpecFile
    test: BiasTest
    model: str
    layers: tuple[str, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    checkpoints: Mapping[str, int] = field(default_factory=dict)

    @property
    def spec(self) -> BiasSpec:
        """What the spec says."""
        return self.file.spec

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are asked for."""
        return (self.model,) if self.model else tuple(self.spec.models)

    @property
    def gated(self) -> tuple[str, ...]:
        """Those of them that the limits of the test can fail."""
        return tuple(name for name in self.models if is_gated(self.spec, name, self.test))

    @property
    def is_sized(self) -> bool:
        """Whether the number of images is known of every set."""
        return self.sizes.keys() == concepts_of(self.test).keys()

    def name(self, role: str) -> str:
        """Return the concept of a role, in quotes."""
        return f"'{printable(concepts_of(self.test)[role])}'"

    def counted(self, role: str) -> str:
        """Return the concept of a role with its number of images, where that is known."""
        count = self.sizes.get(role)
        return self.name(role) + (f" ({count} {self.noun(role)})" if count is not None else "")

    def noun(self, role: str) -> str:
        """Return what the stimuli of a role are."""
        concept = self.spec.concepts[concepts_of(self.test)[role]]
        if groups_path(self.spec, concepts_of(self.test)[role]) is not None:
            return "groups"
        return "words" if isinstance(concept, ConceptWords) else "images"

    @property
    def nouns(self) -> str:
        """What the stimuli of all roles are."""
        return " and ".join(dict.fromkeys(map(self.noun, concepts_of(self.test))))


def node_of(first: str, second: str | None) -> Node:
    """Return what was named: a node id, or a spec and a test."""
    spec, *rest = first.split(SEPARATOR)
    if second is not None and rest:
        raise UsageError(f"'{first}' names a test already", f"leave out '{second}'")
    if second is not None:
        return Node(spec=spec, test=second)
    model, test = (*rest, "", "")[:2]
    return Node(spec=spec, model=model, test=test)


def subjects(
    file: SpecFile, node: Node, *, stimuli: Path | Url | None = None, mirror: Mirror | None = None
) -> tuple[Subject, ...]:
    """Return the test that is named, or all tests of the spec."""
    spec = file.spec
    if node.model and node.model not in spec.models:
        hint = did_you_mean(node.model, spec.models)
        raise UsageError(f"{node.spec} has no model '{node.model}'", hint)
    tests: list[tuple[BiasTest, tuple[str, ...]]] = [
        (test_at(spec, test, layer), (layer,))
        for test in spec.tests
        for layer in layers_of(spec, test)
        if node.test == f"{test.name}[{layer}]"
    ]
    if not tests:
        tests = [
            (test, layers_of(spec, test)) for test in spec.tests if node.test in ("", test.name)
        ]
    if not tests:
        hint = did_you_mean(node.test.partition("[")[0], [test.name for test in spec.tests])
        raise UsageError(f"{node.spec} has no test '{node.test}'", hint)
    sets, faults = _sets(file, node.model, stimuli, mirror)
    checkpoints = judged_together(file, mirror)
    return tuple(
        Subject(
            file=file,
            test=test,
            model=node.model,
            layers=chosen,
            sizes=_counts(spec, test, sets),
            problems=faults,
            checkpoints=checkpoints,
        )
        for test, chosen in tests
    )


def _counts(spec: BiasSpec, test: BiasTest, sets: Mapping[str, StimulusSet]) -> dict[str, int]:
    """Return how many images, or groups, of each role count, as far as they are known."""
    roles = {role: name for role, name in concepts_of(test).items() if name in sets}
    chosen = counted_stimuli(test, {role: sets[concept] for role, concept in roles.items()})
    return {role: len(group_stimuli(spec, stimuli)) for role, stimuli in chosen.items()}


def _sets(
    file: SpecFile, model: str, stimuli: Path | Url | None, mirror: Mirror | None
) -> tuple[Mapping[str, StimulusSet], tuple[str, ...]]:
    """Return the sets of the concepts: paths are listed, and no image is read."""
    try:
        checked = preflight(file, stimuli=stimuli, strict=False, digest=str, mirror=mirror)
    except SpecError as error:
        return {}, error.faults
    names = [model] if model else _trained_first(file)
    sets = checked.models[names[0]]
    problems = tuple(sorted({*sets.problems.values()}))
    return sets.sets, problems


def _trained_first(file: SpecFile) -> list[str]:
    """Return the models of a spec, trained ones first."""
    return sorted(file.spec.models, key=lambda name: is_random(file.spec.models[name]))
