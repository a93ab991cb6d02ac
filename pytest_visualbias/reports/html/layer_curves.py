"""Chart effects over the layers of a network, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.formatting import AXES, limits_of, unit_of
from pytest_visualbias.reports.html.curves import Chart, Line, Point, horizontal, segments, vertical
from pytest_visualbias.reports.html.scales import Scale, Tick, scale_around
from pytest_visualbias.reports.html.wording import optional_effect
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_visualbias.results import ResultRecord

# Longest layer name below an axis.
LONGEST = 9

# Most layer names that fit below an axis.
MOST_NAMES = 6
BAD = ("fail", "invalid")
Values = dict[str, float]


def layer_curves(records: Sequence[ResultRecord], hues: Mapping[str, int]) -> list[Chart]:
    """Return a chart for each test with several layers, failing tests first."""
    groups: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        groups.setdefault((record.spec, record.test), []).append(record)
    charts = [
        _chart(spec, test, group, hues)
        for (spec, test), group in groups.items()
        if len({record.layer for record in group if record.effect_judged is not None}) > 1
    ]
    return sorted(charts, key=lambda chart: not chart.is_amiss)


def _chart(spec: str, test: str, group: Sequence[ResultRecord], hues: Mapping[str, int]) -> Chart:
    layers = list(dict.fromkeys(record.layer for record in group))
    series = list(_series(group))
    limits = _limits(group)
    values = [value for _, by_layer, _ in series for value in by_layer.values()]
    y = vertical(
        scale_around([*values, *limits], minimum=max(0.1, min(1.0, max(map(abs, values)))))
    )
    x = horizontal(Scale(low=-0.25, high=len(layers) - 0.75))
    effects = (
        f"{name}: {', '.join(optional_effect(by_layer.get(layer)) for layer in layers)}"
        for name, by_layer, _ in series
    )
    return Chart(
        title=(spec, test),
        about=f"Effect at {', '.join(layers)}. {'; '.join(effects)}.",
        x_name="layer",
        y_name=AXES[unit_of(group[0])],
        x_ticks=tuple(_names(layers, x)),
        y_ticks=tuple(y.ticks()),
        lines=tuple(
            _line(name, by_layer, layers, (x, y), hue=hues.get(name, 0), is_dashed=is_dashed)
            for name, by_layer, is_dashed in series
        ),
        zero=y.at(0.0),
        limits=tuple(y.at(limit) for limit in limits if y.low <= limit <= y.high),
        is_amiss=any(record.outcome in BAD for record in group),
    )


def _series(group: Sequence[ResultRecord]) -> Iterator[tuple[str, Values, bool]]:
    """Yield each model, its effects by layer, and whether it is a reference."""
    models: dict[str, Values] = {}
    roles: dict[str, str] = {}
    recorded: dict[str, Values] = {}
    for record in group:
        if record.effect_judged is not None:
            models.setdefault(record.model, {})[record.layer] = record.effect_judged
            roles[record.model] = record.role
        if record.growth is not None:
            recorded.setdefault(record.growth.base, {})[record.layer] = record.growth.before
    for name, values in recorded.items():
        if name not in models:
            yield name, values, True
    for name, values in models.items():
        yield name, values, roles[name] != "gated"


def _limits(group: Sequence[ResultRecord]) -> list[float]:
    """Return the distinct limits on the effect."""
    return list(dict.fromkeys(limit for record in group for limit in limits_of(record)))


def _names(layers: Sequence[str], x: Scale) -> Iterator[Tick]:
    step = -(-len(layers) // MOST_NAMES)
    for place, layer in enumerate(layers):
        if place % step == 0:
            text = layer if len(layer) <= LONGEST else f"…{layer[1 - LONGEST :]}"
            yield Tick(at=x.at(place), text=text)


def _line(
    name: str,
    values: Values,
    layers: Sequence[str],
    axes: tuple[Scale, Scale],
    *,
    hue: int,
    is_dashed: bool,
) -> Line:
    x, y = axes
    places = [
        (x.at(place), y.at(values[layer])) if layer in values else None
        for place, layer in enumerate(layers)
    ]
    points = tuple(
        Point(x=place[0], y=place[1], text=f"{name}, {layer}: {format_effect(values[layer])}")
        for layer, place in zip(layers, places, strict=True)
        if place is not None
    )
    return Line(name=name, hue=hue, is_dashed=is_dashed, paths=segments(places), points=points)
