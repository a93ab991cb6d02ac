"""Style figures: colours, fonts, titles, legends and escaped names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.formatting import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ResultRecord

# Colours mean outcomes; models differ by marker and dashes. The same colours as in page.css.
OUTCOMES = {
    "fail": "#b03a00",
    "invalid": "#b03a00",
    "error": "#b03a00",
    "inconclusive": "#7d5600",
    "accepted": "#8a3a6a",
    "pass": "#00694c",
}
INK, GRID = "#1b1f24", "#d9dde3"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
GREY, LIMIT = "#59616b", "#b03a00"

# Opacity of a shaded limit.
SHADE = 0.15

# Width of a page in inches without margins.
WIDTH = 7.2

# Height of a legend line and width of a letter of it, in inches.
LINE, LETTER = 0.17, 0.06
LONGEST = 34

# Axis title and minimum extent of each unit.
UNITS: dict[Unit, tuple[str, float]] = {
    "effects": ("effect d (standard deviations)", 0.6),
    "similarities": ("mean cosine", 0.2),
    "gaps": ("difference of rates", 0.1),
}
RC = {
    # A name with two dollar signs is not a formula.
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "lines.linewidth": 1.2,
    # Without a salt, ids inside an SVG are random and files would differ between runs.
    "svg.hashsalt": "visualbias",
    "svg.fonttype": "path",
}


def clip(text: str, longest: int = LONGEST) -> str:
    """Return a name on one line, cut in its middle if long."""
    clean = visible(text.strip())
    if len(clean) > longest:
        half = (longest - 1) // 2
        clean = f"{clean[:half]}…{clean[half + 1 - longest :]}"
    return f" {clean}" if clean.startswith("_") else clean


def title(figure: Figure, text: str, *places: str) -> None:
    """Set a figure's title and, below it, its spec and layer."""
    subtitle = " · ".join(clip(place, 48) for place in places if place)
    figure.suptitle(f"{text}\n{subtitle}" if subtitle else text)


def legend(figure: Figure, marks: Sequence[Artist], columns: int = 4) -> None:
    """Add a legend below all panels and enlarge the figure by its height."""
    longest = max(len(str(mark.get_label())) for mark in marks)
    columns = max(1, min(columns, len(marks), int(WIDTH / (0.4 + LETTER * longest))))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LINE * -(-len(marks) // columns))
    figure.legend(handles=list(marks), loc="outside lower center", ncols=columns, frameon=False)


def describe(figure: Figure, lines: Iterable[str]) -> None:
    """Give a figure the numbers that it draws as text, for screen readers."""
    figure.set_label(visible("; ".join(lines)))


def draw_points(
    axes: Axes, points: Iterable[tuple[float, float, str]], marker: str, *, size: float = 3.5
) -> None:
    """Draw points (x, y and outcome) in the colours of their outcomes."""
    places: dict[str, list[tuple[float, float]]] = {}
    for x, y, outcome in points:
        places.setdefault(outcome, []).append((x, y))
    for outcome, pairs in places.items():
        axes.plot(
            *zip(*pairs, strict=True),
            marker=marker,
            color=outcome_colour(outcome),
            ms=size,
            ls="",
            clip_on=False,
            gid=f"point-{outcome}",
        )


def panels_of(
    count: int, columns: int, *, height: float, width: float = WIDTH, share_y: bool = True
) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels, `height` inches each, filled row by row."""
    columns = min(count, columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(width, rows * height + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=share_y)
    panels = list(axes.flat)
    for index, unused in enumerate(panels[count:], count):
        unused.remove()
        # The panel above is now the lowest of its column, so it needs tick labels.
        panels[index - columns].tick_params(labelbottom=True)
    return figure, panels[:count]


def _look(index: int) -> dict[str, Any]:
    """Return marker and dashes of a model, distinct for up to 28 models."""
    return {
        "color": INK,
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def outcome_colour(outcome: str) -> str:
    """Return the colour of an outcome; what is only reported is grey."""
    return OUTCOMES.get(outcome, GREY)


def outcome_marks(records: Iterable[ResultRecord]) -> list[Line2D]:
    """Return a legend entry for each outcome among the results."""
    return [
        Line2D([], [], color=outcome_colour(outcome), marker="o", ms=4, ls="", label=outcome)
        for outcome in dict.fromkeys(map(label, records))
    ]


def limit_mark() -> Patch:
    """Return the legend entry of a shaded limit."""
    return Patch(color=LIMIT, alpha=SHADE, lw=0, label="over a limit, or control not reached")


def model_looks(records: Iterable[ResultRecord]) -> dict[str, dict[str, Any]]:
    """Return the style of each model; untrained networks are grey and dashed."""
    roles = {record.model: record.role for record in records}
    trained = [model for model, role in roles.items() if role != "random"]
    looks = {model: _look(index) for index, model in enumerate(trained)}
    untrained = (model for model, role in roles.items() if role == "random")
    for index, model in enumerate(untrained):
        marker = MARKERS[index % len(MARKERS)]
        looks[model] = {"color": GREY, "marker": marker, "linestyle": "--"}
    return {model: looks[model] for model in roles}


# Larger numbers, which only an edited file holds, have no place on an axis.
LARGEST = 1e6


def axis_limit(values: Iterable[float], unit: Unit = "effects") -> float:
    """Return half the width of a symmetric axis that fits all values."""
    return 1.08 * min(LARGEST, max([UNITS[unit][1], *map(abs, values)]))
