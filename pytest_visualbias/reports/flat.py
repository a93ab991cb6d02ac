"""The results as a table of comma-separated values, one row each."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from pytest_visualbias.record import (
    AcceptRecord,
    GrowthRecord,
    PredictionRecord,
    ReadOutRecord,
    ResultRecord,
    ZeroShotRecord,
)
from pytest_visualbias.reports.escaping import csv_text
from pytest_visualbias.spec.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from pytest_visualbias.record import Report, ViolationRecord

__all__ = ["columns", "flat"]

ROLES = ("X", "Y", "A", "B")
# Of the sets, what fits into a cell.
OF_SETS = ("concept", "n", "digest")
LISTS = ("tags", "reasons", "warnings")
# Single images and single checkpoints are in the JSON report.
WITHOUT = ("scores", "series", "basis")


def columns() -> list[str]:
    """Return the names of the columns, which are the same for every report of a release.

    They are the keys of ``results`` in the JSON report, in its order, with a dot where a value has
    parts; columns of a later release may stand between them, so they are to be found by name.
    """
    return [name for key in ResultRecord.model_fields for name in _names(key)]


def _names(key: str) -> Iterator[str]:
    parts = {
        "read_out": tuple(ReadOutRecord.model_fields),
        "concepts": ROLES,
        "limits": tuple(Limits.model_fields),
        "accept": tuple(AcceptRecord.model_fields),
        "sets": tuple(f"{role}.{name}" for role in ROLES for name in OF_SETS),
        "prediction": _aliases(PredictionRecord),
        "zero_shot": tuple(name for name in ZeroShotRecord.model_fields if name != "words"),
        **dict.fromkeys(("growth", "excess"), _aliases(GrowthRecord)),
    }
    if key in parts:
        yield from (f"{key}.{part}" for part in parts[key])
    elif key not in WITHOUT:
        yield key


def _aliases(record: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in record.model_fields.items())


def flat(report: Report) -> str:
    """Return the results as RFC 4180 has it: CRLF, and quotes where they are needed.

    Parameters
    ----------
    report : Report
        Its names may be any text; none of them is a formula of a spreadsheet afterwards.
    """
    stream = io.StringIO()
    names = columns()
    writer = csv.writer(stream)
    writer.writerow(names)
    for result in report.results:
        row = dict(_flattened(_parts(result), ""))
        writer.writerow(_cell(row.get(name)) for name in names)
    return stream.getvalue()


def _parts(result: ResultRecord) -> dict[str, Any]:
    """Return a record as plain data, with a text for what has no fixed number of parts."""
    plain = result.model_dump(mode="json", by_alias=True, exclude={*WITHOUT})
    for name in LISTS:
        plain[name] = "; ".join(plain[name])
    plain["violations"] = "; ".join(map(_violation, result.violations))
    if result.prediction is not None:
        plain["prediction"]["label"] = "; ".join(result.prediction.label)
    for name in ("labels", "trials"):
        plain[name] = json.dumps(plain[name], ensure_ascii=False) if plain[name] else None
    return plain


def _violation(violation: ViolationRecord) -> str:
    value = "not comparable" if violation.value is None else f"{violation.value:.6g}"
    return f"{violation.kind} {value} (limit {violation.limit:g})"


def _flattened(plain: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _cell(value: Any) -> str:  # noqa: ANN401 - one of JSON's own values
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
