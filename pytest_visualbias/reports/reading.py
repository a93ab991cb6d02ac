"""The report of an earlier run, from its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pytest_visualbias.baseline.stored import load_strict
from pytest_visualbias.errors import ReportError, StorageError
from pytest_visualbias.record import READ_VERSIONS, Report
from pytest_visualbias.remote.store import open_store
from pytest_visualbias.remote.urls import Url
from pytest_visualbias.spec.faults import what_is_wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["read_report"]

KNOWN = " or ".join(map(str, READ_VERSIONS))
MARK = "schema_version"
BASELINE = "visualbias_baseline"
# What numbers of biases are counted by.
CORRECTED = ("p_value", "p_verdict")


def read_report(path: Path | Url) -> Report:
    """Read the JSON report of a run, in a file or at a URL.

    Keys that are not known are left out: a later release may add some to the same version.

    Raises
    ------
    ReportError
        For a file that cannot be read, or is no report of a version that is known.
    """
    try:
        stored = load_strict(_bytes(path).decode("utf-8"))
    except StorageError as error:
        raise ReportError(str(error)) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReportError(f"{path} cannot be read ({reason}); correct the path") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is not UTF-8; make the report anew") from None
    except ValueError as error:
        raise ReportError(f"{path} is not JSON ({error}); make the report anew") from None
    _refuse_others(stored, path)
    try:
        report = _lenient(stored)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {what_is_wrong(first)}"
    else:
        what = next(_contradictions(report), "")
    if what:
        raise ReportError(f"{path} is no whole report ({what}); make it anew")
    return report


def _bytes(path: Path | Url) -> bytes:
    return open_store(path).read() if isinstance(path, Url) else path.read_bytes()


def _contradictions(report: Report) -> Iterator[str]:
    """Yield what no run writes, and what reports could not be made from."""
    for index, row in enumerate(report.results):
        for role, one in row.sets.items():
            place = f"results.{index}.sets.{role}"
            if len(one.names) != len(one.images):
                yield f"{place}: {len(one.images)} images, but {len(one.names)} names"
            if (scores := row.scores.get(role)) and not scores.keys() >= {*one.images}:
                yield f"{place}: an image has no score"
        for name in CORRECTED:
            p = getattr(row, name)
            if p is not None and not 0 <= p <= 1:
                yield f"results.{index}.{name}: {p:g} is no p"


def _refuse_others(stored: Any, path: Path | Url) -> None:  # noqa: ANN401 - what a file holds
    """Raise for what is another kind of file, or of another version."""
    if isinstance(stored, dict) and BASELINE in stored:
        raise ReportError(
            f"{path} holds recorded results, not a report; name a file that "
            "`pytest --visualbias-json` wrote"
        )
    if not isinstance(stored, dict) or MARK not in stored:
        raise ReportError(f"{path} is no report; name a file that `pytest --visualbias-json` wrote")
    version = stored[MARK]
    if isinstance(version, int) and version > READ_VERSIONS[-1]:
        raise ReportError(
            f"{path} is a report of version {version}, and this release reads {KNOWN}; install "
            "a newer pytest-visualbias"
        )
    if type(version) is not int or version not in READ_VERSIONS:
        raise ReportError(f"{path}: '{MARK}' is {version!r}, not {KNOWN}; make the report anew")


def _lenient(stored: dict[str, Any]) -> Report:
    stored = {**stored, MARK: READ_VERSIONS[-1]}
    try:
        return Report.model_validate(stored)
    except ValidationError as error:
        found = error.errors()
    unknown = [one["loc"] for one in found if one["type"] == "extra_forbidden"]
    _drop(stored, unknown)
    return Report.model_validate(stored)


def _drop(stored: dict[str, Any], places: Iterable[tuple[int | str, ...]]) -> None:
    for *above, key in places:
        holder: Any = stored
        for part in above:
            holder = holder[part]
        holder.pop(key, None)
