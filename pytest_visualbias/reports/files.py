"""Write reports to files."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import ReportError, StorageError
from pytest_visualbias.evaluation.baseline.files import SUFFIXES, is_report
from pytest_visualbias.evaluation.baseline.stored import write_whole
from pytest_visualbias.reports.escaping import csv_text
from pytest_visualbias.reports.markdown import markdown
from pytest_visualbias.reports.model_card import model_card
from pytest_visualbias.results import (
    AcceptRecord,
    GrowthRecord,
    PredictionRecord,
    ReadOutRecord,
    ResultRecord,
    to_json,
)
from pytest_visualbias.spec.test_kinds import Limits
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.remote.store import open_store
from pytest_visualbias.stimuli.resolve import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import BaseModel

    from pytest_visualbias.results import Report, ViolationRecord

# Specs, code, settings, weights and vectors: no report has such a name.
FOREIGN = frozenset(
    {".bin", ".cfg", ".ckpt", ".ini", ".npy", ".npz", ".onnx", ".pt", ".pth", ".py"}
    | {".safetensors", ".tar", ".toml", ".yaml", ".yml", ".zip"}
)


def objection(kind: str, path: Path | Url) -> str | None:
    """Return why a report must not go to a path, if it must not; nothing is written."""
    for place in dict.fromkeys([path, followed(path)]):
        if place.name.lower().endswith(SUFFIXES):
            return f"{place} has the name of a spec; name another file"
        suffix = place.suffix.lower()
        if suffix in FOREIGN or suffix in IMAGE_SUFFIXES:
            return f"{place} has the name of no report ({suffix}); name another file"
    if isinstance(path, Url):
        return None
    if kind == "json" and path.is_file() and path.stat().st_size and not is_report(path):
        return f"{path} is there and is no report of a run; move it away, or name another file"
    return None


def followed(path: Path | Url) -> Path | Url:
    """Return where a path leads; a link is written through, and a URL leads nowhere else."""
    # Unlike Path.resolve, this bears a link to itself.
    return path if isinstance(path, Url) else Path(os.path.realpath(path))


ROLES = ("X", "Y", "A", "B")

# Of the sets, what fits into a cell.
OF_SETS = ("concept", "n", "digest")
LISTS = ("tags", "reasons", "warnings")

# Single images and single checkpoints are in the JSON report.
WITHOUT = ("scores", "series", "basis")


def columns() -> list[str]:
    """Return the names of the columns, which are the same for every report of a release."""
    return [name for key in ResultRecord.model_fields for name in _names(key)]


def _names(key: str) -> Iterator[str]:
    parts = {
        "read_out": tuple(ReadOutRecord.model_fields),
        "concepts": ROLES,
        "limits": tuple(Limits.model_fields),
        "accept": tuple(AcceptRecord.model_fields),
        "sets": tuple(f"{role}.{name}" for role in ROLES for name in OF_SETS),
        "prediction": _aliases(PredictionRecord),
        **dict.fromkeys(("growth", "excess"), _aliases(GrowthRecord)),
    }
    if key in parts:
        yield from (f"{key}.{part}" for part in parts[key])
    elif key not in WITHOUT:
        yield key


def _aliases(record: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in record.model_fields.items())


def csv_rows(report: Report) -> str:
    """Return the results as RFC 4180 has it: CRLF, and quotes where they are needed."""
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


STANDARD_OUTPUT = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderOptions:
    """What can be chosen of a file."""

    thumbnails: bool = True
    root: Path | None = None
    there: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One kind of file."""

    what: str
    text: Callable[[Report, RenderOptions], str]
    is_kept: bool = False
    is_stream: bool = True


def _json(report: Report, _look: RenderOptions) -> str:
    return to_json(report)


def _html(report: Report, look: RenderOptions) -> str:
    from pytest_visualbias.reports.html.page import render as page

    return page(report, thumbnails=look.thumbnails, root=look.root)


def _markdown(report: Report, _look: RenderOptions) -> str:
    return markdown(report)


def _csv(report: Report, _look: RenderOptions) -> str:
    return csv_rows(report)


def _model_card(report: Report, look: RenderOptions) -> str:
    return model_card(report, look.there)


# A format is a line here, and an option in `plugin` and in `cli_reports`. What is dear to import is
# imported in its function.
FORMATS: Mapping[str, Format] = {
    "json": Format(what="the JSON report", text=_json),
    "html": Format(what="a page of HTML that needs no network", text=_html),
    "md": Format(what="Markdown for a pull request", text=_markdown),
    "csv": Format(what="comma-separated values", text=_csv),
    "model_card": Format(
        what="a model card, or our section of it", text=_model_card, is_kept=True, is_stream=False
    ),
}


def render(name: str, report: Report, look: RenderOptions) -> str:
    """Return a report in a format."""
    return FORMATS[name].text(report, look)


def write(name: str, report: Report, path: Path | Url, look: RenderOptions | None = None) -> None:
    """Write a report as a file, making its folder, or to a URL; ``-`` is standard output."""
    look = look if look is not None else RenderOptions()
    if str(path) == STANDARD_OUTPUT:
        text = render(name, report, look)
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        return
    try:
        if isinstance(path, Url):
            _put(name, report, path, look)
            return
        if FORMATS[name].is_kept and path.is_file():
            look = replace(look, there=path.read_bytes().decode("utf-8"))
        write_whole(path, render(name, report, look))
    except StorageError as error:
        raise ReportError(f"the report {error}") from None
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from None
    except OSError as error:
        what = error.strerror or str(error)
        raise ReportError(
            f"the report {path} cannot be written ({what})", "choose another"
        ) from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is not UTF-8, so it stays as it is", "choose another") from None


def _put(name: str, report: Report, url: Url, look: RenderOptions) -> None:
    store = open_store(url)
    if FORMATS[name].is_kept:
        try:
            look = replace(look, there=store.read().decode("utf-8"))
        except StorageError as error:
            if not error.is_missing:
                raise
    store.write(render(name, report, look).encode("utf-8", "backslashreplace"))


def write_all(report: Report, targets: Mapping[str, Path | Url], look: RenderOptions) -> list[str]:
    """Write a report as several files; return a sentence for each that cannot be written."""
    problems = []
    for name, path in targets.items():
        try:
            write(name, report, path, look)
        except ReportError as error:
            problems.append(str(error))
    return problems
