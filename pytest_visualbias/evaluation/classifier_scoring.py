"""Score predictions of classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.errors import DegenerateTestError, EncoderError, printable
from pytest_visualbias.evaluation.measurement import ScoredTest, TargetClass
from pytest_visualbias.spec.effective_settings import LOGITS, OUTPUT
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.test_kinds import class_text
from pytest_visualbias.statistics.classifier_gap import OutcomeScores, mean_outcome_scores
from pytest_visualbias.statistics.cosines import GroupedRows
from pytest_visualbias.statistics.rates import are_shares, predicted, probabilities
from pytest_visualbias.stimuli.concept_checks import group_stimuli
from pytest_visualbias.stimuli.resolve import counted_stimuli, split_by_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.table import Trial
    from pytest_visualbias.evaluation.measurement import MeasurementContext, Sets
    from pytest_visualbias.spec.schema import BiasSpec
    from pytest_visualbias.spec.test_kinds import BiasTest, Prediction

    Vector = NDArray[np.float64]
    Rows = Mapping[str, Vector | GroupedRows]

# The roles of all images by their label, by which it shows whether a classifier knows the class.
INSIDE, OUTSIDE = "the class", "the other classes"
TO_CHECK = "check 'class', 'label', 'threshold' and the classifier"
_ROUNDING = 1e-12


def score_predictions(context: MeasurementContext, test: BiasTest, sets: Sets) -> ScoredTest:
    """Score what the classifiers of every trial predict."""
    assert test.prediction is not None  # noqa: S101 - for the type checker
    counted = counted_stimuli(test, sets)
    classes = target_classes(
        context.spec, test, context.model.measured.trials, module=context.point.module
    )
    trials = []
    for table, target_class in zip(context.tables, classes, strict=True):
        rows: dict[str, np.ndarray | GroupedRows] = {
            role: context.rows(table, stimuli) for role, stimuli in counted.items()
        }
        for role, group in zip((INSIDE, OUTSIDE), split_by_label(test, sets), strict=True):
            if group:
                rows[role] = np.concatenate([table.rows(stimuli) for stimuli in group])
        trials.append(read_predictions(test.prediction, target_class, rows))
    return ScoredTest(
        sets={role: group_stimuli(context.spec, stimuli) for role, stimuli in counted.items()},
        trials=tuple(trials),
        mean=mean_outcome_scores(trials),
        target_class=classes[0],
    )


def target_classes(
    spec: BiasSpec, test: BiasTest, trials: Sequence[Trial], *, module: str = LOGITS
) -> tuple[TargetClass, ...]:
    """Return the class that a test asks the classifier of each trial about."""
    assert test.prediction is not None  # noqa: S101 - for the type checker
    classes = tuple(_target_class(spec, test.prediction, trial, module) for trial in trials)
    names = dict.fromkeys(target_class.name for target_class in classes)
    if len(names) > 1:
        raise EncoderError(
            f"its trials call one class {' and '.join(map(repr, names))}",
            "give them classifiers of the same classes",
        )
    return classes


def _target_class(spec: BiasSpec, prediction: Prediction, trial: Trial, module: str) -> TargetClass:
    """Return the class that a classifier is prediction about, by its index and its name."""
    names, named = spec.classes or trial.classes, prediction.index
    index = named if isinstance(named, int) else _index_of(named, names)
    if spec.classes and trial.classes and trial.classes[index : index + 1] != (names[index],):
        actual = "has none" if index >= len(trial.classes) else f"is '{trial.classes[index]}'"
        raise EncoderError(
            f"'classes' says that class {index} is '{names[index]}', and of the model itself it "
            f"{actual}",
            "correct 'classes', or leave it out",
        )
    name = names[index] if index < len(names) else ""
    return TargetClass(
        index=index,
        name=printable(name),
        count=len(names),
        activation=trial.read_out.activation if module in (LOGITS, OUTPUT) else "",
    )


def _index_of(name: str, names: Sequence[str]) -> int:
    places = [str(index) for index, known in enumerate(names) if known == name]
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


def read_predictions(
    prediction: Prediction, target_class: TargetClass, rows: Rows
) -> OutcomeScores:
    """Return the predictions of a classifier from the logits of images."""
    groups = {role: row for role, row in rows.items() if isinstance(row, GroupedRows)}
    logits_of = {
        role: row.rows if isinstance(row, GroupedRows) else row for role, row in rows.items()
    }
    classes = np.shape(logits_of["X"])[-1]
    if target_class.count not in (0, classes):
        raise DegenerateTestError(
            f"{target_class.count} classes have names and the classifier has {classes}",
            "correct 'classes'",
        )
    _check_logits(prediction, target_class, np.concatenate([*logits_of.values()]))
    predictions = {
        role: predicted(
            logits,
            target_class.index,
            activation=prediction.activation,
            threshold=prediction.threshold,
            role=role,
        )
        if prediction.is_rate
        else probabilities(logits, target_class.index, activation=prediction.activation, role=role)
        for role, logits in logits_of.items()
    }
    first, second = (
        groups[role].means(predictions[role]) if role in groups else predictions[role]
        for role in ("X", "Y")
    )
    return OutcomeScores(
        first=first,
        second=second,
        is_rate=prediction.is_rate and not groups,
        is_blind=_is_blind(predictions),
        classes=classes,
    )


def _check_logits(prediction: Prediction, target_class: TargetClass, rows: np.ndarray) -> None:
    """Refuse probabilities where logits are needed: an activation would be applied twice."""
    is_largest = (
        prediction.is_rate and prediction.threshold is None and prediction.activation == "softmax"
    )
    if prediction.activation == "none" or is_largest:  # the largest stays the largest
        return
    if prediction.activation == "sigmoid" and target_class.activation == "log_softmax":
        raise DegenerateTestError(
            "the network returns the logarithms of softmax", "write 'activation: softmax'"
        )
    is_varied = bool((rows != rows[:1]).any())
    is_inside = bool((rows >= 0).all() and (rows <= 1).all())
    is_share = are_shares(rows) or (prediction.activation == "sigmoid" and is_inside)
    if target_class.activation in ("softmax", "sigmoid") or (is_varied and is_share):
        raise DegenerateTestError(
            f"the rows are probabilities already, and '{prediction.activation}' would be applied "
            "to them again",
            "write 'activation: none' in 'prediction', or read logits",
        )


def _is_blind(predictions: Mapping[str, Vector]) -> bool:
    """Return whether a classifier predicts the same for all images, or ignores the class."""
    if INSIDE in predictions and OUTSIDE in predictions:
        return bool(predictions[INSIDE].mean() <= predictions[OUTSIDE].mean() + _ROUNDING)
    counted = np.concatenate([predictions["X"], predictions["Y"]])
    is_perfect = INSIDE in predictions and counted.min() >= 1 - _ROUNDING
    return bool(counted.max() - counted.min() <= _ROUNDING) and not is_perfect


def blind_fact(prediction: Prediction, target_class: TargetClass | None) -> str:
    """Return a sentence that states how a classifier does not know the class."""
    what = (
        class_text(prediction.index)
        if target_class is None
        else class_text(target_class.index, target_class.name)
    )
    if prediction.labels:
        folders = " or ".join(f"'{label}'" for label in prediction.labels)
        fact = f"images in {folders} are taken for {what} no more than others"
        fact += ", as by a classifier that follows the group or another label"
    elif not prediction.is_rate:
        fact = f"every image has the same probability of {what}"
    else:
        fact = f"all images or none are predicted as {what}"
    return fact


def prediction_of(
    test: BiasTest, target_class: TargetClass | None, scores: object
) -> dict[str, Any] | None:
    """Return the question of a test and the classes of the classifier as plain data, or None."""
    prediction = test.prediction
    if prediction is None or target_class is None or not isinstance(scores, OutcomeScores):
        return None
    return {**target_class_of(prediction), "class": target_class.index, "classes": scores.classes}


def target_class_of(prediction: Prediction) -> dict[str, Any]:
    """Return the question of a test to a classifier as plain data, as far as the spec states it."""
    known = {} if isinstance(prediction.index, str) else {"class": prediction.index}
    return {
        **known,
        "rate": prediction.rate,
        "label": list(prediction.labels),
        "threshold": prediction.threshold,
        "activation": prediction.activation,
    }
