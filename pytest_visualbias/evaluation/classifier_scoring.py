"""Score predictions of classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import DegenerateTestError, EncoderError, printable
from pytest_visualbias.results import format_effect
from pytest_visualbias.spec.effective_settings import LOGITS, OUTPUT
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.test_kinds import class_text
from pytest_visualbias.statistics.classifier_gap import OutcomeScores
from pytest_visualbias.statistics.cosines import GroupedRows
from pytest_visualbias.statistics.rates import are_shares, predicted, probabilities
from pytest_visualbias.stimuli.concept_checks import groups_of
from pytest_visualbias.stimuli.resolve import split_by_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.table import EmbeddingTable, Trial
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest, Prediction
    from pytest_visualbias.stimuli.resolve import StimulusSet

    Vector = NDArray[np.float64]
    Rows = Mapping[str, Vector | GroupedRows]

# The roles of all images by their label, by which it shows whether a classifier knows the class.
INSIDE, OUTSIDE = "the class", "the other classes"
TO_CHECK = "check 'class', 'label', 'threshold' and the classifier"
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetClass:
    """The class that a classifier is asked about."""

    index: int
    name: str = ""
    count: int = 0
    activation: str = ""


def target_classes(
    spec: BiasSpec, test: BiasTest, trials: Sequence[Trial], *, module: str = LOGITS
) -> tuple[TargetClass | None, ...]:
    """Return which class a test asks each trial about; None of a test of embeddings."""
    asked = tuple(_asked_of(spec, test, trial, module) for trial in trials)
    names = dict.fromkeys(one.name for one in asked if one is not None)
    if len(names) > 1:
        raise EncoderError(
            f"its trials call one class {' and '.join(map(repr, names))}",
            "give them classifiers of the same classes",
        )
    return asked


def _asked_of(spec: BiasSpec, test: BiasTest, trial: Trial, module: str) -> TargetClass | None:
    if test.prediction is None:
        return None
    names, asked = spec.classes or trial.classes, test.prediction.index
    index = asked if isinstance(asked, int) else _place(asked, names)
    if spec.classes and trial.classes and trial.classes[index : index + 1] != (names[index],):
        own = "has none" if index >= len(trial.classes) else f"is '{trial.classes[index]}'"
        raise EncoderError(
            f"'classes' says that class {index} is '{names[index]}', and of the model itself it "
            f"{own}",
            "correct 'classes', or leave it out",
        )
    name = names[index] if index < len(names) else ""
    return TargetClass(
        index=index,
        name=printable(name),
        count=len(names),
        activation=trial.read_out.activation if module in (LOGITS, OUTPUT) else "",
    )


def _place(name: str, names: Sequence[str]) -> int:
    places = [str(index) for index, one in enumerate(names) if one == name]
    if not names:
        raise EncoderError(
            f"nothing says which class '{name}' is",
            "write 'classes' in the spec, the names in the order of the logits, or the number of "
            "the class",
        )
    if not places:
        raise EncoderError(f"the model has no class '{name}'", did_you_mean(name, names))
    if len(places) > 1:
        raise EncoderError(
            f"classes {' and '.join(places)} are '{name}'", "write the number of one"
        )
    return int(places[0])


def prediction_rows(
    spec: BiasSpec,
    test: BiasTest,
    table: EmbeddingTable,
    sets: Mapping[str, StimulusSet],
    every: Mapping[str, StimulusSet],
) -> dict[str, np.ndarray | GroupedRows]:
    """Return the vectors of a test's sets ``(n, dim)``, by role, with the groups of images."""
    rows: dict[str, np.ndarray | GroupedRows] = {
        role: _rows(spec, table, stimuli) for role, stimuli in sets.items()
    }
    for role, group in zip((INSIDE, OUTSIDE), split_by_label(test, every), strict=True):
        if group:
            rows[role] = np.concatenate([table.rows(one) for one in group])
    return rows


def _rows(spec: BiasSpec, table: EmbeddingTable, stimuli: StimulusSet) -> np.ndarray | GroupedRows:
    rows, groups = table.rows(stimuli), groups_of(spec, stimuli)
    if groups is None:
        return rows
    names = zip(stimuli.stimuli, groups, strict=True)
    return GroupedRows(rows=rows, groups=tuple(group or one.name for one, group in names))


def read_predictions(asked: Prediction, target_class: TargetClass, rows: Rows) -> OutcomeScores:
    """Return what a classifier makes of images, from their logits."""
    groups = {role: row for role, row in rows.items() if isinstance(row, GroupedRows)}
    logits_of = {
        role: one.rows if isinstance(one, GroupedRows) else one for role, one in rows.items()
    }
    classes = np.shape(logits_of["X"])[-1]
    if target_class.count not in (0, classes):
        raise DegenerateTestError(
            f"{target_class.count} classes have names and the classifier has {classes}",
            "correct 'classes'",
        )
    _check_logits(asked, target_class, np.concatenate([*logits_of.values()]))
    said = {
        role: predicted(
            logits,
            target_class.index,
            activation=asked.activation,
            threshold=asked.threshold,
            role=role,
        )
        if asked.is_rate
        else probabilities(logits, target_class.index, activation=asked.activation, role=role)
        for role, logits in logits_of.items()
    }
    first, second = (
        groups[role].means(said[role]) if role in groups else said[role] for role in ("X", "Y")
    )
    return OutcomeScores(
        first=first,
        second=second,
        is_rate=asked.is_rate and not groups,
        is_blind=_is_blind(said),
        classes=classes,
    )


def _check_logits(asked: Prediction, target_class: TargetClass, rows: np.ndarray) -> None:
    """Refuse probabilities where logits are needed: an activation would be applied twice."""
    is_largest = asked.is_rate and asked.threshold is None and asked.activation == "softmax"
    if asked.activation == "none" or is_largest:  # the largest stays the largest
        return
    if asked.activation == "sigmoid" and target_class.activation == "log_softmax":
        raise DegenerateTestError(
            "the network returns the logarithms of softmax", "write 'activation: softmax'"
        )
    is_varied = bool((rows != rows[:1]).any())
    is_inside = bool((rows >= 0).all() and (rows <= 1).all())
    is_share = are_shares(rows) or (asked.activation == "sigmoid" and is_inside)
    if target_class.activation in ("softmax", "sigmoid") or (is_varied and is_share):
        raise DegenerateTestError(
            f"the rows are probabilities already, and '{asked.activation}' would be applied to "
            "them again",
            "write 'activation: none' in 'prediction', or read logits",
        )


def _is_blind(said: Mapping[str, Vector]) -> bool:
    """Whether a classifier tells nothing apart, or not the class from others."""
    if INSIDE in said and OUTSIDE in said:
        return bool(said[INSIDE].mean() <= said[OUTSIDE].mean() + _ROUNDING)
    counted = np.concatenate([said["X"], said["Y"]])
    is_perfect = INSIDE in said and counted.min() >= 1 - _ROUNDING
    return bool(counted.max() - counted.min() <= _ROUNDING) and not is_perfect


def blind_fact(asked: Prediction, target_class: TargetClass | None) -> str:
    """Say in what way a classifier does not know the class that it is asked about."""
    what = (
        class_text(asked.index)
        if target_class is None
        else class_text(target_class.index, target_class.name)
    )
    if asked.labels:
        folders = " or ".join(f"'{label}'" for label in asked.labels)
        said = f"images in {folders} are taken for {what} no more than others"
        said += ", as by a classifier that follows the group or another label"
    elif not asked.is_rate:
        said = f"every image has the same probability of {what}"
    else:
        said = f"all images or none are predicted as {what}"
    return said


def blind_reason(fact: str, gap: float) -> str:
    """Say why a gap within its limit is no sign of equal treatment."""
    return f"{fact}: that its gap is {format_effect(gap)} and no more says nothing; {TO_CHECK}"


def prediction_of(
    test: BiasTest, target_class: TargetClass | None, scores: object
) -> dict[str, Any] | None:
    """Return what a test asked of a classifier, as plain data; None of a test of embeddings."""
    asked = test.prediction
    if asked is None or target_class is None or not isinstance(scores, OutcomeScores):
        return None
    return {**target_class_of(asked), "class": target_class.index, "classes": scores.classes}


def target_class_of(asked: Prediction) -> dict[str, Any]:
    """Return the question itself as plain data, without what only a classifier can tell."""
    known = {} if isinstance(asked.index, str) else {"class": asked.index}
    return {
        **known,
        "rate": asked.rate,
        "label": list(asked.labels),
        "threshold": asked.threshold,
        "activation": asked.activation,
    }
