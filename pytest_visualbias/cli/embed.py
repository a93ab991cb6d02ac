"""Embed images ahead of a run, here or on a cluster (`visualbias embed`)."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_visualbias.cli.cache import add_cache_option, open_cache, open_digest_cache
from pytest_visualbias.embeddings.ray_backend import RayRun
from pytest_visualbias.embeddings.ray_cluster import RaySettings, require_ray
from pytest_visualbias.embeddings.request import EmbeddingJob, EmbeddingOutcome, request_for
from pytest_visualbias.embeddings.table import Resources
from pytest_visualbias.errors import EngineError, UsageError, VisualBiasError, printable
from pytest_visualbias.evaluation.run import EvaluationRun
from pytest_visualbias.evaluation.settings import RunSettings
from pytest_visualbias.reports.formatting import format_count
from pytest_visualbias.spec.error_messages import shorten
from pytest_visualbias.spec.model_entries import EmbeddingsModel
from pytest_visualbias.spec.urls import to_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import Progress, TaskID

    from pytest_visualbias.evaluation.model_embedder import LoadedSpec

EVERY_S: Final = 5.0


class EmbeddingProgress:
    """Progress of embedding on standard error."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._next = time.monotonic() + EVERY_S
        self._has_printed = False
        self._unprinted = ""

    @contextlib.contextmanager
    def display(self) -> Iterator[None]:
        """Show a bar on a terminal, else print the last state at the end."""
        if not sys.stderr.isatty():
            try:
                yield
            finally:
                if self._has_printed and self._unprinted:
                    self._print()
            return
        with _progress_bars() as self._bars:
            yield
        self._bars = None

    def __call__(self, done: int, total: int, subject: str) -> None:
        """Show that `done` of `total` images are embedded by a model or worker."""
        if self._bars is not None:
            self._update_bar(self._bars, done, total, subject)
            return
        self._unprinted = f"{printable(subject)}: {done} of {total} images embedded"
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY_S
            self._print()

    def _print(self) -> None:
        print(self._unprinted, file=sys.stderr)
        self._has_printed, self._unprinted = True, ""

    def _update_bar(self, bars: Progress, done: int, total: int, subject: str) -> None:
        from rich.markup import escape

        description = escape(printable(subject))
        if self._bar is None:
            self._bar = bars.add_task(description, total=total)
        bars.update(self._bar, completed=done, total=total, description=description)


def _progress_bars() -> Progress:
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("images, {task.description}"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Other output to the terminal goes above the bar.
        redirect_stdout=sys.stdout.isatty(),
    )


class ImageCounter:
    """Counter of embedded images."""

    def __init__(self, progress: Callable[[int, int, str], None]) -> None:
        self._progress = progress
        self._last = 0
        self.images = 0

    def __call__(self, model: str, done: int, total: int) -> None:
        """Record that `done` of `total` images were embedded with a model."""
        self.images += done - (self._last if done > self._last else 0)
        self._last = 0 if done == total else done
        self._progress(done, total, model)


def embed_in_process(
    session: EvaluationRun,
    models: Sequence[tuple[LoadedSpec, str]],
    passed: ImageCounter,
    tell: Callable[[int, EmbeddingOutcome], None],
) -> None:
    """Embed with each model in turn, in this process."""
    session.embedder.expect(models)
    for owner, (spec, model) in enumerate(models):
        tell(owner, _embed_model(session, passed, spec, model))


def _embed_model(
    session: EvaluationRun, passed: ImageCounter, spec: LoadedSpec, model: str
) -> EmbeddingOutcome:
    before = passed.images
    try:
        if not all(identity.is_kept for identity in session.embedder.identities(spec, model)):
            return EmbeddingOutcome(is_kept=False)
        measured = session.embedder.embed_all(spec, model)
    except EngineError:
        raise
    except VisualBiasError as error:
        return EmbeddingOutcome(faults=(str(error),), failed=True)
    tables = [table for trial in measured.trials for table in trial.tables.values()]
    faults = [reason for table in tables for reason in table.messages]
    return EmbeddingOutcome(
        images=len({identity for table in tables for identity in table.vectors}),
        networks=len(measured.trials),
        layers=len(measured.points),
        embedded=passed.images - before,
        faults=tuple(dict.fromkeys(faults)),
    )


def embed_on_workers(
    session: EvaluationRun,
    models: Sequence[tuple[LoadedSpec, str]],
    run: RayRun,
    tell: Callable[[int, EmbeddingOutcome], None],
) -> None:
    """Embed with all models on workers, each network once."""
    jobs: list[tuple[int, EmbeddingJob]] = []
    for owner, (spec, model) in enumerate(models):
        try:
            of_model = _jobs(session, spec, model)
        except VisualBiasError as error:
            tell(owner, EmbeddingOutcome(faults=(str(error),), failed=True))
            continue
        jobs += [(owner, job) for job in of_model]
        if not of_model:
            tell(owner, EmbeddingOutcome(is_kept=False))
    for owner, outcome in run.embed(jobs):
        tell(owner, outcome)


def _jobs(session: EvaluationRun, spec: LoadedSpec, model: str) -> list[EmbeddingJob]:
    entry = spec.file.spec.models[model]
    context = session.embedder.context(spec)
    # Entries of some sources set their own precision.
    precision = getattr(entry, "precision", None) or context.precision
    context = dataclasses.replace(context, precision=precision)
    wanted = request_for(spec.file, model, spec.preflight.models[model])
    return [
        EmbeddingJob(
            entry=entry, identity=identity, context=context, request=wanted, merged_request=wanted
        )
        for identity in session.embedder.identities(spec, model)
        if identity.is_kept
    ]


OK, FAULTY, USAGE = 0, 1, 2
BATCH_SIZE = 32
SHARD = 512
UNKEPT = (
    "not embedded, because the cache keeps no vectors of a factory without 'checkpoint' and "
    "'random_init'; add one of them, or let the gate embed the images in each run"
)


def add_embed(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument("specs", nargs="+", type=Path, metavar="SPEC")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="only models of this name (repeatable)"
    )
    parser.add_argument("--stimuli", type=to_path, help="root of relative stimulus paths")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--batch-size", type=_count, default=BATCH_SIZE, metavar="N")
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    parser.add_argument(
        "--cpus-per-task", type=_count, default=1, metavar="N", help="processors to use (1)"
    )
    add_cache_option(parser)
    _add_cluster(parser)
    parser.set_defaults(run=_embed)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    cluster = parser.add_argument_group("many machines")
    cluster.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="in this process, or by workers of a Ray cluster (local)",
    )
    cluster.add_argument(
        "--address",
        metavar="ADDRESS",
        help="auto, local, HOST:PORT or ray://HOST:PORT (auto: $RAY_ADDRESS, else the one here)",
    )
    cluster.add_argument(
        "--gpus-per-task",
        type=_gpus,
        metavar="N",
        help="GPUs of a worker, or a share of one such as 0.5 (1 where the cluster has any)",
    )
    cluster.add_argument(
        "--workers",
        type=_count,
        metavar="N",
        help="workers at most, also of machines that are yet to come (as many as there is room)",
    )
    cluster.add_argument(
        "--shard", type=_count, metavar="N", help=f"images of a task, in whole batches ({SHARD})"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number; give 1 or more")
    return int(text)


def _gpus(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf or (number > 1 and number != int(number)):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no number of GPUs; give 0, a share such as 0.5, or a whole number"
        )
    return number


def _embed(options: argparse.Namespace) -> int:
    _check(options)
    digests, meter = open_digest_cache(options.cache, rehash=False), EmbeddingProgress()
    passed = ImageCounter(meter)
    session = _session(options, passed, digests.of)
    specs = list(_load_specs(session, options.specs))
    wanted = list(_models_to_embed([spec for spec in specs if spec is not None], options.model))
    sound: list[bool] = []

    def tell(owner: int, outcome: EmbeddingOutcome) -> None:
        sound.append(_print_outcome(*wanted[owner], outcome))

    try:
        with meter.display():
            if options.engine == "ray" and wanted:
                _on_ray(options, session, wanted, meter, tell)
            else:
                embed_in_process(session, wanted, passed, tell)
    finally:
        digests.save()
    if not wanted and all(spec is not None for spec in specs):
        print("no model is to be embedded; see --model", file=sys.stderr)
        return USAGE
    return OK if all(sound) and None not in specs else FAULTY


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if options.engine == "ray":
        require_ray()
        if options.device.startswith("cuda:"):
            raise UsageError(
                f"--device {options.device} is a GPU of one machine",
                "leave it out, for Ray gives every worker its own",
            )
        return
    for name in ("address", "gpus_per_task", "workers", "shard"):
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is for --engine ray", "add that, or leave it out")


def _session(
    options: argparse.Namespace, passed: ImageCounter, digest: Callable[[Path], str]
) -> EvaluationRun:
    settings = RunSettings(
        project=Path.cwd(),
        stimuli=options.stimuli,
        device=options.device,
        precision=options.precision,
        offline=options.offline,
        threads=options.cpus_per_task,
    )
    cache = open_cache(options.cache, offline=options.offline, fills=True)
    cache = dataclasses.replace(cache, is_required=True)
    resources = Resources(cache=cache, batch_size=options.batch_size, progress=passed)
    return EvaluationRun(settings=settings, resources=resources, digest=digest)


def _on_ray(
    options: argparse.Namespace,
    session: EvaluationRun,
    wanted: Sequence[tuple[LoadedSpec, str]],
    meter: EmbeddingProgress,
    tell: Callable[[int, EmbeddingOutcome], None],
) -> None:
    ray_settings = RaySettings(
        address="auto" if options.address is None else options.address,
        cpus=options.cpus_per_task,
        gpus=0.0 if options.device == "cpu" else options.gpus_per_task,
        device=options.device,
        workers=options.workers,
        shard=options.shard or SHARD,
        batch_size=options.batch_size,
    )
    run = RayRun(settings=ray_settings, cache=session.resources.cache, progress=meter)
    embed_on_workers(session, wanted, run, tell)


def _load_specs(session: EvaluationRun, paths: Sequence[Path]) -> Iterator[LoadedSpec | None]:
    """Yield each spec, or None for a faulty one."""
    for path in paths:
        try:
            yield session.load(path.absolute(), str(path))
        except VisualBiasError as error:
            print(printable(str(error)))
            yield None


def _models_to_embed(
    specs: Sequence[LoadedSpec], names: Sequence[str] | None
) -> Iterator[tuple[LoadedSpec, str]]:
    """Yield the models to embed; stored vectors need no embedding."""
    for spec in specs:
        for name, entry in spec.file.spec.models.items():
            if names is not None and name not in names:
                continue
            if not isinstance(entry, EmbeddingsModel):
                yield spec, name


def _print_outcome(spec: LoadedSpec, model: str, outcome: EmbeddingOutcome) -> bool:
    """Print the outcome of a model; return whether it has no faults."""
    name = printable(f"{spec.file.file} :: {model}")
    problems = () if outcome.failed else spec.preflight.models[model].problems.values()
    faults = [*dict.fromkeys([*map(str, problems), *outcome.faults])]
    for text in faults:
        print(f"{name}: {printable(shorten(text, spec.file.folder, Path.cwd()))}")
    if not outcome.is_kept:
        print(f"{name}: {UNKEPT}")
    elif not outcome.failed:
        counts = ", ".join(
            (
                format_count(outcome.images, "image"),
                format_count(outcome.networks, "network"),
                format_count(outcome.layers, "layer"),
            )
        )
        print(f"{name}: {counts}; {outcome.embedded} embedded now")
    return not faults
