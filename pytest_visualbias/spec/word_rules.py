"""What words ask of the models, the layers and the tests of a spec."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_visualbias.spec.kinds import part_of
from pytest_visualbias.spec.layers import POOLED, points_for
from pytest_visualbias.spec.schema import (
    ConceptWords,
    EmbeddingsModel,
    ForeignModel,
    OpenClipModel,
    TransformersModel,
)
from pytest_visualbias.spec.sets import concepts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest, ModelEntry
    from pytest_visualbias.spec.suites import Suite

__all__ = ["has_words", "word_findings", "word_findings_of_tests"]

Finding = tuple["Path", str]
# Of what another package brings, only its encoder can tell.
READING = (OpenClipModel, TransformersModel, ForeignModel, EmbeddingsModel)


def has_words(spec: BiasSpec | Suite, test: BiasTest) -> bool:
    """Whether any set of a test is words."""
    named = concepts_of(test).values()
    return any(isinstance(spec.concepts.get(name), ConceptWords) for name in named)


def word_findings(spec: BiasSpec) -> Iterator[Finding]:
    """Yield models that read no texts, and layers at which nothing can be compared with them."""
    used = [test.name for test in spec.tests if test.prediction is None and has_words(spec, test)]
    if not used:
        return
    for name, entry in spec.models.items():
        if not isinstance(entry, READING):
            message = (
                f"a model of source '{entry.source}' reads no texts, and '{used[0]}' has words; "
                "use 'open_clip' or 'transformers', or 'embeddings' with vectors of the words"
            )
            yield ("models", name), message
        elif not isinstance(entry, EmbeddingsModel):
            yield from _layers(spec, name, entry, used[0])


def _layers(spec: BiasSpec, model: str, entry: ModelEntry, test: str) -> Iterator[Finding]:
    with contextlib.suppress(ValueError):  # said of the layers themselves
        for point in points_for(spec.layers, entry.layers):
            if point.module == POOLED:
                continue
            is_renamed = point.name in entry.layers
            path: Path = ("models", model, "layers", point.name) if is_renamed else ("layers",)
            message = (
                f"at '{point.module}' images and texts share no space, and '{test}' has words; "
                f"read '{POOLED}' alone, and other layers in a spec without words"
            )
            yield path, message


def word_findings_of_tests(spec: BiasSpec | Suite) -> Iterator[Finding]:
    """Yield words that stand twice, or in two sets of a test, and tests that can have none."""
    for name, concept in spec.concepts.items():
        if isinstance(concept, ConceptWords):
            for path, message in _repeated(concept):
                yield ("concepts", name, *path), message
    for index, test in enumerate(spec.tests):
        for role, message in (*_asked(spec, test), *_shared(spec, test)):
            yield ("tests", index, part_of(role), role), message


def _repeated(concept: ConceptWords) -> Iterator[Finding]:
    for key, values in (("text", concept.text), ("templates", concept.templates)):
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (key, index), f"'{value}' stands twice; remove one"


def _asked(spec: BiasSpec | Suite, test: BiasTest) -> Iterator[tuple[str, str]]:
    """Yield the roles of words in a test of predictions."""
    for role in _words(spec, test) if test.prediction is not None else ():
        yield role, "a classifier is asked about images, and this is words; name another set"


def _shared(spec: BiasSpec | Suite, test: BiasTest) -> Iterator[tuple[str, str]]:
    """Yield the roles that have words of another one that they must be apart from."""
    roles, words = concepts_of(test), _words(spec, test)
    for first, second in test.apart:
        if first in words and second in words and roles[first] != roles[second]:
            both = [word for word in words[first] if word in words[second]]
            if both:
                shown = ", ".join(f"'{word}'" for word in both)
                yield second, f"{first} and {second} share {shown}; leave each word to one of them"


def _words(spec: BiasSpec | Suite, test: BiasTest) -> dict[str, tuple[str, ...]]:
    """Return the words of each role that has words."""
    concepts = {role: spec.concepts.get(name) for role, name in concepts_of(test).items()}
    return {
        role: concept.text
        for role, concept in concepts.items()
        if isinstance(concept, ConceptWords)
    }
