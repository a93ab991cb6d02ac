"""What of a manifest is there already, what is to be asked for, and what nobody has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_visualbias import __version__
from pytest_visualbias.errors import FetchError
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli.fetching.addresses import mirrored
from pytest_visualbias.stimuli.fetching.content import image_format
from pytest_visualbias.stimuli.fetching.ledger import Record, now
from pytest_visualbias.stimuli.fetching.outcomes import RefusedError, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.stimuli.fetching.addresses import Mirror
    from pytest_visualbias.stimuli.fetching.store import Store
    from pytest_visualbias.stimuli.manifest import ManifestEntry

TOOL = f"pytest-visualbias {__version__}"


@dataclass(slots=True)
class Survey:
    """The files of a manifest, each in one of five places."""

    there: dict[str, Record] = field(default_factory=dict)
    found: dict[str, Record] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)
    absent: list[ManifestEntry] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def survey(
    entries: Sequence[ManifestEntry],
    store: Store,
    records: Mapping[str, Record],
    mirrors: Sequence[Mirror] = (),
) -> Survey:
    """Look at every file of a manifest, and change nothing."""
    found = Survey()
    for entry in entries:
        record = records.get(entry.path)
        try:
            path = store.path(entry.path)
            if path.exists():
                now_there = _record(entry, path, record)
                (found.there if record == now_there else found.found)[entry.path] = now_there
            elif entry.url is None:
                found.absent.append(entry)
            else:
                first = (record.sha256, record.date) if record is not None else None
                url = mirrored(entry.url, mirrors)
                found.wanted.append(Wanted(entry=entry, url=url, first=first))
        except FetchError as error:
            found.refused[entry.path] = str(error)
    return found


def _record(entry: ManifestEntry, path: Path, record: Record | None) -> Record:
    """Return the record of a file that is there, or raise why it is not taken."""
    try:
        digest, size = digest_of_file(path), path.stat().st_size
    except OSError as error:
        raise RefusedError(f"cannot be read ({error.strerror})", "permit it") from None
    if entry.sha256 not in (None, digest) or entry.size not in (None, size):
        raise RefusedError("is not what the manifest says", "remove it, and fetch it again")
    if record is not None and entry.sha256 is None and record.sha256 != digest:
        raise RefusedError(
            f"was changed since {record.date}",
            "remove it, and fetch it again, or remove its entry from FETCHED.json to keep it",
        )
    checked: Literal["manifest", "first use"] = (
        "manifest" if entry.sha256 is not None else "first use"
    )
    if record is not None and record.sha256 == digest:
        return record if record.checked == checked else _rechecked(record, checked)
    try:
        kind = image_format(path)
    except RefusedError as error:
        raise RefusedError(error.problem, "remove it, and fetch it again") from None
    return Record(
        url=None,
        sha256=digest,
        size=size,
        format=kind,
        date=now(),
        checked=checked,
        tool=TOOL,
    )


def _rechecked(record: Record, checked: Literal["manifest", "first use"]) -> Record:
    """Return a record by a manifest that has learned or forgotten a digest since."""
    return record.model_copy(update={"checked": checked})
