"""Tests of predictions: what a classifier says of the images that count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.spec.counting import by_label
from pytest_visualbias.statistics import OutcomeScores, predicted, probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.table import EmbeddingTable
    from pytest_visualbias.spec.prediction import Prediction
    from pytest_visualbias.spec.schema import BiasTest
    from pytest_visualbias.spec.stimuli import StimulusSet

    Vector = NDArray[np.float64]
    Rows = Mapping[str, Vector]

__all__ = ["asked_of", "blind_reason", "prediction_of", "read_predictions", "rows_of"]

# The roles of all images by their label, by which it shows whether a classifier knows the class.
INSIDE, OUTSIDE = "the class", "the other classes"
_ROUNDING = 1e-12


def rows_of(
    test: BiasTest,
    table: EmbeddingTable,
    sets: Mapping[str, StimulusSet],
    every: Mapping[str, StimulusSet],
) -> dict[str, np.ndarray]:
    """Return the vectors of a test's sets ``(n, dim)``, by role.

    Parameters
    ----------
    test : BiasTest
        The test.
    table : EmbeddingTable
        Of one network at one layer.
    sets, every : mapping of str to StimulusSet
        By role: the images that count, and all.
    """
    rows = {role: table.rows(stimuli) for role, stimuli in sets.items()}
    for role, group in zip((INSIDE, OUTSIDE), by_label(test, every), strict=True):
        if group:
            rows[role] = np.concatenate([table.rows(one) for one in group])
    return rows


def read_predictions(asked: Prediction, rows: Rows) -> OutcomeScores:
    """Return what a classifier makes of images, from their logits.

    Raises
    ------
    DegenerateTestError
        For a class that the classifier does not have, and logits that are not finite.
    """
    said = {
        role: predicted(
            logits,
            asked.index,
            activation=asked.activation,
            threshold=asked.threshold,
            role=role,
        )
        if asked.is_rate
        else probabilities(logits, asked.index, activation=asked.activation, role=role)
        for role, logits in rows.items()
    }
    return OutcomeScores(
        first=said["X"],
        second=said["Y"],
        is_rate=asked.is_rate,
        is_blind=_is_blind(said),
        classes=np.shape(rows["X"])[-1],
    )


def _is_blind(said: Rows) -> bool:
    """Whether a classifier tells nothing apart, or not the class from others."""
    if INSIDE in said and OUTSIDE in said:
        return bool(said[INSIDE].mean() <= said[OUTSIDE].mean() + _ROUNDING)
    counted = np.concatenate([said["X"], said["Y"]])
    return bool(counted.max() - counted.min() <= _ROUNDING)


def blind_reason(asked: Prediction) -> str:
    """Say why a small gap is no sign of equal treatment."""
    if asked.labels:
        folders = " or ".join(f"'{label}'" for label in asked.labels)
        said = f"images in {folders} are taken for class {asked.index} no more than others"
        said += ", as by a classifier that follows the group or another label"
    elif not asked.is_rate:
        said = f"every image has the same probability of class {asked.index}"
    else:
        said = f"all images or none are predicted as class {asked.index}"
    return f"{said}: its gap says nothing; check 'class', 'label', 'threshold' and the classifier"


def prediction_of(test: BiasTest, scores: object) -> dict[str, Any] | None:
    """Return what a test asked of a classifier, as plain data; None of a test of embeddings."""
    if test.prediction is None or not isinstance(scores, OutcomeScores):
        return None
    return {**asked_of(test.prediction), "classes": scores.classes}


def asked_of(asked: Prediction) -> dict[str, Any]:
    """Return the question itself as plain data, without what only a classifier can tell."""
    return {
        "class": asked.index,
        "rate": asked.rate,
        "label": list(asked.labels),
        "threshold": asked.threshold,
        "activation": asked.activation,
    }
