"""What a classifier makes of each image: its probability of a class, and whether it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import expit, softmax

from pytest_visualbias.errors import DegenerateTestError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

__all__ = ["Activation", "are_shares", "predicted", "probabilities"]

Activation = Literal["softmax", "sigmoid", "none"]

# How far the sum of probabilities may be from 1.
_ROUNDING = 1e-3

# Of one class alone, softmax makes 1 whatever the logit.
_FEWEST = 2


def probabilities(
    logits: ArrayLike, index: int, *, activation: Activation, role: str | None = None
) -> Vector:
    """Return the probability of a class for each image.

    Parameters
    ----------
    logits : array_like
        `(n, classes)`.
    index : int
        Of the class, from 0.
    activation : {"softmax", "sigmoid", "none"}
        Whether the classes exclude each other, or each is a question of its own; ``none`` if the
        rows are probabilities.
    role : str, optional
        The set that the images are, for errors.

    Returns
    -------
    ndarray
        `(n,)`, within [0, 1].

    Raises
    ------
    DegenerateTestError
        For a class that there is not, and logits that are not finite.
    """
    rows = _sound(logits, index, activation, role)
    if activation == "none":
        if rows.min() < 0 or rows.max() > 1:
            message = "'activation: none' states probabilities, and the rows are not from 0 to 1"
            raise DegenerateTestError(f"{message}; remove it")
        return rows[:, index].copy()
    if activation == "sigmoid":
        found: Vector = expit(rows[:, index])
    else:
        found = softmax(rows, axis=1)[:, index]
    return found


def predicted(
    logits: ArrayLike,
    index: int,
    *,
    activation: Activation,
    threshold: float | None = None,
    role: str | None = None,
) -> Vector:
    """Return whether each image is predicted as a class.

    Parameters
    ----------
    logits, index, activation, role
        As in `probabilities`.
    threshold : float, optional
        The least probability that counts. Without one, the class with the largest logit is
        predicted (the first of equal ones), or with `sigmoid` what is at least one half. With
        `none`, the largest probability where those of an image sum to 1, else one half.

    Returns
    -------
    ndarray
        `(n,)`, of 0 and 1.
    """
    rows = _sound(logits, index, activation, role)
    is_one_class = activation == "softmax" or (activation == "none" and are_shares(rows))
    if threshold is None and is_one_class:
        return np.asarray(rows.argmax(axis=1) == index, dtype=np.float64)
    least = 0.5 if threshold is None else threshold
    shares = probabilities(logits, index, activation=activation, role=role)
    return np.asarray(shares >= least, dtype=np.float64)


def are_shares(rows: ArrayLike) -> bool:
    """Whether rows `(n, classes)` are probabilities that sum to 1."""
    found = np.asarray(rows, dtype=np.float64)
    is_sound = found.ndim == 2 and found.shape[1] >= _FEWEST and bool((found >= 0).all())
    return is_sound and bool((np.abs(found.sum(axis=1) - 1) <= _ROUNDING).all())


def _sound(logits: ArrayLike, index: int, activation: Activation, role: str | None) -> Matrix:
    rows = np.asarray(logits, dtype=np.float64)
    if rows.ndim != 2:
        raise DegenerateTestError(f"logits must be of shape (images, classes), not {rows.shape}")
    count = rows.shape[1]
    if not 0 <= index < count:
        message = f"the classifier has {count} classes, 0 to {count - 1}, and none of index {index}"
        raise DegenerateTestError(message)
    if count < _FEWEST and activation == "softmax":
        message = "the classifier has one logit, of which softmax makes 1 for every image"
        raise DegenerateTestError(f"{message}; add 'activation: sigmoid'")
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int((~finite).argmax())
        message = f"the logits of image {row} of {role or 'the set'} are not finite"
        raise DegenerateTestError(message, role=role, row=row)
    return rows
