"""The console script's word on accuracy: what a linear probe reads from embeddings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias import __version__
from pytest_visualbias.baseline.stored import write_whole
from pytest_visualbias.cli_cache import add_place, place_of, remembered, shared_of
from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.errors import ReportError
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.pipeline.embedding import Resources, measure
from pytest_visualbias.pipeline.labelled import labelled_sets
from pytest_visualbias.pipeline.probe import (
    FEWEST_FOLDS,
    STRENGTHS,
    probe,
    require_sklearn,
)
from pytest_visualbias.remote.mirror import Mirror
from pytest_visualbias.reports.accuracy import Accuracies, Accuracy
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.spec.digests import digest_of_mapping
from pytest_visualbias.spec.faults import did_you_mean
from pytest_visualbias.spec.parsing import read_spec
from pytest_visualbias.spec.schema import EmbeddingsModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.pipeline.preflight import ModelSets
    from pytest_visualbias.spec.parsing import SpecFile

__all__ = ["add_probe"]

OK, FAULTY, USAGE = 0, 1, 2
FOLDS, BATCH_SIZE = 5, 32
PRECISIONS = ("fp32", "bf16", "fp16")


def add_probe(parser: argparse.ArgumentParser) -> None:
    """Declare what a probe can be told."""
    parser.add_argument("spec", type=Path, metavar="SPEC")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="images, a subfolder for each class"
    )
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="only this model (repeatable)"
    )
    parser.add_argument(
        "--folds",
        type=_folds,
        default=FOLDS,
        metavar="N",
        help=f"parts that are classified by what the others teach (default: {FOLDS})",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of the division (default: 0)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the accuracies, too")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument(
        "--batch-size",
        type=_batch_size,
        default=BATCH_SIZE,
        metavar="N",
        help=f"images in one forward pass (default: {BATCH_SIZE})",
    )
    parser.add_argument("--rehash", action="store_true", help="trust no digest that is kept")
    add_place(parser)
    parser.set_defaults(run=_probe)


def _folds(text: str) -> int:
    return _at_least(FEWEST_FOLDS, text)


def _batch_size(text: str) -> int:
    return _at_least(1, text)


def _seed(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of {least} or more")
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
    digests = remembered(options.cache, rehash=options.rehash)
    sets = labelled_sets(options.data, digest=digests.of, folds=options.folds)
    context = Context(
        folder=file.folder,
        project=Path.cwd(),
        digest=digests.of,
        device=options.device,
        precision=options.precision,
        mirror=Mirror(folder=place_of(options.cache)),
    )
    print(_head(options, sets))
    found: list[Accuracy] = []
    for name in (one for one in names if one not in stored):
        own = list(_accuracies(file, name, sets, context, options))
        found += own
        print("\n".join(_lines(own)), flush=True)
    digests.save()
    if options.json is not None:
        _write(options, sets, found)
    return OK


def _accuracies(
    file: SpecFile,
    model: str,
    sets: ModelSets,
    context: Context,
    options: argparse.Namespace,
) -> Iterator[Accuracy]:
    resources = Resources(
        cache=EmbeddingCache(
            folder=place_of(options.cache), shared=shared_of(options.cache, offline=False)
        ),
        batch_size=options.batch_size,
        progress=_tell,
    )
    measured = measure(file, model, sets, context, resources)
    for trial in measured.trials:
        for point in measured.points:
            found = probe(trial, point.name, sets, folds=options.folds, seed=options.seed)
            yield Accuracy(
                spec=file.file,
                model=model,
                trial=trial.label,
                fingerprint=trial.fingerprint,
                layer=point.name,
                accuracy=found.accuracy,
                ci_low=found.ci_low,
                ci_high=found.ci_high,
                n=found.n,
                strengths=list(found.strengths),
                has_converged=found.has_converged,
            )


def _tell(model: str, done: int, total: int) -> None:
    """Show on a terminal how far embedding is; a log needs no line for every batch."""
    if sys.stderr.isatty():
        end = "\n" if done >= total else "\r"
        print(f"{visible(model)}: {done} of {total} images embedded", end=end, file=sys.stderr)


def _head(options: argparse.Namespace, sets: ModelSets) -> str:
    sizes = [len(one) for one in sets.sets.values()]
    return (
        f"{visible(str(options.data))}: {sum(sizes)} images of {len(sizes)} classes, "
        f"{max(sizes) / sum(sizes):.1%} of them of the largest one; {options.folds} folds\n"
        "accuracy, its 95% interval, model [layer]"
    )


def _lines(found: Sequence[Accuracy]) -> Iterator[str]:
    has_trials = len({one.trial for one in found}) > 1
    for one in found:
        trial = f" ({visible(one.trial or '')})" if has_trials else ""
        place = f"{visible(one.model)} [{visible(one.layer or '')}]{trial}"
        late = "" if one.has_converged else ", not converged"
        yield f"{one.accuracy:6.1%}  {one.ci_low:6.1%} {one.ci_high:6.1%}  {place}{late}"


def _write(options: argparse.Namespace, sets: ModelSets, found: Sequence[Accuracy]) -> None:
    digests = {name: one.digest for name, one in sets.sets.items()}
    document = Accuracies(
        tool={"name": "pytest-visualbias", "version": __version__},
        data={
            "folder": str(options.data),
            "digest": digest_of_mapping(digests),
            "classes": {name: len(one) for name, one in sets.sets.items()},
        },
        method={
            "probe": "logistic regression, standardised features, L2 penalty",
            "inverse_strengths": list(STRENGTHS),
            "folds": options.folds,
            "seed": options.seed,
            "precision": options.precision,
        },
        accuracies=list(found),
    )
    try:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.json, document.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise ReportError(
            f"{options.json} cannot be written ({error.strerror}); choose another"
        ) from None
