"""Plot bias against accuracy, with the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pytest_visualbias.reports.bias_counts import bias_counts, has_failed_control
from pytest_visualbias.reports.figures.gathering import group_by_layer, is_effect
from pytest_visualbias.reports.figures.style import (
    GREY,
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
    from matplotlib.figure import Figure

    from pytest_visualbias.reports.document import Accuracy
    from pytest_visualbias.reports.figures.gathering import Study
    from pytest_visualbias.results import ResultRecord

THRESHOLD = 0.05
NUMBER = f"number of biases (p < {THRESHOLD:g})"
STRENGTH = f"strength (sum of |effect|, p < {THRESHOLD:g})"
FRONT = GREY


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPoint:
    """Accuracy of one model with its interval, and its bias."""

    model: str
    accuracy: float
    low: float | None
    high: float | None
    bias: float
    is_barred: bool


def pareto_front(points: Iterable[ModelPoint]) -> list[ModelPoint]:
    """Return the models that no other model beats in accuracy and bias, by accuracy."""
    eligible = [point for point in points if not point.is_barred]
    return sorted(
        (
            point
            for point in eligible
            if not any(
                (other.accuracy >= point.accuracy and other.bias <= point.bias)
                and (other.accuracy, other.bias) != (point.accuracy, point.bias)
                for other in eligible
            )
        ),
        key=lambda point: (point.accuracy, point.bias),
    )


def tradeoff_figures(
    study: Study, accuracies: Sequence[Accuracy]
) -> Iterator[tuple[str, str, Figure]]:
    """Yield plots of bias against accuracy, if two models have an accuracy."""
    for spec, layer, members in group_by_layer(study.records):
        biases = {"mean |effect| (standard deviations)": _sizes(members), **_counted(members)}
        known = {
            name: accuracy
            for name in dict.fromkeys(record.model for record in members)
            if (accuracy := _accuracy(study, accuracies, spec, name, layer)) is not None
        }
        if len(known) < 2:  # noqa: PLR2004 - with one model there is nothing to trade
            continue
        barred = {
            record.model
            for record in members
            if record.role == "random" or has_failed_control(record)
        }
        clouds = {
            caption: [
                ModelPoint(
                    model=name,
                    accuracy=accuracy[0],
                    low=accuracy[1],
                    high=accuracy[2],
                    bias=values[name],
                    is_barred=name in barred,
                )
                for name, accuracy in known.items()
                if name in values
            ]
            for caption, values in biases.items()
        }
        yield spec, layer, _figure(spec, layer, clouds, model_looks(members))


def _sizes(records: Iterable[ResultRecord]) -> dict[str, float]:
    """Return each model's mean absolute effect over valid tests without controls."""
    sizes: dict[str, list[float]] = {}
    for record in records:
        if is_effect(record) and record.control is None and record.outcome != "invalid":
            sizes.setdefault(record.model, []).append(abs(record.effect_judged or 0.0))
    return {model: sum(values) / len(values) for model, values in sizes.items()}


def _counted(records: Iterable[ResultRecord]) -> dict[str, dict[str, float]]:
    """Return number and strength of each model's biases."""
    counts = {
        count.model: count.counts[0] for count in bias_counts(records, [THRESHOLD], p="p_verdict")
    }
    return {
        NUMBER: {model: float(count.raw) for model, count in counts.items()},
        STRENGTH: {model: count.strength for model, count in counts.items()},
    }


def _accuracy(
    study: Study, accuracies: Iterable[Accuracy], spec: str, model: str, layer: str
) -> tuple[float, float | None, float | None] | None:
    """Return a model's accuracy, averaged over trials, with its interval if single."""
    name, prints = study.names[spec, model]
    matching = [
        accuracy
        for accuracy in accuracies
        if accuracy.spec in (None, spec)
        and accuracy.layer in (None, layer)
        and (
            accuracy.model in (name, model)
            if accuracy.fingerprint is None
            else accuracy.fingerprint in prints
        )
    ]
    if not matching:
        return None
    # The accuracy of this layer is preferred over that of the whole model.
    matching = [accuracy for accuracy in matching if accuracy.layer is not None] or matching
    mean = sum(accuracy.accuracy for accuracy in matching) / len(matching)
    alone = matching[0] if len(matching) == 1 else None
    if alone is None:
        return mean, None, None
    return mean, alone.ci_low, alone.ci_high


def _figure(
    spec: str,
    layer: str,
    clouds: Mapping[str, Sequence[ModelPoint]],
    looks: Mapping[str, Mapping[str, Any]],
) -> Figure:
    figure, panels = panels_of(len(clouds), 3, height=2.5, share_y=False)
    for axes, (caption, points) in zip(panels, clouds.items(), strict=True):
        best = pareto_front(points)
        axes.plot(
            [100 * point.accuracy for point in best],
            [point.bias for point in best],
            color=FRONT,
            lw=3,
            alpha=0.35,
            gid="front",
        )
        for point in points:
            _mark(axes, point, looks[point.model], is_best=point in best)
        axes.set_xlabel("accuracy (%)")
        axes.set_ylabel(caption)
        axes.set_ylim(bottom=0)
        axes.margins(x=0.08)
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=caption == NUMBER))
    title(figure, "Bias against accuracy", spec, layer)
    models = dict.fromkeys(point.model for points in clouds.values() for point in points)
    marks = [
        Line2D(
            [],
            [],
            ls="",
            ms=5,
            marker=looks[model]["marker"],
            color=looks[model]["color"],
            label=clip(model),
        )
        for model in models
    ]
    marks.append(Line2D([], [], color=FRONT, lw=3, alpha=0.35, label="Pareto front (filled)"))
    legend(figure, marks)
    return figure


def _mark(axes: Axes, point: ModelPoint, look: Mapping[str, Any], *, is_best: bool) -> None:
    colour = look["color"]
    x = 100 * point.accuracy
    if point.low is not None and point.high is not None:
        axes.hlines(point.bias, 100 * point.low, 100 * point.high, color=colour, lw=0.8, alpha=0.7)
    axes.plot(
        [x],
        [point.bias],
        marker=look["marker"],
        color=colour,
        mfc=colour if is_best else "white",
        ms=5,
        ls="",
        clip_on=False,  # no bias at all lies on the axis
        gid=f"model-{point.model}",
    )
