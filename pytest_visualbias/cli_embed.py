"""The console script's ``embed``: fill the cache, so that the gate is a run that loads no model."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.cli_cache import add_place, opened, remembered
from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.embedding import Resources
from pytest_visualbias.remote.urls import place
from pytest_visualbias.session import Session, Settings
from pytest_visualbias.spec.document import printable
from pytest_visualbias.spec.schema import EmbeddingsModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.session import LoadedSpec

__all__ = ["add_embed"]

OK, FAULTY, USAGE = 0, 1, 2
BATCH_SIZE = 32
EVERY = 5.0


def add_embed(parser: argparse.ArgumentParser) -> None:
    """Declare what is embedded, and how."""
    parser.add_argument("specs", nargs="+", type=Path, metavar="SPEC")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="only models of this name (repeatable)"
    )
    parser.add_argument("--stimuli", type=place, help="root of relative stimulus paths")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--batch-size", type=_count, default=BATCH_SIZE, metavar="N")
    parser.add_argument("--offline", action="store_true", help="never touch the network")
    add_place(parser)
    parser.set_defaults(run=_embed)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of images; give 1 or more")
    return int(text)


def _embed(options: argparse.Namespace) -> int:
    cache = opened(options.cache, offline=options.offline, fills=True)
    digests, told = remembered(options.cache, rehash=False), _Told()
    session = Session(
        settings=Settings(
            project=Path.cwd(),
            stimuli=options.stimuli,
            device=options.device,
            precision=options.precision,
            offline=options.offline,
        ),
        resources=Resources(cache=cache, batch_size=options.batch_size, progress=told),
        digest=digests.of,
    )
    specs = list(_loaded(session, options.specs))
    wanted = list(_wanted([one for one in specs if one is not None], options.model))
    session.expect(wanted)
    sound = [_one(session, told, *one) for one in wanted]
    digests.save()
    if not wanted and all(one is not None for one in specs):
        print("no model is to be embedded; see --model", file=sys.stderr)
        return USAGE
    return OK if all(sound) and None not in specs else FAULTY


def _loaded(session: Session, paths: Sequence[Path]) -> Iterator[LoadedSpec | None]:
    """Yield every spec, or nothing in the place of a faulty one."""
    for path in paths:
        try:
            yield session.load(path.absolute(), str(path))
        except VisualBiasError as error:
            print(printable(str(error)))
            yield None


def _wanted(
    specs: Sequence[LoadedSpec], names: Sequence[str] | None
) -> Iterator[tuple[LoadedSpec, str]]:
    """Yield the models to embed; stored vectors are embedded already."""
    for spec in specs:
        for name, entry in spec.file.spec.models.items():
            if names is not None and name not in names:
                continue
            if not isinstance(entry, EmbeddingsModel):
                yield spec, name


def _one(session: Session, told: _Told, spec: LoadedSpec, model: str) -> bool:
    """Embed with one model; return whether all went well."""
    shown = printable(f"{spec.file.file} :: {model}")
    before = told.embedded
    problems = [*dict.fromkeys(spec.preflight.models[model].problems.values())]
    try:
        measured = session.embedded(spec, model)
    except VisualBiasError as error:
        print(f"{shown}: {printable(str(error))}")
        return False
    failures = [
        reason
        for trial in measured.trials
        for table in trial.tables.values()
        for reason in table.failures.values()
    ]
    for text in dict.fromkeys([*problems, *failures]):
        print(f"{shown}: {printable(text)}")
    tables = [table for trial in measured.trials for table in trial.tables.values()]
    images = len({identity for table in tables for identity in table.vectors})
    networks, layers = len(measured.trials), len(measured.points)
    counts = f"{_many(images, 'image')}, {_many(networks, 'network')}, {_many(layers, 'layer')}"
    print(f"{shown}: {counts}; {told.embedded - before} embedded now")
    return not (problems or failures)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


@dataclass(kw_only=True, slots=True)
class _Told:
    """Counts images that pass through a network, and tells now and then how far it is."""

    embedded: int = 0
    _last: int = 0
    _next: float = field(default_factory=lambda: time.monotonic() + EVERY)

    def __call__(self, model: str, done: int, total: int) -> None:
        self.embedded += done - (self._last if done > self._last else 0)
        self._last = 0 if done == total else done
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            print(f"{printable(model)}: {done} of {total} images embedded", file=sys.stderr)
