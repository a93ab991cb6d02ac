"""Chart effects after against before, one point per test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.bias_counts import rank_correlations
from pytest_visualbias.reports.formatting import AXES, unit_of
from pytest_visualbias.reports.html.curves import Chart, Line, Point, horizontal, vertical
from pytest_visualbias.reports.html.scales import scale_around
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_visualbias.reports.bias_counts import RankCorrelation
    from pytest_visualbias.results import ResultRecord


def transfer_plots(records: Sequence[ResultRecord], hues: Mapping[str, int]) -> list[Chart]:
    """Return a scatter plot for each rank correlation."""
    return [
        _chart(transfer, list(_members(transfer, records)), hues)
        for transfer in rank_correlations(records)
    ]


def _members(transfer: RankCorrelation, records: Sequence[ResultRecord]) -> Iterator[ResultRecord]:
    """Yield the results behind a correlation."""
    where = (transfer.spec, transfer.layer, transfer.base, transfer.model)
    for record in records:
        if record.growth is None or record.outcome == "invalid":
            continue
        if unit_of(record) != transfer.of:
            continue
        if (record.spec, record.layer, record.growth.base, record.model) == where:
            yield record


def _chart(
    transfer: RankCorrelation, members: Sequence[ResultRecord], hues: Mapping[str, int]
) -> Chart:
    pairs = [
        (member.growth.before, member.growth.after)
        for member in members
        if member.growth is not None
    ]
    scale = scale_around([value for pair in pairs for value in pair], minimum=0.1)
    x, y = horizontal(scale), vertical(scale)
    points = tuple(
        Point(
            x=x.at(before),
            y=y.at(after),
            text=f"{member.test}: {format_effect(before)} before, {format_effect(after)} after",
        )
        for member, (before, after) in zip(members, pairs, strict=True)
    )
    name = (
        f"{transfer.model}: rank correlation {format_effect(transfer.spearman)}, {transfer.k} tests"
    )
    return Chart(
        title=(transfer.spec, transfer.layer, f"{transfer.base} → {transfer.model}"),
        about=f"{transfer.of.capitalize()} of {transfer.k} tests in {transfer.base} and "
        f"{transfer.model}; Spearman's rank correlation is {format_effect(transfer.spearman)}.",
        x_name=f"{AXES[transfer.of]} in {transfer.base}",
        y_name=f"{AXES[transfer.of]} in {transfer.model}",
        x_ticks=tuple(x.ticks()),
        y_ticks=tuple(y.ticks()),
        lines=(Line(name=name, hue=hues.get(transfer.model, 0), points=points),),
        zero=y.at(0.0),
        diagonal=f"{x.start:g},{y.start:g} {x.end:g},{y.end:g}",
    )
