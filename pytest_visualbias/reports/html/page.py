"""Assemble the HTML page."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_visualbias.errors import printable
from pytest_visualbias.reports.html.glossary import GLOSSARY
from pytest_visualbias.reports.html.headline import headline_of
from pytest_visualbias.reports.html.inline import inline_figures
from pytest_visualbias.reports.html.provenance import provenance_of
from pytest_visualbias.reports.html.rows import choices_of, columns_of, rows_of
from pytest_visualbias.reports.html.strips import forest_panels, growth_panels
from pytest_visualbias.reports.html.thumbnails import Thumbnails, make_thumbnails
from pytest_visualbias.reports.html.wording import OUTCOMES
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Template

    from pytest_visualbias.reports.html.rows import Row
    from pytest_visualbias.results import Report

HERE = "pytest_visualbias.reports.html"


def render(report: Report, *, thumbnails: bool = True, root: Path | None = None) -> str:
    """Return a report as one self-contained HTML page."""
    choices = choices_of(report.results)
    rows = rows_of(report.results, choices)
    pictures = _pictures(rows, root or Path.cwd()) if thumbnails else Thumbnails(pictures={})
    classes = {identity: f"i{place}" for place, identity in enumerate(pictures.pictures)}
    columns = columns_of(report.results)
    style, script = _asset("page.css"), _asset("page.js")
    images = "".join(
        f".{classes[identity]}{{background-image:url({address})}}"
        for identity, address in pictures.pictures.items()
    )
    return _template().render(
        report=report,
        headline=headline_of(report, rows),
        rows=rows,
        columns=columns,
        has_specs="spec" in columns,
        choices=choices,
        forests=forest_panels(report.results),
        dumbbells=growth_panels(report.results),
        **inline_figures(report.results),
        provenance=provenance_of(report),
        warnings=_warnings(report),
        outcomes=OUTCOMES,
        glossary=GLOSSARY,
        thumbnails=pictures,
        classes=classes,
        styles=[Markup(css) for css in (style, images) if css],  # noqa: S704 - ours alone
        script=Markup(script),  # noqa: S704 - ours alone
        policy=_policy([style, images], script),
    )


def _pictures(rows: Sequence[Row], root: Path) -> Thumbnails:
    """Return the thumbnails of the page, those of failing tests first."""
    return make_thumbnails([influence for row in rows for influence in row.influences], root)


def _warnings(report: Report) -> list[tuple[str, int]]:
    """Return each warning with its number of results."""
    counts: dict[str, int] = {}
    for result in report.results:
        for text in result.warnings:
            counts[text] = counts.get(text, 0) + 1
    return list(counts.items())


def _policy(styles: Sequence[str], script: str) -> str:
    """Return the content security policy: own styles and script, nothing loaded."""
    allowed = " ".join(_digest(style) for style in styles if style)
    return (
        f"default-src 'none'; style-src {allowed}; script-src {_digest(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _asset(name: str) -> str:
    return (files(HERE) / name).read_text(encoding="utf-8").strip()


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader(HERE, package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {"name": _name, "number": format_effect, "lines": _lines}
    return environment.get_template("page.html.j2")


def _shown(value: object) -> object:
    """Return a value as text with control characters escaped."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _name(text: str) -> Markup:
    """Return a name isolated from the text direction around it."""
    return Markup("<bdi>{}</bdi>").format(printable(text))


def _lines(text: str) -> Markup:
    """Return a text of several lines, each escaped like a name."""
    return Markup("\n").join(_name(line) for line in text.splitlines())
