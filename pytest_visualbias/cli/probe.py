"""Measure the accuracy of a linear classifier on embeddings (`visualbias probe`)."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import sys
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pytest_visualbias import __version__
from pytest_visualbias.cli.cache import add_cache_option, open_digest_cache
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.cache_maintenance import find_cache, shared_cache
from pytest_visualbias.embeddings.embed_model import embed_stimuli
from pytest_visualbias.embeddings.request import ModelRequest, ModelSets
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.errors import ReportError, StimulusError, UsageError
from pytest_visualbias.evaluation.baseline_file import write_whole
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.reports.document import Accuracies, Accuracy
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.hashing import digest_of_mapping
from pytest_visualbias.spec.model_entries import EmbeddingsModel
from pytest_visualbias.spec.parser import read_spec
from pytest_visualbias.statistics.rates import wilson
from pytest_visualbias.stimuli.mirror import Mirror
from pytest_visualbias.stimuli.resolve import resolve_concept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from sklearn.model_selection import GridSearchCV

    from pytest_visualbias.embeddings.table import Trial
    from pytest_visualbias.spec.parser import SpecFile
    from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet

    Matrix = NDArray[np.float64]
    Labels = NDArray[np.int64]


def labelled_sets(folder: Path, *, digest: Callable[[Path], str], folds: int) -> ModelSets:
    """Return the images of a folder that has one subfolder per class."""
    if not folder.is_dir():
        raise StimulusError(f"{folder} is not a folder", "name one with a subfolder for each class")
    names = sorted(subfolder.name for subfolder in folder.iterdir() if _is_class(subfolder))
    if len(names) < 2:  # noqa: PLR2004 - one class has nothing to be told from
        raise StimulusError(
            f"{folder} has {len(names)} subfolders", "a probe needs two classes or more"
        )
    sets = {
        name: _without_duplicates(resolve_concept(name, name, folder, digest=digest))
        for name in names
    }
    seen: dict[str, Stimulus] = {}
    for name, stimuli in sets.items():
        if len(stimuli) < folds:
            raise StimulusError(
                f"{folder / name} has {len(stimuli)} different images, "
                f"fewer than the {folds} folds",
                "add images or ask for fewer folds",
            )
        for stimulus in stimuli.stimuli:
            other = seen.setdefault(stimulus.identity, stimulus)
            if other is not stimulus:
                raise StimulusError(
                    f"{folder}: {other.name} and {stimulus.name} are one image in two classes",
                    "remove one of them",
                )
    return ModelSets(sets=sets, problems={})


def _without_duplicates(images: StimulusSet) -> StimulusSet:
    """Return a set with only the first of equal images."""
    first = {stimulus.identity: stimulus for stimulus in reversed(images.stimuli)}
    stimuli = tuple(stimulus for stimulus in images.stimuli if first[stimulus.identity] is stimulus)
    return dataclasses.replace(images, stimuli=stimuli)


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


# Inverse penalty strengths; the best is chosen within the training images.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
INNER_FOLDS = 3

# Choosing a strength needs two training images of each class.
FEWEST_FOLDS = 3
MOST_STEPS = 2000

# Columns standardised at once: flattened maps have about 100,000.
COLUMNS = 4096
TINY = 1e-10


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """The accuracy of a linear probe of one network at one layer."""

    layer: str
    correct: int
    n: int
    ci_low: float
    ci_high: float
    strengths: tuple[float, ...]
    has_converged: bool

    @property
    def accuracy(self) -> float:
        """Share of correctly classified images."""
        return self.correct / self.n


def require_sklearn() -> None:
    """Raise unless scikit-learn is installed."""
    if importlib.util.find_spec("sklearn") is None:
        raise UsageError(
            "probes are fitted by scikit-learn, which is not installed",
            "pip install 'pytest-visualbias[probe]'",
        )


def probe(trial: Trial, layer: str, sets: ModelSets, *, folds: int, seed: int = 0) -> Probe:
    """Classify each image by a logistic regression fitted without it."""
    from sklearn.model_selection import StratifiedKFold

    rows, labels = _rows(trial, layer, sets)
    correct, strengths, ended = 0, [], True
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels):
        train_rows, test_rows = standardise(rows[train], rows[test])
        fitted = _fit(train_rows, labels[train], seed)
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
    """Return vectors ``(n, dim)`` and the class index of each."""
    blocks = [trial.tables[layer].rows(images) for images in sets.sets.values()]
    labels = np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])
    identities = [stimulus.identity for images in sets.sets.values() for stimulus in images.stimuli]
    order = np.argsort(identities)
    return np.concatenate(blocks)[order], labels[order]


def standardise(train: NDArray[np.floating], test: NDArray[np.floating]) -> tuple[Matrix, Matrix]:
    """Standardise features by the training rows; reduce them to the number of rows if larger."""
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
        block = (train[:, part] - mean[part]) / scale[part]
        inner += block @ block.T
        cross += ((test[:, part] - mean[part]) / scale[part]) @ block.T
    squares, axes = np.linalg.eigh(inner)
    kept = squares > TINY * max(squares[-1], 0)
    lengths = np.sqrt(squares[kept])
    return axes[:, kept] * lengths, cross @ (axes[:, kept] / lengths)


def _fit(rows: Matrix, labels: Labels, seed: int) -> GridSearchCV:
    """Fit a logistic regression, its penalty chosen by cross-validation within these rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    smallest = int(np.bincount(labels).min())
    inner = StratifiedKFold(min(INNER_FOLDS, smallest), shuffle=True, random_state=seed)
    search = GridSearchCV(
        LogisticRegression(max_iter=MOST_STEPS), {"C": STRENGTHS}, scoring="accuracy", cv=inner
    )
    # Threads do not speed up fits this small, and block each other on a busy machine.
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        # The report states whether the final fit converged.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return search.fit(rows, labels)


OK, FAULTY, USAGE = 0, 1, 2
FOLDS, BATCH_SIZE = 5, 32
PRECISIONS = ("fp32", "bf16", "fp16")


def add_probe(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument("spec", type=Path, metavar="SPEC")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="images, a subfolder for each class"
    )
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="only this model (repeatable)"
    )
    parser.add_argument(
        "--folds",
        type=partial(_at_least, FEWEST_FOLDS),
        default=FOLDS,
        metavar="N",
        help=f"parts that are classified by what the others teach (default: {FOLDS})",
    )
    parser.add_argument(
        "--seed",
        type=partial(_at_least, 0),
        default=0,
        metavar="N",
        help="of the division (default: 0)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the accuracies, too")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument(
        "--batch-size",
        type=partial(_at_least, 1),
        default=BATCH_SIZE,
        metavar="N",
        help=f"images in one forward pass (default: {BATCH_SIZE})",
    )
    parser.add_argument("--rehash", action="store_true", help="trust no digest that is kept")
    add_cache_option(parser)
    parser.set_defaults(run=_probe)


def _at_least(minimum: int, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= minimum):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of {minimum} or more")
    return int(text)


def _probe(options: argparse.Namespace) -> int:
    require_sklearn()
    file = read_spec(options.spec, file=str(options.spec), has_baseline=True)
    names = dict.fromkeys(options.model or file.spec.models)
    for name in names:
        if name not in file.spec.models:
            known = did_you_mean(name, tuple(file.spec.models))
            print(f"{options.spec} has no model '{name}'; {known}", file=sys.stderr)
            return USAGE
    stored = [name for name in names if isinstance(file.spec.models[name], EmbeddingsModel)]
    for name in stored:
        print(f"{visible(name)}: stored vectors embed no other images, left out", file=sys.stderr)
    if len(stored) == len(names):
        print(f"{options.spec}: no model is left to probe; name one of a network", file=sys.stderr)
        return FAULTY
    digests = open_digest_cache(options.cache, rehash=options.rehash)
    sets = labelled_sets(options.data, digest=digests.of, folds=options.folds)
    context = Context(
        folder=file.folder,
        project=Path.cwd(),
        digest=digests.of,
        device=options.device,
        precision=options.precision,
        mirror=Mirror(folder=find_cache(options.cache)),
    )
    print(_head(options, sets))
    accuracies: list[Accuracy] = []
    for name in (name for name in names if name not in stored):
        model_accuracies = list(_accuracies(file, name, sets, context, options))
        accuracies += model_accuracies
        print("\n".join(_lines(model_accuracies)), flush=True)
    digests.save()
    if options.json is not None:
        _write(options, sets, accuracies)
    return OK


def _accuracies(
    file: SpecFile, model: str, sets: ModelSets, context: Context, options: argparse.Namespace
) -> Iterator[Accuracy]:
    resources = Resources(
        cache=EmbeddingCache(
            folder=find_cache(options.cache), shared=shared_cache(options.cache, offline=False)
        ),
        batch_size=options.batch_size,
        progress=_tell,
    )
    measured = embed_stimuli(
        ModelRequest(file=file, model=model, sets=sets, context=context), resources
    )
    for trial in measured.trials:
        for point in measured.points:
            result = probe(trial, point.name, sets, folds=options.folds, seed=options.seed)
            yield Accuracy(
                spec=file.file,
                model=model,
                trial=trial.label,
                fingerprint=trial.fingerprint,
                layer=point.name,
                accuracy=result.accuracy,
                ci_low=result.ci_low,
                ci_high=result.ci_high,
                n=result.n,
                strengths=list(result.strengths),
                has_converged=result.has_converged,
            )


def _tell(model: str, done: int, total: int) -> None:
    """Show the progress of embedding on a terminal; logs stay silent."""
    if sys.stderr.isatty():
        end = "\n" if done >= total else "\r"
        print(f"{visible(model)}: {done} of {total} images embedded", end=end, file=sys.stderr)


def _head(options: argparse.Namespace, sets: ModelSets) -> str:
    sizes = [len(images) for images in sets.sets.values()]
    return (
        f"{visible(str(options.data))}: {sum(sizes)} images of {len(sizes)} classes, "
        f"{max(sizes) / sum(sizes):.1%} of them of the largest one; {options.folds} folds\n"
        "accuracy, its 95% interval, model [layer]"
    )


def _lines(accuracies: Sequence[Accuracy]) -> Iterator[str]:
    has_trials = len({accuracy.trial for accuracy in accuracies}) > 1
    for accuracy in accuracies:
        trial = f" ({visible(accuracy.trial or '')})" if has_trials else ""
        place = f"{visible(accuracy.model)} [{visible(accuracy.layer or '')}]{trial}"
        warning = "" if accuracy.has_converged else ", not converged"
        interval = f"{accuracy.ci_low:6.1%} {accuracy.ci_high:6.1%}"
        yield f"{accuracy.accuracy:6.1%}  {interval}  {place}{warning}"


def _write(options: argparse.Namespace, sets: ModelSets, accuracies: Sequence[Accuracy]) -> None:
    digests = {name: images.digest for name, images in sets.sets.items()}
    document = Accuracies(
        tool={"name": "pytest-visualbias", "version": __version__},
        data={
            "folder": str(options.data),
            "digest": digest_of_mapping(digests),
            "classes": {name: len(images) for name, images in sets.sets.items()},
        },
        method={
            "probe": "logistic regression, standardised features, L2 penalty",
            "inverse_strengths": list(STRENGTHS),
            "folds": options.folds,
            "seed": options.seed,
            "precision": options.precision,
        },
        accuracies=list(accuracies),
    )
    try:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.json, document.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise ReportError(
            f"{options.json} cannot be written ({error.strerror})", "choose another"
        ) from None
