"""State how a test is judged, for which models, and in which family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.errors import printable
from pytest_visualbias.evaluation.family import declared_family
from pytest_visualbias.spec.effective_settings import (
    axis_of,
    effective_settings,
    excess_base,
    gated_layers_of,
    gates_all,
    growth_base,
    is_random,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_visualbias.cli.explaining.subject import Subject
    from pytest_visualbias.spec.test_kinds import BiasTest

CORRECTIONS = {"holm": "Holm's correction", "bh": "the correction of Benjamini and Hochberg"}
MOST_NAMED = 12


def decision_rule(subject: Subject) -> Iterator[str]:
    """Yield paragraphs on how a test is judged."""
    test = subject.test
    if test.is_positive:
        yield from _control(subject)
    else:
        yield from _limits(subject)
    yield from _layers(subject)
    yield from _roles(subject)
    yield from _series(subject)
    yield from _family(subject)
    if test.accept is not None:
        yield (
            f"A waiver accepts {_sizes(test)} until {test.accept.until}: "
            f"{printable(test.accept.reason)}"
        )
    if not test.is_positive:
        yield from _controls(subject)


def _sizes(test: BiasTest) -> str:
    """Return the accepted size of each limit that the waiver names."""
    sizes = test.accept.sizes(test.limits) if test.accept is not None else {}
    return ", ".join(f"{kind} up to {size:g}" for kind, size in sizes.items())


def _control(subject: Subject) -> Iterator[str]:
    plan, least = effective_settings(subject.spec, subject.test), subject.test.limits.min_effect
    if least is None:
        yield "It has no 'min_effect' yet, so it is measured only."
        return
    sign = "-" if plan.alternative == "less" else ""
    yield (
        f"It passes where the judged effect is {sign}{least:g} or beyond, and the largest of its p "
        f"is at most {plan.alpha:g}, uncorrected."
    )


def _limits(subject: Subject) -> Iterator[str]:
    limits = subject.test.limits.model_dump(exclude_none=True)
    if not limits:
        yield "It has no limits: it is measured and reported, and fails nothing."
        return
    plan = effective_settings(subject.spec, subject.test)
    size = {
        "two-sided": "the effect, whatever its sign,",
        "greater": "the effect",
        "less": "the effect with its sign changed",
    }[plan.alternative]
    gap = size.replace("effect", "gap")
    bases = {growth_base(subject.spec, subject.test, name) for name in subject.gated}
    origin = _quoted(name for name in bases if name) or "the recorded results"
    quantities = {
        "max_effect": size,
        "max_gap": "the gap in cosines" if subject.test.prediction is None else gap,
        "max_growth": f"the growth of the absolute effect since {origin}",
        "max_shift": f"the change of the effect, either way, since {origin}",
        "max_excess": "the absolute effect, less that of the untrained network "
        f"'{excess_base(subject.spec, subject.test)}',",
    }
    exceeded = "; ".join(
        f"{quantities[key]} is over {value:g} ({key})" for key, value in limits.items()
    )
    proof = {
        "significant": f"and the corrected p is at most {plan.alpha:g}. Over a limit without that "
        "it is inconclusive: a skip, and a failure with --visualbias-strict",
        "interval": f"and the whole {1 - plan.alpha:.0%} interval lies beyond, its level raised "
        "for all limits judged so. Over a limit without that it is inconclusive: a skip, and a "
        "failure with --visualbias-strict",
        "equivalence": f"and the corrected p is at most {plan.alpha:g}. It passes only where the "
        f"{1 - 2 * plan.alpha:.0%} interval lies within every limit; else it is inconclusive: a "
        "skip, and a failure with --visualbias-strict",
        "point": "whatever the evidence",
    }[plan.evidence]
    yield f"It fails where {exceeded}, {proof}."


def _layers(subject: Subject) -> Iterator[str]:
    gated = gated_layers_of(subject.spec, subject.test)
    if not {*subject.layers} <= {*gated}:
        yield f"Limits apply at the gated layers {_quoted(gated)}; at others it is reported only."


def _roles(subject: Subject) -> Iterator[str]:
    random = [name for name in subject.models if is_random(subject.spec.models[name])]
    gated = subject.gated
    others = [name for name in subject.models if name not in gated and name not in random]
    if gated:
        yield f"Gated, so that they can fail: {_quoted(gated)}."
    if others:
        also = ", unless they do not show it" if subject.test.is_positive else ""
        yield f"References, measured and reported but never failed{also}: {_quoted(others)}."
    if random:
        yield f"Untrained, to compare with, never failed: {_quoted(random)}."


def _series(subject: Subject) -> Iterator[str]:
    for name in subject.gated:
        entry = subject.spec.models[name]
        axis = axis_of(entry)
        if axis is None:
            continue
        run = f"'{printable(name)}' is a training run, its checkpoints in the order of the"
        if gates_all(entry):
            yield (
                f"{run} {printable(axis)}: each of them is judged, and the p of all are corrected "
                "together, so that the more there are, the more each needs."
            )
        else:
            yield (
                f"{run} {printable(axis)}: the last one is judged, as if it were alone; the "
                "others are measured and shown, by their own p, uncorrected."
            )


def _family(subject: Subject) -> Iterator[str]:
    if not subject.gated:
        return
    family = declared_family(subject.spec, subject.gated[0])
    quantities = dict.fromkeys(
        quantity for _, name, quantity in family if name == subject.test.name
    )
    correction = subject.spec.settings.correction
    if not quantities:
        yield "No p of it counts in the correction of the others."
        return
    counted = " and ".join(quantities)
    if correction == "none":
        yield f"Its p of {counted} stands alone: the spec asks for no correction."
        return
    runs = list(_over_runs(subject, len(family)))
    if len(family) == 1 and not runs:
        yield "Its p is the only one of its family, so correction changes nothing."
        return
    others = dict.fromkeys(name for _, name, _ in family if name != subject.test.name)
    count = len({layer for layer, *_ in family})
    together = f" at {count} gated layers together" if count > 1 else ""
    beside = f", with those of {_quoted(others)}" if others else ""
    yield (
        f"Its p of {counted} is corrected over {len(family)} p of the spec for each "
        f"model{together}{beside} ({CORRECTIONS[correction]}), whatever is selected."
    )
    yield from runs


def _over_runs(subject: Subject, count: int) -> Iterator[str]:
    """Yield the family size of each training run whose checkpoints are all judged."""
    for name in (model for model in subject.gated if gates_all(subject.spec.models[model])):
        together = subject.checkpoints.get(name)
        if together is None:
            yield (
                f"Of '{printable(name)}' they are so many at each checkpoint, and corrected "
                "together; none is there yet to be counted."
            )
        elif together > 1:
            yield (
                f"Of '{printable(name)}' they are so many at each of its {together} checkpoints: "
                f"{count * together} p, corrected together."
            )


def _controls(subject: Subject) -> Iterator[str]:
    names = [
        other.name
        for other in subject.spec.tests
        if other.is_positive
        and (
            other.scope == "model"
            or (other.attributes is not None and other.attributes == subject.test.attributes)
        )
    ]
    if names:
        yield f"It is invalid where a positive control fails that speaks for it: {_quoted(names)}."
    elif subject.test.control is None and subject.test.compared and not subject.test.prediction:
        yield (
            "No positive control speaks for it: a model that sees nothing of what the attributes "
            "show would pass."
        )


def _quoted(names: Iterable[str]) -> str:
    listed = [f"'{printable(name)}'" for name in names]
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(listed[:MOST_NAMED]) + more
