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
from pytest_visualbias.evaluation.baseline_file import SUFFIXES, is_report, write_whole
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
from pytest_visualbias.stimuli.remote import open_store
from pytest_visualbias.stimuli.resolve import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import BaseModel

    from pytest_visualbias.results import Report, ViolationRecord

# Suffixes of specs, code, settings, weights and vectors, which a report must not overwrite.
FOREIGN_SUFFIXES = frozenset(
    {".bin", ".cfg", ".ckpt", ".ini", ".npy", ".npz", ".onnx", ".pt", ".pth", ".py"}
    | {".safetensors", ".tar", ".toml", ".yaml", ".yml", ".zip"}
)


def find_path_problem(kind: str, path: Path | Url) -> str | None:
    """Return why a report must not be written to a path; None if it may be."""
    for place in dict.fromkeys([path, resolve_links(path)]):
        if place.name.lower().endswith(SUFFIXES):
            return f"{place} has the name of a spec; name another file"
        suffix = place.suffix.lower()
        if suffix in FOREIGN_SUFFIXES or suffix in IMAGE_SUFFIXES:
            return f"{place} has the name of no report ({suffix}); name another file"
    if isinstance(path, Url):
        return None
    if kind == "json" and path.is_file() and path.stat().st_size and not is_report(path):
        return f"{path} is there and is no report of a run; move it away, or name another file"
    return None


def resolve_links(path: Path | Url) -> Path | Url:
    """Return the path with symbolic links resolved; a URL stays as it is."""
    # Unlike Path.resolve, this accepts a link to itself.
    return path if isinstance(path, Url) else Path(os.path.realpath(path))


ROLES = ("X", "Y", "A", "B")

# Keys of a set that fit into a cell.
SET_COLUMNS = ("concept", "n", "digest")
LISTS = ("tags", "reasons", "warnings")

# Single images and single checkpoints are in the JSON report.
EXCLUDED = ("scores", "series", "basis", "fault")


def columns() -> list[str]:
    """Return the column names, the same for every report of a release."""
    return [name for key in ResultRecord.model_fields for name in _column_names(key)]


def _column_names(key: str) -> Iterator[str]:
    parts = {
        "read_out": tuple(ReadOutRecord.model_fields),
        "concepts": ROLES,
        "limits": tuple(Limits.model_fields),
        "accept": tuple(AcceptRecord.model_fields),
        "sets": tuple(f"{role}.{name}" for role in ROLES for name in SET_COLUMNS),
        "prediction": _aliases(PredictionRecord),
        **dict.fromkeys(("growth", "excess"), _aliases(GrowthRecord)),
    }
    if key in parts:
        yield from (f"{key}.{part}" for part in parts[key])
    elif key not in EXCLUDED:
        yield key


def _aliases(record: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in record.model_fields.items())


def csv_rows(report: Report) -> str:
    """Return the results as CSV (RFC 4180)."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns(), extrasaction="ignore")
    writer.writeheader()
    for result in report.results:
        row = _flatten(_plain_row(result), "")
        writer.writerow({name: _cell(value) for name, value in row})
    return stream.getvalue()


def _plain_row(result: ResultRecord) -> dict[str, Any]:
    """Return a record as plain data, with lists joined into text."""
    plain = result.model_dump(mode="json", by_alias=True, exclude={*EXCLUDED})
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


def _flatten(plain: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
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
    """Options for rendering a report."""

    thumbnails: bool = True
    root: Path | None = None
    existing: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A file format of reports."""

    title: str
    text: Callable[[Report, RenderOptions], str]
    is_kept: bool = False
    is_stream: bool = True


def _json(report: Report, _options: RenderOptions) -> str:
    return to_json(report)


def _html(report: Report, options: RenderOptions) -> str:
    from pytest_visualbias.reports.html.page import render as page

    return page(report, thumbnails=options.thumbnails, root=options.root)


def _markdown(report: Report, _options: RenderOptions) -> str:
    return markdown(report)


def _csv(report: Report, _options: RenderOptions) -> str:
    return csv_rows(report)


def _model_card(report: Report, options: RenderOptions) -> str:
    return model_card(report, options.existing)


# Each format is also an option in `plugin/__init__.py` and `cli/report.py`. Slow imports stay in
# the functions.
FORMATS: Mapping[str, Format] = {
    "json": Format(title="the JSON report", text=_json),
    "html": Format(title="a page of HTML that needs no network", text=_html),
    "md": Format(title="Markdown for a pull request", text=_markdown),
    "csv": Format(title="comma-separated values", text=_csv),
    "model_card": Format(
        title="a model card, or our section of it", text=_model_card, is_kept=True, is_stream=False
    ),
}


def render(name: str, report: Report, options: RenderOptions) -> str:
    """Return a report in a format."""
    return FORMATS[name].text(report, options)


def write(
    name: str, report: Report, path: Path | Url, options: RenderOptions | None = None
) -> None:
    """Write a report to a file, a URL, or standard output (``-``)."""
    options = options if options is not None else RenderOptions()
    if str(path) == STANDARD_OUTPUT:
        text = render(name, report, options)
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        return
    try:
        if isinstance(path, Url):
            _write_to_url(name, report, path, options)
            return
        if FORMATS[name].is_kept and path.is_file():
            options = replace(options, existing=path.read_bytes().decode("utf-8"))
        write_whole(path, render(name, report, options))
    except StorageError as error:
        raise ReportError(f"the report {error.problem}", error.remedy) from None
    except ReportError as error:
        raise ReportError(error.problem, error.remedy, place=str(path)) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReportError(
            f"the report {path} cannot be written ({reason})", "choose another"
        ) from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is not UTF-8, so it stays as it is", "choose another") from None


def _write_to_url(name: str, report: Report, url: Url, options: RenderOptions) -> None:
    store = open_store(url)
    if FORMATS[name].is_kept:
        try:
            options = replace(options, existing=store.read().decode("utf-8"))
        except StorageError as error:
            if not error.is_missing:
                raise
    store.write(render(name, report, options).encode("utf-8", "backslashreplace"))


def write_all(
    report: Report, targets: Mapping[str, Path | Url], options: RenderOptions
) -> list[str]:
    """Write a report to several files; return a message for each failure."""
    problems = []
    for name, path in targets.items():
        try:
            write(name, report, path, options)
        except ReportError as error:
            problems.append(str(error))
    return problems
