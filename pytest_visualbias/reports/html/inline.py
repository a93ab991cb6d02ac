"""Draw the figures of a report into the page, as SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from pytest_visualbias.reports.html.count_tables import count_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.reports.html.curves import Table
    from pytest_visualbias.results import ResultRecord

UNITS: tuple[Unit, ...] = ("effects", "similarities", "gaps")
SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"

# The colours of `figures.style` as variables of page.css, which a dark page changes.
VARIABLES: Mapping[str, str] = {
    "#b03a00": "var(--fail)",
    "#7d5600": "var(--warn)",
    "#8a3a6a": "var(--wave)",
    "#00694c": "var(--pass)",
    "#1b1f24": "var(--text)",
    "#000000": "var(--text)",
    "#59616b": "var(--soft)",
    "#d9dde3": "var(--line)",
    "#ffffff": "var(--bg)",
}
COLOUR = re.compile("|".join(VARIABLES))
REFERENCE = re.compile(r"#(\w+)")
SIZE = re.compile(r"([\d.]+)px")

# A tenth of a point is invisible, and more digits make pages large.
DIGITS = re.compile(r"(\.\d)\d+|(?<= ) +")

# Set by the style sheet, or without effect on the figures.
UNUSED = {"font-family", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit"}

MARKED = re.compile(r"axes|limit|point-\w+")
PLACED = {"d", "x", "y", "width", "height", "transform"}


@dataclass(frozen=True, kw_only=True, slots=True)
class InlineFigure:
    """A figure of the page with its title and, of counts, its numbers."""

    title: tuple[str, ...]
    svg: Markup
    table: Table | None = None


def inline_figures(records: Sequence[ResultRecord]) -> dict[str, list[InlineFigure]]:
    """Return the figures of layers, of counts, and of effects after against before."""
    import matplotlib.style

    from pytest_visualbias.reports.figures.counting import count_curve_figures
    from pytest_visualbias.reports.figures.layers import layer_figures
    from pytest_visualbias.reports.figures.relations import transfer_figures
    from pytest_visualbias.reports.figures.style import RC

    with (
        matplotlib.style.context(["default", {**RC, "svg.fonttype": "none"}]),
        warnings.catch_warnings(),
    ):
        # Only the width of a missing character is guessed; the browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figures = {
            "layers": [item for unit in UNITS for item in layer_figures(records, unit)],
            "counts": list(count_curve_figures(records)),
            "transfers": [item for unit in UNITS for item in transfer_figures(records, unit)],
        }
        tables = count_tables(records)
        return {
            name: [
                _inline(*item, f"{name}{place}", tables if name == "counts" else {})
                for place, item in enumerate(items)
            ]
            for name, items in figures.items()
        }


def _inline(
    spec: str, layer: str, figure: Figure, name: str, tables: Mapping[tuple[str, str], Table]
) -> InlineFigure:
    heading = figure.get_suptitle().partition("\n")[0]
    figure.suptitle("")
    title = tuple(filter(None, (heading, spec, layer)))
    return InlineFigure(
        title=title, svg=_svg(figure, name, heading), table=tables.get((spec, layer))
    )


def _svg(figure: Figure, name: str, heading: str) -> Markup:
    """Return a figure as an SVG element without styles and with ids of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(file.getvalue())  # noqa: S314 - matplotlib wrote it
    for unused in [*root.findall(f"{SVG}metadata"), *root.findall(f"{SVG}defs")]:
        if unused.find(f"{SVG}style") is not None or unused.tag.endswith("metadata"):
            root.remove(unused)
    targets = {
        target
        for element in root.iter()
        for key in (LINK, "clip-path")
        for target in REFERENCE.findall(element.get(key, ""))
    }
    for element in root.iter():
        _adapt(element, name, targets)
    root.attrib = {
        "class": "chart drawn",
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-labelledby": f"{name}-title",
    }
    title = ET.Element("title", {"id": f"{name}-title"})
    title.text = heading
    root.insert(0, title)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - texts are escaped


def _adapt(element: ET.Element, name: str, targets: set[str]) -> None:
    """Make an element fit for the page, whose ids are unique and whose policy forbids styles."""
    element.tag, element.tail = element.tag.removeprefix(SVG), None
    if element.tag != "text":
        element.text = None
    _unstyle(element)
    if (link := element.attrib.pop(LINK, None)) is not None:
        element.set("href", f"#{name}-{link[1:]}")
    if "clip-path" in element.attrib:
        element.set("clip-path", REFERENCE.sub(rf"#{name}-\1", element.attrib["clip-path"]))
    identity = element.attrib.pop("id", "")
    if identity in targets:
        element.set("id", f"{name}-{identity}")
    elif match := MARKED.match(identity):
        element.set("class", " ".join(match[0].split("-")))


def _unstyle(element: ET.Element) -> None:
    """Turn an element's style into attributes, with the colours of the page."""
    for declaration in filter(None, map(str.strip, element.attrib.pop("style", "").split(";"))):
        key, _, value = declaration.partition(": ")
        if key == "font":
            key, value = "font-size", "".join(SIZE.findall(value)[:1])
        if key not in UNUSED:
            element.set(key, COLOUR.sub(lambda match: VARIABLES[match[0]], value))
    for key in PLACED & element.attrib.keys():
        element.set(key, DIGITS.sub(r"\1", element.attrib[key]))
