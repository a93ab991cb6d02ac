"""Draw the figures of a report into the page, as SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from pytest_visualbias.reports.html.number_tables import count_tables, label_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from matplotlib.figure import Figure

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.reports.html.number_tables import Table
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
SIZE = re.compile(r"([\d.]+)px")
FONT_SIZE = "7"

# A tenth of a point is invisible; digits and spaces make pages large.
DIGITS = re.compile(r"(?<=\d)(?:\.0\d*|(\.[1-9])\d*)")
SPACES = re.compile(r" ?([A-Za-z]) ?")

# Set by the style sheet, or without effect on the figures.
UNUSED = {"font-family", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit"}
MARKED = re.compile(r"axes|limit|point-\w+")
PLACED = {"d", "x", "y", "transform"}

# A panel shares the ticks of its row and column.
RC: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "axes.titley": 1.0,
    "xtick.bottom": False,
    "ytick.left": False,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Margins:
    """Inches around panels and between them. A layout engine would take seconds for a page."""

    above: float = 0.25
    below: float = 0.42
    beside: float = 0.12
    between: float = 0.3


MARGINS = {
    "layers": Margins(below=0.1),
    "series": Margins(between=0.35),
    "counts": Margins(between=0.65),
    "transfers": Margins(above=0.4, between=0.8, beside=0.3),
    "labels": Margins(below=0.55, beside=0.6),
}
LEFT, RIGHT, LETTER = 0.55, 0.12, 0.06


@dataclass(frozen=True, kw_only=True, slots=True)
class InlineFigure:
    """A figure of the page with its title and, of counts and labels, its numbers."""

    title: tuple[str, ...]
    svg: Markup
    table: Table | None = None


def inline_figures(records: Sequence[ResultRecord]) -> dict[str, list[InlineFigure]]:
    """Return the figures of the page by section."""
    import matplotlib.style

    from pytest_visualbias.reports.figures import counting, layers, relations, series, style

    with (
        matplotlib.style.context(["default", {**style.RC, **RC}]),
        warnings.catch_warnings(),
    ):
        # Only the width of a missing character is guessed; the browser draws the text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figures = {
            "layers": [item for unit in UNITS for item in layers.layer_figures(records, unit)],
            "series": [
                item for unit in UNITS for item in series.training_run_figures(records, unit)
            ],
            "counts": list(counting.count_curve_figures(records)),
            "transfers": [
                item for unit in UNITS for item in relations.transfer_figures(records, unit)
            ],
            "labels": list(relations.label_figures(records)),
        }
        tables = {"counts": count_tables(records), "labels": label_tables(records)}
        return {
            name: [
                InlineFigure(
                    title=tuple(filter(None, (_heading(figure), spec, layer))),
                    svg=_svg(figure, name, f"{name}{number}"),
                    table=tables.get(name, {}).get((spec, layer)),
                )
                for number, (spec, layer, figure) in enumerate(items)
            ]
            for name, items in figures.items()
        }


def _heading(figure: Figure) -> str:
    return figure.get_suptitle().partition("\n")[0]


def _svg(figure: Figure, kind: str, name: str) -> Markup:
    """Return a figure as an SVG element without styles and with ids of its own."""
    heading = _heading(figure)
    figure.suptitle("")
    _arrange(figure, MARGINS[kind])
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(file.getvalue())  # noqa: S314 - matplotlib wrote it
    for unused in [*root.findall(f"{SVG}metadata"), *root.findall(f"{SVG}defs")]:
        root.remove(unused)  # styles and clip paths: all data are in range
    links = {link[1:] for element in root.iter() if (link := element.get(LINK))}
    ids = {link: f"{name}-{number}" for number, link in enumerate(sorted(links))}
    for element in root.iter():
        _adapt(element, ids)
    _flatten(root)
    texts = {"title": heading, "desc": str(figure.get_label())}
    root.attrib = {
        "class": "drawn",
        "viewBox": root.get("viewBox", ""),
        "font-size": FONT_SIZE,
        "role": "img",
        "aria-labelledby": " ".join(f"{name}-{tag}" for tag, text in texts.items() if text),
    }
    for place, (tag, text) in enumerate(texts.items()):
        if text:
            child = ET.Element(tag, {"id": f"{name}-{tag}"})
            child.text = text
            root.insert(place, child)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 - texts are escaped


def _arrange(figure: Figure, margins: Margins) -> None:
    """Place the panels by fixed margins, without backgrounds."""
    width, height = (float(side) for side in figure.get_size_inches())
    place = figure.axes[0].get_subplotspec()
    assert place is not None  # noqa: S101 - for the type checker
    grid = place.get_gridspec()
    rotated = [text for text in figure.axes[0].get_xticklabels() if text.get_rotation()]
    below = margins.below + sum(item.get_window_extent().height for item in figure.legends) / 72
    below += LETTER * max((len(text.get_text()) for text in rotated), default=0)
    across = (width - LEFT - RIGHT + margins.beside) / grid.ncols - margins.beside
    down = (height - margins.above - below + margins.between) / grid.nrows - margins.between
    figure.set_layout_engine(None)
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - RIGHT / width,
        top=1 - margins.above / height,
        bottom=below / height,
        wspace=margins.beside / across,
        hspace=margins.between / down,
    )
    for background in (figure.patch, *(axes.patch for axes in figure.axes)):
        background.set_visible(False)


def _adapt(element: ET.Element, ids: Mapping[str, str]) -> None:
    """Make an element fit for the page, whose ids are unique and whose policy forbids styles."""
    element.tag, element.tail = element.tag.removeprefix(SVG), None
    if element.tag != "text":
        element.text = None
    _unstyle(element)
    element.attrib.pop("clip-path", None)
    if (link := element.attrib.pop(LINK, None)) is not None:
        element.set("href", f"#{ids[link[1:]]}")
    identity = element.attrib.pop("id", "")
    if identity in ids:
        element.set("id", ids[identity])
    elif match := MARKED.match(identity):
        element.set("class", " ".join(match[0].split("-")))


def _unstyle(element: ET.Element) -> None:
    """Turn an element's style into attributes, with the colours of the page."""
    for declaration in filter(None, map(str.strip, element.attrib.pop("style", "").split(";"))):
        key, _, value = declaration.partition(": ")
        if key == "font":
            key, value = "font-size", "".join(SIZE.findall(value)[:1])
        if key not in UNUSED and (key, value.removesuffix("px")) != ("font-size", FONT_SIZE):
            element.set(key, COLOUR.sub(lambda match: VARIABLES[match[0]], value))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    for key in PLACED & element.attrib.keys():
        element.set(key, DIGITS.sub(r"\1", element.attrib[key]))
    if "d" in element.attrib:
        element.set("d", SPACES.sub(r"\1", " ".join(element.attrib["d"].split())))


def _flatten(element: ET.Element) -> None:
    """Remove groups without attributes, and give a group what all its marks share."""
    children: list[ET.Element] = []
    for child in element:
        _flatten(child)
        children += child if child.tag == "g" and not child.attrib else [child]
    element[:] = children
    marks = [child for child in children if child.tag == "use"]
    if (
        element.tag == "g"
        and len(marks) > 1
        and {child.tag for child in children} <= {"use", "defs"}
    ):
        for key in ("fill", "stroke", "stroke-width"):
            values = {mark.attrib.get(key) for mark in marks}
            if len(values) == 1 and None not in values:
                element.set(key, str(values.pop()))
                for mark in marks:
                    del mark.attrib[key]
