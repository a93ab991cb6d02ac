"""Effects after against effects before, a point for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.html.curves import Chart, Line, Point, across, upwards
from pytest_visualbias.reports.html.scales import around
from pytest_visualbias.reports.transfer import transfers
from pytest_visualbias.reports.units import AXES, unit_of
from pytest_visualbias.verdict import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_visualbias.record import ResultRecord
    from pytest_visualbias.reports.transfer import Transfer

__all__ = ["transfer_plots"]


def transfer_plots(records: Sequence[ResultRecord], hues: Mapping[str, int]) -> list[Chart]:
    """Return a scatter plot for every rank correlation that the report has."""
    return [
        _chart(transfer, list(_members(transfer, records)), hues) for transfer in transfers(records)
    ]


def _members(transfer: Transfer, records: Sequence[ResultRecord]) -> Iterator[ResultRecord]:
    """Yield the results that the correlation is of."""
    where = (transfer.spec, transfer.layer, transfer.base, transfer.model)
    for one in records:
        if one.growth is None or one.outcome == "invalid":
            continue
        if unit_of(one) != transfer.of:
            continue
        if (one.spec, one.layer, one.growth.base, one.model) == where:
            yield one


def _chart(transfer: Transfer, members: Sequence[ResultRecord], hues: Mapping[str, int]) -> Chart:
    pairs = [(one.growth.before, one.growth.after) for one in members if one.growth is not None]
    scale = around([value for pair in pairs for value in pair], least=0.1)
    x, y = across(scale), upwards(scale)
    points = tuple(
        Point(
            x=x.at(before),
            y=y.at(after),
            text=f"{one.test}: {number(before)} before, {number(after)} after",
        )
        for one, (before, after) in zip(members, pairs, strict=True)
    )
    name = f"{transfer.model}: rank correlation {number(transfer.spearman)}, {transfer.k} tests"
    return Chart(
        title=(transfer.spec, transfer.layer, f"{transfer.base} → {transfer.model}"),
        about=f"{transfer.of.capitalize()} of {transfer.k} tests in {transfer.base} and "
        f"{transfer.model}; Spearman's rank correlation is {number(transfer.spearman)}.",
        x_name=f"{AXES[transfer.of]} in {transfer.base}",
        y_name=f"{AXES[transfer.of]} in {transfer.model}",
        x_ticks=tuple(x.ticks()),
        y_ticks=tuple(y.ticks()),
        lines=(Line(name=name, hue=hues.get(transfer.model, 0), points=points),),
        zero=y.at(0.0),
        diagonal=f"{x.start:g},{y.start:g} {x.end:g},{y.end:g}",
    )
