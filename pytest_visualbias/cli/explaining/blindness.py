"""State what a test cannot detect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.errors import printable
from pytest_visualbias.evaluation.detectable import detectable_before_data, images_before_data
from pytest_visualbias.evaluation.family import declared_family
from pytest_visualbias.spec.effective_settings import LOGITS, PROBABILITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.cli.explaining.subject import Subject


def limitations(subject: Subject) -> Iterator[str]:
    """Yield paragraphs on what a test cannot detect."""
    if subject.test.compared:
        yield _detectable(subject)
    images = " or ".join(subject.name(role) for role in subject.sizes) or "its sets"
    yield (
        f"It speaks of these {subject.nouns} only. Others that one would call {images} may show "
        "another effect, and p says nothing about that."
    )
    yield _layers(subject)
    yield (
        "A pass is not proof that a model is fair, and an effect is not yet harm done: it is a "
        "reason to look."
    )


def _detectable(subject: Subject) -> str:
    if not subject.is_sized:
        return "How small an effect it can see is not known before all of its sets are there."
    model = (subject.gated or subject.models)[0]
    together = subject.checkpoints.get(model)
    if together is None:
        return "How small an effect it can see is not known before its checkpoints are there."
    size = together * len(declared_family(subject.spec, model))
    least = detectable_before_data(subject.spec, subject.test, subject.sizes, size)
    sizes = ", ".join(f"{subject.name(role)} {n}" for role, n in subject.sizes.items())
    if least is None:
        return (
            f"With so few {subject.nouns} ({sizes}) no effect at all can be told from chance, once "
            "p is corrected: it cannot fail alone. Add images, or draw fewer tests into the spec."
        )
    return (
        f"With so many {subject.nouns} ({sizes}) the smallest detectable effect is at most about "
        f"{least:.2f}: a true effect of this size is found in 80 % of samples. Smaller ones may be "
        "there and pass."
        f"{_needed(subject)}"
    )


def _needed(subject: Subject) -> str:
    """Return how many images would show that an absent effect is within its limit."""
    needed = images_before_data(subject.spec, subject.test)
    if needed is None:
        return ""
    return (
        f" About {needed} {subject.nouns} a set would show in 80 % of samples that an absent "
        f"effect is within {subject.test.limits.max_effect:g}."
    )


def _layers(subject: Subject) -> str:
    layers = ", ".join(f"'{printable(layer)}'" for layer in subject.layers)
    if len(subject.layers) > 1:
        return (
            f"It is made at the layers {layers}, each judged by itself. What the network does "
            "after the last of them, its classifier above all, is not measured."
        )
    if subject.test.prediction is not None:
        return (
            "It is read of the predictions. What a model holds before its classifier may differ "
            "more, and a classifier trained anew on it may show that."
        )
    if subject.layers[0] in (LOGITS, PROBABILITIES):
        return f"It is read at {layers}. What a model holds before them is not measured."
    return (
        f"It is read at the layer {layers}. What a model holds elsewhere, and what its classifier "
        "does with it, is not measured."
    )
