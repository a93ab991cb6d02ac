"""Chart how many tests have a p-value below each threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import bias_counts
from pytest_visualbias.reports.formatting import is_standardised
from pytest_visualbias.reports.html.curves import Chart, Line, Table, horizontal, vertical
from pytest_visualbias.reports.html.scales import Scale, logarithmic_scale
from pytest_visualbias.statistics.multiple_testing import adjust

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_visualbias.reports.bias_counts import BiasCounts
    from pytest_visualbias.results import ResultRecord

# Smaller p-values are drawn at the left end.
SMALLEST = 1e-4
TOLD = (0.001, 0.01, 0.05, 0.1)

# A curve over fewer tests shows no more than a table.
FEWEST = 3


def count_curves(records: Iterable[ResultRecord], hues: Mapping[str, int]) -> list[Chart]:
    """Return a chart for each spec and layer, with raw and corrected lines per model."""
    results = list(records)
    counted: dict[tuple[str, str], list[BiasCounts]] = {}
    for counts in bias_counts(results, TOLD, p="p_verdict"):
        counted.setdefault((counts.spec, counts.layer), []).append(counts)
    cells: dict[tuple[str, str], dict[str, list[ResultRecord]]] = {}
    for record in results:
        if record.control is None and is_standardised(record):
            models = cells.setdefault((record.spec, record.layer), {})
            models.setdefault(record.model, []).append(record)
    return [
        _chart(spec, layer, models, hues, counted.get((spec, layer), []))
        for (spec, layer), models in cells.items()
        if max(len(_raw(group)) for group in models.values()) >= FEWEST
    ]


def _raw(group: Iterable[ResultRecord]) -> list[float]:
    return [record.p_verdict for record in group if record.p_verdict is not None]


def _corrected(group: Sequence[ResultRecord]) -> list[float]:
    """Return corrected p-values; unmeasured tests count with p = 1."""
    p_values = [1.0 if record.p_verdict is None else record.p_verdict for record in group]
    adjusted = adjust(p_values, "holm")
    return [
        float(p) for p, record in zip(adjusted, group, strict=True) if record.p_verdict is not None
    ]


def _chart(
    spec: str,
    layer: str,
    models: Mapping[str, Sequence[ResultRecord]],
    hues: Mapping[str, int],
    counted: Sequence[BiasCounts],
) -> Chart:
    max_tests = max(len(group) for group in models.values())
    x = horizontal(logarithmic_scale(SMALLEST, 1.0))
    y = vertical(Scale(low=0.0, high=float(max_tests)))
    series = [
        (f"{name}, {stage}", hues.get(name, 0), stage == "corrected", values)
        for name, group in models.items()
        for stage, values in (("raw", _raw(group)), ("corrected", _corrected(group)))
        if values
    ]
    return Chart(
        title=(spec, layer),
        about=f"Number of tests with a p below a threshold, of {max_tests}. "
        f"{'; '.join(_told(series))}.",
        x_name="threshold of p",
        y_name="tests below it",
        x_ticks=tuple(x.ticks()),
        y_ticks=tuple(tick for tick in y.ticks() if "." not in tick.text),
        lines=tuple(
            Line(name=name, hue=hue, is_dashed=is_dashed, paths=(_steps(values, x, y),))
            for name, hue, is_dashed, values in series
        ),
        table=Table(
            head=("", *(f"p < {threshold:g}" for threshold in TOLD)),
            rows=tuple(row for counts in counted for row in _rows(counts)),
        ),
    )


def _rows(counts: BiasCounts) -> Iterator[tuple[str, ...]]:
    """Yield a model's counts: raw, by direction, corrected, and summed effects."""
    state = "" if counts.control == "none" else f" (control {counts.control})"
    thresholds = counts.counts
    yield (f"{counts.model}{state}, raw", *(str(count.raw) for count in thresholds))
    above = (f"{count.positive} / {count.negative}" for count in thresholds)
    yield (f"{counts.model}, effect above / below zero", *above)
    yield (f"{counts.model}, corrected", *(str(count.holm) for count in thresholds))
    beyond = [count.beyond_random for count in thresholds]
    if None not in beyond:
        yield (f"{counts.model}, beyond untrained networks", *map(str, beyond))
    yield (f"{counts.model}, sum of |effect|", *(f"{count.strength:.2f}" for count in thresholds))


def _below(values: Iterable[float], threshold: float) -> int:
    return sum(p < threshold for p in values)


def _told(series: Iterable[tuple[str, int, bool, list[float]]]) -> Iterator[str]:
    for name, _, _, values in series:
        yield f"{name}: {_below(values, 0.05)} below 0.05"


def _steps(values: Sequence[float], x: Scale, y: Scale) -> str:
    """Return a line that rises by one at each p-value."""
    corners = [(x.start, y.at(_below(values, SMALLEST)))]
    for p in sorted(p for p in values if SMALLEST <= p < 1.0):
        height = y.at(sum(other <= p for other in values))
        corners += [(x.at(p), corners[-1][1]), (x.at(p), height)]
    corners.append((x.end, corners[-1][1]))
    return " ".join(f"{across:g},{up:g}" for across, up in dict.fromkeys(corners))
