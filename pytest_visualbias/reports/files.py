"""Which files a report can become, and writing them."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_visualbias.baseline.stored import write_whole
from pytest_visualbias.errors import ReportError, StorageError
from pytest_visualbias.record import to_json
from pytest_visualbias.remote.store import open_store
from pytest_visualbias.remote.urls import Url
from pytest_visualbias.reports.flat import flat
from pytest_visualbias.reports.markdown import markdown
from pytest_visualbias.reports.model_card import model_card

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_visualbias.record import Report

__all__ = ["FORMATS", "STANDARD_OUTPUT", "Format", "Look", "render", "write", "write_all"]

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What can be chosen of a file.

    Attributes
    ----------
    thumbnails : bool
        Whether pages show small versions of stimuli.
    root : Path or None
        What folders of stimuli are relative to; None is the working directory.
    there : str
        The text of the file that is to be replaced, for formats that keep what others wrote.
    """

    thumbnails: bool = True
    root: Path | None = None
    there: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One kind of file.

    Attributes
    ----------
    what : str
        What it is called.
    text : callable
        The report as this file, with a look.
    is_kept : bool
        Whether what is in the file already is read, and kept but for what is ours.
    is_stream : bool
        Whether it makes sense on standard output.
    """

    what: str
    text: Callable[[Report, Look], str]
    is_kept: bool = False
    is_stream: bool = True


def _json(report: Report, _look: Look) -> str:
    return to_json(report)


def _html(report: Report, look: Look) -> str:
    from pytest_visualbias.reports.html.page import render as page

    return page(report, thumbnails=look.thumbnails, root=look.root)


def _markdown(report: Report, _look: Look) -> str:
    return markdown(report)


def _csv(report: Report, _look: Look) -> str:
    return flat(report)


def _model_card(report: Report, look: Look) -> str:
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


def render(name: str, report: Report, look: Look) -> str:
    """Return a report in a format.

    Raises
    ------
    ReportError
        Where it cannot be had.
    """
    return FORMATS[name].text(report, look)


def write(name: str, report: Report, path: Path | Url, look: Look | None = None) -> None:
    """Write a report as a file, making its folder, or to a URL; ``-`` is standard output.

    Raises
    ------
    ReportError
        Where it cannot be written; what was there stays.
    """
    look = look if look is not None else Look()
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
        raise ReportError(f"the report {path} cannot be written ({what}); choose another") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is not UTF-8, so it stays as it is; choose another") from None


def _put(name: str, report: Report, url: Url, look: Look) -> None:
    store = open_store(url)
    if FORMATS[name].is_kept:
        try:
            look = replace(look, there=store.read().decode("utf-8"))
        except StorageError as error:
            if not error.is_missing:
                raise
    store.write(render(name, report, look).encode("utf-8", "backslashreplace"))


def write_all(report: Report, targets: Mapping[str, Path | Url], look: Look) -> list[str]:
    """Write a report as several files; return a sentence for each that cannot be written."""
    problems = []
    for name, path in targets.items():
        try:
            write(name, report, path, look)
        except ReportError as error:
            problems.append(str(error))
    return problems
