"""Plot numbers of biases over thresholds, layers and models."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pytest_visualbias.reports.bias_counts import bias_counts
from pytest_visualbias.reports.figures.gathering import group_by_layer
from pytest_visualbias.reports.figures.style import (
    GREY,
    GRID,
    WIDTH,
    clip,
    legend,
    model_looks,
    panels_of,
    title,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes

    from pytest_visualbias.reports.bias_counts import BiasCounts, PName
    from pytest_visualbias.results import ResultRecord

# With fewer tests the forest plot shows more than their number of biases.
FEWEST = 5
P: PName = "p_verdict"
LEAST, MOST = 1e-4, 0.1
TICKS = {0.0001: "10⁻⁴", 0.001: "10⁻³", 0.01: "10⁻²", 0.1: "10⁻¹"}
THRESHOLD = 0.05
COLUMNS = 3
COUNTED = (
    ("raw", "tests with p below t"),
    ("positive", "of these, with an effect above zero"),
    ("negative", "of these, with one below zero"),
    ("holm", "after Holm's correction"),
    ("beyond_random", "beyond the untrained network"),
)
DIRECTIONS = ("positive", "negative")
# Steps between two markers of a curve.
EVERY = 40
MARK = "!"


def thresholds() -> list[float]:
    """Return the thresholds of a curve, dense enough for steps to look vertical."""
    return [float(t) for t in np.geomspace(LEAST, MOST, 241)]


def count_curve_figures(records: Sequence[ResultRecord]) -> Iterator[tuple[str, str, Figure]]:
    """Yield curves of the number of biases over thresholds: spec, layer and figure."""
    for spec, layer, members in group_by_layer(records):
        cells = [
            count for count in bias_counts(members, thresholds(), p=P) if count.tests >= FEWEST
        ]
        if cells:
            # One-sided tests cannot count in the other direction.
            has_both = any(record.alternative == "two-sided" for record in members)
            names = [panel for panel in COUNTED if has_both or panel[0] not in DIRECTIONS]
            yield spec, layer, _curves(spec, layer, cells, names, model_looks(members))


def _curves(
    spec: str,
    layer: str,
    cells: Sequence[BiasCounts],
    counted: Iterable[tuple[str, str]],
    looks: Mapping[str, Mapping[str, Any]],
) -> Figure:
    names = [(name, caption) for name, caption in counted if _has(cells, name)]
    columns = 2 if len(names) == 4 else COLUMNS  # noqa: PLR2004 - no panel alone in a row
    figure, panels = panels_of(len(names), columns, height=2.2)
    total = max(cell.tests for cell in cells)
    panels[0].set_xscale("log")
    panels[0].set_xlim(LEAST, MOST)
    panels[0].set_xticks(list(TICKS), list(TICKS.values()))
    panels[0].minorticks_off()
    for axes, (name, caption) in zip(panels, names, strict=True):
        axes.set_title(caption)
        axes.set_autoscalex_on(False)
        axes.set_xlabel("threshold t of p")
        axes.grid(color=GRID, lw=0.5)
        if name == "raw":
            axes.plot(thresholds(), [t * total for t in thresholds()], color=GREY, lw=1, ls=":")
        for cell in cells:
            ys = [getattr(count, name) for count in cell.counts]
            if None not in ys:
                look = _stroke(looks[cell.model])
                axes.step(thresholds(), ys, where="post", gid=f"{name}-{cell.model}", **look)
    panels[0].set_ylabel(f"number of biases (of {total} tests)")
    panels[0].set_ylim(bottom=0)
    panels[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    title(figure, "Number of biases over the threshold of p", spec, layer)
    marks = [Line2D([], [], label=_name(cell), **_stroke(looks[cell.model])) for cell in cells]
    marks.append(Line2D([], [], color=GREY, ls=":", label="expected by chance, at most"))
    legend(figure, marks)
    return figure


def _stroke(look: Mapping[str, Any]) -> dict[str, Any]:
    return {**look, "ms": 3.5, "markevery": EVERY}


def _has(cells: Iterable[BiasCounts], name: str) -> bool:
    return any(getattr(count, name) is not None for cell in cells for count in cell.counts)


def _name(cell: BiasCounts) -> str:
    untrained = " (untrained)" if cell.role == "random" else ""
    lost = f" {MARK} control failed" if cell.control == "failed" else ""
    return f"{clip(cell.model, 28)}{untrained}{lost}"


def count_map_figures(records: Sequence[ResultRecord]) -> Iterator[tuple[str, str, Figure]]:
    """Yield maps of bias counts over models and layers: spec, no layer, and figure."""
    specs: dict[str, list[BiasCounts]] = defaultdict(list)
    for cell in bias_counts(records, [THRESHOLD], p=P):
        if cell.tests >= FEWEST:
            specs[cell.spec].append(cell)
    for spec, cells in specs.items():
        yield spec, "", _maps(spec, cells)


def _maps(spec: str, cells: Sequence[BiasCounts]) -> Figure:
    models = list(dict.fromkeys(cell.model for cell in cells))
    layers = list(dict.fromkeys(cell.layer for cell in cells))
    figure = Figure(figsize=(WIDTH, 0.22 * len(models) + 1.7), layout="constrained")
    panels = figure.subplots(1, 2, squeeze=False, sharey=True)[0]
    total = max(cell.tests for cell in cells)
    below = f"p < {THRESHOLD:g}"
    for axes, name, caption in (
        (panels[0], "raw", f"number of tests with {below} (of {total})"),
        (panels[1], "strength", f"strength: sum of |d| of those with {below}"),
    ):
        values = np.full((len(models), len(layers)), np.nan)
        for cell in cells:
            values[models.index(cell.model), layers.index(cell.layer)] = getattr(
                cell.counts[0], name
            )
        image = axes.imshow(values, cmap="cividis", vmin=0, aspect="auto")
        image.set_clim(0, max(1.0, float(np.nanmax(values))))
        axes.set_title(caption)
        axes.set_xticks(
            range(len(layers)),
            [clip(layer, 16) for layer in layers],
            rotation=45,
            ha="right",
            rotation_mode="anchor",
        )
        axes.set_xlabel("layer")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for cell in cells:
            _write(axes, cell, name, models, layers, limit=image.get_clim()[1])
    panels[0].set_yticks(range(len(models)), [_title(cells, model) for model in models])
    title(figure, "Biases by model and layer", spec)
    if any(cell.control == "failed" for cell in cells):
        figure.supxlabel(
            f"{MARK} a positive control failed there: the number says nothing", fontsize=7
        )
    return figure


def _title(cells: Iterable[BiasCounts], model: str) -> str:
    role = next(cell.role for cell in cells if cell.model == model)
    return clip(model, 24) + (" (untrained)" if role == "random" else "")


def _write(
    axes: Axes,
    cell: BiasCounts,
    name: str,
    models: Sequence[str],
    layers: Sequence[str],
    *,
    limit: float,
) -> None:
    value = getattr(cell.counts[0], name)
    mark = MARK if cell.control == "failed" else ""
    axes.text(
        layers.index(cell.layer),
        models.index(cell.model),
        (f"{value}" if name == "raw" else f"{value:.1f}") + mark,
        color="white" if value < limit / 2 else "black",
        ha="center",
        va="center",
        fontsize=7,
    )
