"""One suite's stimuli brought into their folder: the whole story of a fetch."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pytest_visualbias.errors import FetchError
from pytest_visualbias.stimuli.fetching.addresses import build_opener
from pytest_visualbias.stimuli.fetching.content import is_named_so
from pytest_visualbias.stimuli.fetching.crew import Crew
from pytest_visualbias.stimuli.fetching.ledger import (
    Absence,
    Book,
    Ledger,
    Record,
    now,
    read_ledger,
)
from pytest_visualbias.stimuli.fetching.outcomes import (
    GoneError,
    Received,
    RefusedError,
    TroubleError,
)
from pytest_visualbias.stimuli.fetching.store import Store
from pytest_visualbias.stimuli.fetching.survey import TOOL, survey
from pytest_visualbias.stimuli.fetching.transfer import Manners, Transfer

if TYPE_CHECKING:
    from pytest_visualbias.stimuli.fetching.addresses import Mirror
    from pytest_visualbias.stimuli.fetching.outcomes import Wanted
    from pytest_visualbias.stimuli.fetching.survey import Survey
    from pytest_visualbias.stimuli.fetching.targets import Target
    from pytest_visualbias.stimuli.manifest import ManifestEntry

# So many files in a row without a server to ask mean that the network is the trouble.
UNREACHED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How to fetch."""

    mirrors: tuple[Mirror, ...] = ()
    proxy: str | None = None
    manners: Manners = field(default_factory=Manners)
    jobs: int = 4


class Meter(Protocol):
    """Who is told how far it is."""

    def waiting(self) -> None:
        """Another process has the folder."""

    def begin(self, total: int) -> None:
        """So many files are to be fetched."""

    def step(self, size: int) -> None:
        """One is done with, having so many bytes."""


@dataclass(slots=True)
class Gathered:
    """What came of it."""

    records: dict[str, Record]
    absent: list[ManifestEntry]
    refused: dict[str, str]
    fetched: int = 0
    found: int = 0
    untried: int = 0
    misnamed: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether all is there that can be."""
        return not self.refused and not self.untried


def gather(target: Target, way: Way, meter: Meter) -> Gathered:
    """Bring what is missing of a suite's stimuli, and verify the rest."""
    store = Store(target.folder)
    with store.locked(meter.waiting):
        book = Book(target.folder, _ledger(target))
        try:
            seen = survey(target.entries, store, book.files, way.mirrors)
            return _bring(seen, store, book, way, meter)
        finally:
            book.save()


def _ledger(target: Target) -> Ledger:
    """Return what is recorded about the folder, with what the suite says today."""
    old = read_ledger(target.folder)
    if old is not None and old.suite != target.name:
        raise FetchError(
            f"{target.folder}: holds what was fetched for the suite '{old.suite}'",
            "choose another folder with --data",
        )
    is_accepted = old is not None and old.licence == target.licence
    return Ledger(
        version=1,
        suite=target.name,
        title=target.title,
        source=target.source,
        licence=target.licence,
        citation=target.citation,
        manifest=target.manifest,
        accepted=old.accepted if old is not None and is_accepted else now(),
        tool=TOOL,
        files=old.files if old is not None else {},
        gone=old.gone if old is not None else {},
        due=old.due if old is not None else [],
    )


def _bring(seen: Survey, store: Store, book: Book, way: Way, meter: Meter) -> Gathered:
    done = Gathered(
        records={**seen.there, **seen.found},
        absent=seen.absent,
        refused=seen.refused,
        found=len(seen.found),
    )
    for path, record in seen.found.items():
        book.add(path, record)
    book.expect(wanted.entry.path for wanted in seen.wanted)
    meter.begin(len(seen.wanted))
    stop = threading.Event()
    transfer = Transfer(build_opener(way.proxy), way.manners, stop)

    def ask(wanted: Wanted) -> tuple[Wanted, Received | FetchError]:
        try:
            return wanted, transfer.fetch(wanted, store.part(wanted))
        except (RefusedError, TroubleError) as error:
            return wanted, error

    crew = Crew(ask, way.jobs, stop)
    with contextlib.closing(crew.results(seen.wanted)) as results:
        unreached = 0
        for number, (wanted, result) in enumerate(results, 1):
            _take(wanted, result, store, book, done)
            meter.step(result.size if isinstance(result, Received) else 0)
            is_unreached = isinstance(result, TroubleError) and not result.reached
            unreached = unreached + 1 if is_unreached else 0
            if unreached == UNREACHED:
                done.untried = len(seen.wanted) - number
                break
    return done


def _take(
    wanted: Wanted, result: Received | FetchError, store: Store, book: Book, done: Gathered
) -> None:
    """Put one file into its place, or note why there is none."""
    path = wanted.entry.path
    if isinstance(result, Received):
        record = _record(result)
        # In this order: a process killed in between leaves a note on a file that is asked for
        # again, never a file of unknown origin.
        book.add(path, record)
        try:
            store.place(store.part(wanted), path)
        except FetchError as error:
            done.refused[path] = str(error)
            return
        done.records[path] = record
        done.fetched += 1
        if not is_named_so(path, result.kind):
            done.misnamed.append(path)
        return
    if isinstance(result, GoneError):
        book.miss(path, Absence(url=wanted.url, date=now(), reason=result.problem))
    done.refused[path] = f"{result.problem} ({wanted.url}); {result.remedy}"


def _record(received: Received) -> Record:
    wanted = received.wanted
    return Record(
        url=wanted.url,
        came_from=received.came_from if received.came_from != wanted.url else None,
        sha256=received.sha256,
        size=received.size,
        format=received.kind,
        date=now(),
        checked="manifest" if wanted.entry.sha256 is not None else "first use",
        tool=TOOL,
    )
