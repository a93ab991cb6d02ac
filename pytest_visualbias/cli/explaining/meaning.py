"""State what each kind of test asks, and what its numbers mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.errors import printable
from pytest_visualbias.spec.effective_settings import effective_settings
from pytest_visualbias.statistics.intervals import largest_effect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.cli.explaining.subject import Subject
    from pytest_visualbias.spec.test_kinds import Prediction

IEAT = (
    "Are {X} nearer to {A} than to {B}, compared with {Y}? Near is measured by the cosine of "
    "embeddings (Steed & Caliskan, 2021)."
)
SC_EAT = (
    "Are {X} nearer to {A} than to {B}? Near is measured by the cosine of embeddings. There is no "
    "second group of targets to compare with."
)
GAP = (
    "Are {X} nearer to {A} than {Y} are? Near is measured by the mean cosine of embeddings "
    "(Ranjit et al., 2023)."
)
INTRA = (
    "How alike are {X} to each other? It is the mean cosine of the embeddings of two different "
    "images (Ranjit et al., 2023)."
)
PREDICTED = "How far apart are {X} and {Y} in the {what}? It is read of the classifier's logits."
QUESTIONS = {
    "ieat": IEAT,
    "sc-eat": SC_EAT,
    "similarity-gap": GAP,
    "intra-similarity": INTRA,
    "outcome-gap": PREDICTED,
}
POSITIVE = (
    "It is a positive control: a model has to show this effect, or the tests that depend on it say "
    "nothing and are invalid."
)
IDLE = (
    "It is an idle control: a model that sees what it should shows this effect. It is measured and "
    "never judged, as no 'min_effect' is asked of it."
)


def question(subject: Subject) -> Iterator[str]:
    """Yield paragraphs on the question of a test."""
    test = subject.test
    outcome = "" if test.prediction is None else test.prediction.what
    yield QUESTIONS[test.kind].format(
        what=outcome,
        **{role: subject.counted(role) for role in ("X", "Y", "A", "B") if _has(subject, role)},
    )
    if test.prediction is not None:
        yield _counting(test.prediction)
    if test.about:
        yield f"The author says: {printable(test.about)}"
    if test.is_positive:
        yield POSITIVE
    elif test.control is not None:
        yield IDLE
    yield from (f"Not all sets are known: {printable(text)}" for text in subject.problems)


def _counting(prediction: Prediction) -> str:
    """Return which images count, and what counts as predicted."""
    folders = " or ".join(f"'{printable(label)}'" for label in prediction.labels)
    which = {
        "fpr": f"Only images count that lie in no folder {folders}",
        "tpr": f"Only images count that lie in a folder {folders}",
    }.get(prediction.rate, "All images count")
    if prediction.activation == "none" and not prediction.is_rate:
        return f"{which}. The network returns the probability."
    if not prediction.is_rate:
        return f"{which}. The probability is the {prediction.activation} of the logits."
    if prediction.threshold is None and prediction.activation == "softmax":
        return f"{which}. Predicted is the class with the largest logit."
    if prediction.threshold is None and prediction.activation == "none":
        return f"{which}. Predicted is the class with the largest probability."
    least = 0.5 if prediction.threshold is None else prediction.threshold
    score = "probability" if prediction.activation == "none" else prediction.activation
    return f"{which}. The class is predicted where its {score} is at least {least:g}."


def _has(subject: Subject, role: str) -> bool:
    part = subject.test.targets if role in "XY" else subject.test.attributes
    return getattr(part, role, None) is not None


def interpretation(subject: Subject) -> Iterator[str]:
    """Yield paragraphs on the meaning of a test's numbers."""
    if not subject.test.compared:
        yield (
            "The effect is that mean cosine: 1 where all images look the same to the model, near 0 "
            "where they have nothing in common. Its interval leaves out one image at a time. "
            "Nothing is compared, so there is no p."
        )
        return
    yield from _gap(subject) if subject.test.prediction is not None else _effect(subject)
    yield from _chance(subject)


def _effect(subject: Subject) -> Iterator[str]:
    kind, x, a = subject.test.kind, subject.name("X"), subject.name("A")
    if kind == "ieat":
        y, b = subject.name("Y"), subject.name("B")
        toward = f"{x} go with {a} and {y} with {b}"
    elif kind == "sc-eat":
        toward = f"{x} go with {a} rather than {subject.name('B')}"
    else:
        toward = f"{x} are nearer to {a} than {subject.name('Y')} are"
    yield (
        f"The effect d is in standard deviations. It is positive where {toward}, negative the "
        f"other way round, and 0 where there is nothing.{_most(subject)}"
    )
    if kind == "ieat" and effective_settings(subject.spec, subject.test).sides == "both":
        yield (
            "It is computed twice, the second time with targets and attributes exchanged, and the "
            "effect nearer to 0 and the larger p are judged. Where a model separates its targets "
            "well, one side alone comes near its bound for any attributes at all."
        )
    yield (
        "The gap is the same difference in cosines before it is scaled: a large d with a tiny gap "
        "is regular, but small."
    )


def _gap(subject: Subject) -> Iterator[str]:
    x, y = subject.name("X"), subject.name("Y")
    yield (
        f"The effect is the gap: the rate of {x} less that of {y}, between -1 and 1. It is "
        f"positive where {x} have the larger one, and 0 where they are equal. It is not "
        "standardised: 0.05 is five images in a hundred."
    )
    yield (
        "Where the classifier says the same of every image, or the class no more often of images "
        "that are of it, a small gap means nothing: the test is invalid."
    )


def _most(subject: Subject) -> str:
    if not subject.is_sized:
        return ""
    sizes = subject.sizes
    largest = min(
        largest_effect(sizes[first], sizes[second]) for first, second in subject.test.compared
    )
    return f" 0.8 is commonly called large, and with these sets it cannot be over {largest:.2f}."


def _chance(subject: Subject) -> Iterator[str]:
    plan = effective_settings(subject.spec, subject.test)
    pairs = subject.test.compared[:1] if plan.sides == "targets" else subject.test.compared
    sets = " and ".join(
        f"{subject.name(first)} and {subject.name(second)}" for first, second in pairs
    )
    which = {
        "two-sided": "either way",
        "greater": "as positive as this",
        "less": "as negative as this",
    }[plan.alternative]
    yield (
        f"p is the chance of an effect as large, {which}, if it made no difference which image of "
        f"{sets} is in which set. It is not the chance that the limit is exceeded."
    )
