"""Draw the figures of a report into the page, as SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from pytest_visualbias.reports.formatting import format_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from pytest_visualbias.reports.formatting import Unit
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

# A hundredth of a point is invisible, and more digits make pages large.
DIGITS = re.compile(r"(\.\d\d)\d+")

PLACED = {"d", "x", "y", "width", "height", "transform"}


@dataclass(frozen=True, kw_only=True, slots=True)
class InlineFigure:
    """A figure of the page with its title."""

    title: tuple[str, ...]
    svg: Markup


def inline_figures(
    records: Sequence[ResultRecord],
) -> tuple[list[InlineFigure], list[InlineFigure]]:
    """Return the figures over layers, and those of effects after against before."""
    import matplotlib.style

    from pytest_visualbias.reports.figures.layers import layer_figures
    from pytest_visualbias.reports.figures.relations import transfer_figures
    from pytest_visualbias.reports.figures.style import RC

    with (
        matplotlib.style.context(["default", {**RC, "svg.fonttype": "none"}]),
        warnings.catch_warnings(),
    ):
        # Only the width of a missing character is guessed; the browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        layers = [item for unit in UNITS for item in layer_figures(records, unit)]
        transfers = [item for unit in UNITS for item in transfer_figures(records, unit)]
        return list(_inline(layers, "layers")), list(_inline(transfers, "transfer"))


def _inline(figures: Iterable[tuple[str, str, Figure]], name: str) -> Iterator[InlineFigure]:
    for number, (spec, layer, figure) in enumerate(figures):
        heading = figure.get_suptitle().partition("\n")[0]
        figure.suptitle("")
        yield InlineFigure(
            title=tuple(filter(None, (heading, spec, layer))),
            svg=_svg(figure, f"{name}{number}", heading),
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
    panels = [element for element in root.iter("g") if element.get("class") == "panel"]
    root.attrib = {
        "class": "chart drawn",
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-labelledby": f"{name}-title",
    }
    title = ET.Element("title", {"id": f"{name}-title"})
    title.text = f"{heading}: {format_count(len(panels), 'panel')}"
    root.insert(0, title)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - texts are escaped


def _adapt(element: ET.Element, name: str, targets: set[str]) -> None:
    """Turn an element's style into attributes and its id into a class, if nothing refers to it."""
    element.tag, element.tail = element.tag.removeprefix(SVG), None
    if element.tag != "text":
        element.text = None
    for declaration in filter(None, map(str.strip, element.attrib.pop("style", "").split(";"))):
        key, _, value = declaration.partition(": ")
        if key == "font":
            key, value = "font-size", "".join(SIZE.findall(value)[:1])
        element.set(key, COLOUR.sub(lambda match: VARIABLES[match[0]], value))
    for key in PLACED & element.attrib.keys():
        element.set(key, DIGITS.sub(r"\1", element.attrib[key]))
    if (link := element.attrib.pop(LINK, None)) is not None:
        element.set("href", f"#{name}-{link[1:]}")
    if "clip-path" in element.attrib:
        element.set("clip-path", REFERENCE.sub(rf"#{name}-\1", element.attrib["clip-path"]))
    identity = element.attrib.pop("id", "")
    if identity in targets:
        element.set("id", f"{name}-{identity}")
    elif identity.startswith("axes_"):
        element.set("class", "panel")
    elif identity == "limit":
        element.set("class", "over")
    elif identity.startswith("point-"):
        element.set("class", f"point {identity.removeprefix('point-')}")
