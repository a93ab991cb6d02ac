"""Read and write the record of downloaded stimuli, FETCHED.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from pytest_visualbias.errors import FetchError
from pytest_visualbias.spec.error_messages import describe_error
from pytest_visualbias.spec.fields import Strict

if TYPE_CHECKING:
    from pathlib import Path

LEDGER = "FETCHED.json"
WORK = ".fetching"  # hidden, so that it belongs to no set
REMEDY = "restore it, or move it away to trust the files as they are"
Checked = Literal["manifest", "first use"]


class Record(Strict):
    """One downloaded file."""

    url: str | None
    came_from: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: int
    format: str
    date: str
    checked: Checked
    tool: str


class Absence(Strict):
    """One file that its server does not have."""

    url: str
    date: str
    reason: str


class Ledger(Strict):
    """The record of a folder of downloaded stimuli."""

    version: Literal[1]
    suite: str
    title: str
    source: str
    licence: str
    citation: str
    manifest: str
    accepted: str
    tool: str
    files: dict[str, Record]
    gone: dict[str, Absence]
    due: list[str]


def read_ledger(folder: Path) -> Ledger | None:
    """Return the record of a folder; None without one."""
    path = folder / LEDGER
    try:
        return Ledger.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror})", REMEDY) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {describe_error(first)}" if place else describe_error(first)
        raise FetchError(f"{path}: is not a record of downloads ({reason})", REMEDY) from None


def write_ledger(folder: Path, ledger: Ledger) -> None:
    """Write the record of a folder atomically."""
    part = folder / WORK / f"{LEDGER}.part"
    try:
        part.write_text(ledger.model_dump_json(indent=1) + "\n", encoding="utf-8")
        part.replace(folder / LEDGER)
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(path: Path, error: OSError) -> FetchError:
    """Return the error about a folder that cannot be written."""
    return FetchError(
        f"{path}: cannot be written ({error.strerror})", "free space or change its permissions"
    )
