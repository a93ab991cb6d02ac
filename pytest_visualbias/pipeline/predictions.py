"""Tests of predictions: what a classifier says of the images that count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_visualbias.spec.counting import uncounted
from pytest_visualbias.spec.layers import LOGITS
from pytest_visualbias.statistics import OutcomeScores, predicted, probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pytest_visualbias.embeddings.table import EmbeddingTable
    from pytest_visualbias.pipeline.measured import Measured
    from pytest_visualbias.spec.prediction import Prediction
    from pytest_visualbias.spec.schema import BiasTest
    from pytest_visualbias.spec.stimuli import StimulusSet
    from pytest_visualbias.statistics import OutcomeResult

    Rows = Mapping[str, NDArray[np.float64]]

__all__ = ["OTHERS", "classes_of", "flat_reason", "prediction_of", "read_predictions", "rows_of"]

# The role of images that a rate leaves out; they tell a classifier from one that sees nothing.
OTHERS = "others"
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
    others = [table.rows(rest) for rest in uncounted(test, every)]
    return {**rows, OTHERS: np.concatenate(others)} if others else rows


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
    every = np.concatenate(list(said.values()))
    return OutcomeScores(
        first=said["X"],
        second=said["Y"],
        is_rate=asked.is_rate,
        is_flat=bool(every.max() - every.min() <= _ROUNDING),
    )


def classes_of(measured: Measured) -> int:
    """Return how many classes a model tells apart; 0 where nothing was measured."""
    vectors = measured.trials[0].tables[LOGITS].vectors
    return next((len(one) for one in vectors.values()), 0)


def flat_reason(test: BiasTest, effect: OutcomeResult) -> str:
    """Say why equal predictions of all images are no sign of equal treatment."""
    asked = test.prediction
    assert asked is not None  # noqa: S101 - for the type checker
    if not asked.is_rate:
        said = f"every image has the same probability of class {asked.index}"
    else:
        amount = "every image" if effect.rate_x else "no image"
        said = f"{amount} is predicted as class {asked.index}"
    return (
        f"{said}, so no gap can be seen; check 'class', 'threshold' and the classifier, and that "
        "the sets hold images of the class and others"
    )


def prediction_of(test: BiasTest, measured: Measured) -> dict[str, Any] | None:
    """Return what a test asked of a classifier, as plain data; None of a test of embeddings."""
    asked = test.prediction
    if asked is None:
        return None
    return {
        "class": asked.index,
        "rate": asked.rate,
        "label": list(asked.labels),
        "threshold": asked.threshold,
        "activation": asked.activation,
        "classes": classes_of(measured),
    }
