"""How much of a labelled folder can be read linearly from the embeddings of a model."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias.errors import UsageError
from pytest_visualbias.statistics import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.model_selection import GridSearchCV

    from pytest_visualbias.pipeline.measured import Trial
    from pytest_visualbias.pipeline.preflight import ModelSets

    Matrix = NDArray[np.float64]
    Labels = NDArray[np.int64]

__all__ = ["FEWEST_FOLDS", "STRENGTHS", "Probe", "prepared", "probe", "require_sklearn"]

# Inverse strengths of the penalty; which one is best is found within the training images alone.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
INNER_FOLDS = 3
# Of a class there must be two training images or more to choose a strength among.
FEWEST_FOLDS = 3
MOST_STEPS = 2000
# Columns that are standardised at a time: flattened maps have some 100,000.
COLUMNS = 4096
TINY = 1e-10


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """The accuracy of a linear probe of one network at one layer.

    Attributes
    ----------
    layer : str
        Where embeddings were read.
    correct, n : int
        Images that were classified rightly by a probe that had not seen them, of how many.
    ci_low, ci_high : float
        Wilson's interval of the accuracy; it takes images for independent.
    strengths : tuple of float
        The inverse strength of the penalty that was chosen in each fold.
    has_converged : bool
        Whether every fit came to its end.
    """

    layer: str
    correct: int
    n: int
    ci_low: float
    ci_high: float
    strengths: tuple[float, ...]
    has_converged: bool

    @property
    def accuracy(self) -> float:
        """Share of images that were classified rightly."""
        return self.correct / self.n


def require_sklearn() -> None:
    """Make sure that scikit-learn is there.

    Raises
    ------
    UsageError
        Where it is not.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise UsageError(
            "probes are fitted by scikit-learn, which is not installed; "
            "pip install 'pytest-visualbias[probe]'"
        )


def probe(trial: Trial, layer: str, sets: ModelSets, *, folds: int, seed: int = 0) -> Probe:
    """Classify every image by a logistic regression that was fitted without it.

    Parameters
    ----------
    trial : Trial
        One network, with the vectors of all images.
    layer : str
        One of its layers.
    sets : ModelSets
        The images of every class.
    folds : int
        Parts that each have the share of every class; each is classified by what the others teach.
    seed : int
        Of the division: the same images, folds and seed give the same parts.

    Returns
    -------
    Probe
        Features are standardised by the training images, and the strength of the penalty is chosen
        among `STRENGTHS` by cross-validation within them.

    Raises
    ------
    StimulusError
        Where an image could not be embedded.
    """
    from sklearn.model_selection import StratifiedKFold

    rows, labels = _rows(trial, layer, sets)
    correct, strengths, ended = 0, [], True
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels):
        train_rows, test_rows = prepared(rows[train], rows[test])
        fitted = _fitted(train_rows, labels[train], seed)
        correct += int((fitted.best_estimator_.predict(test_rows) == labels[test]).sum())
        strengths.append(float(fitted.best_params_["C"]))
        ended = ended and int(fitted.best_estimator_.n_iter_.max()) < MOST_STEPS
    low, high = wilson(correct, len(labels))
    return Probe(
        layer=layer,
        correct=correct,
        n=len(labels),
        ci_low=low,
        ci_high=high,
        strengths=tuple(strengths),
        has_converged=ended,
    )


def _rows(trial: Trial, layer: str, sets: ModelSets) -> tuple[NDArray[np.floating], Labels]:
    """Return vectors ``(n, dim)`` and the number of the class of each.

    They are sorted by the content of the images: names of files do not decide about the parts.
    """
    blocks = [trial.tables[layer].rows(found) for found in sets.sets.values()]
    labels = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    identities = [one.identity for found in sets.sets.values() for one in found.stimuli]
    order = np.argsort(identities)
    return np.concatenate(blocks)[order], labels[order]


def prepared(train: NDArray[np.floating], test: NDArray[np.floating]) -> tuple[Matrix, Matrix]:
    """Standardise features by the training rows; turn more of them than rows into as many.

    Parameters
    ----------
    train, test : array
        ``(n_train, dim)`` and ``(n_test, dim)``.

    Returns
    -------
    tuple of array
        ``(n_train, k)`` and ``(n_test, k)`` with k at most n_train. The inner products are those of
        the standardised features, and the penalised regression with them the same, as its weights
        are combinations of training rows.
    """
    mean = train.mean(axis=0, dtype=np.float64)
    scale = train.std(axis=0, dtype=np.float64)
    scale[scale < TINY * np.abs(mean)] = np.inf  # what is constant but for rounding says nothing
    scale[scale == 0] = np.inf
    count, dim = train.shape
    if dim <= count:
        return (train - mean) / scale, (test - mean) / scale
    inner, cross = np.zeros((count, count)), np.zeros((len(test), count))
    for start in range(0, dim, COLUMNS):
        part = slice(start, start + COLUMNS)
        own = (train[:, part] - mean[part]) / scale[part]
        inner += own @ own.T
        cross += ((test[:, part] - mean[part]) / scale[part]) @ own.T
    squares, axes = np.linalg.eigh(inner)
    kept = squares > TINY * max(squares[-1], 0)
    lengths = np.sqrt(squares[kept])
    return axes[:, kept] * lengths, cross @ (axes[:, kept] / lengths)


def _fitted(rows: Matrix, labels: Labels, seed: int) -> GridSearchCV:
    """Fit a logistic regression, the strength of its penalty chosen within these rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    least = int(np.bincount(labels).min())
    inner = StratifiedKFold(min(INNER_FOLDS, least), shuffle=True, random_state=seed)
    search = GridSearchCV(
        LogisticRegression(max_iter=MOST_STEPS), {"C": STRENGTHS}, scoring="accuracy", cv=inner
    )
    # Such small fits gain nothing from threads, and wait for each other on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # Said in the report, of the fit that counts.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return search.fit(rows, labels)
