"""Which images carry an effect, in lines for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.influence import carriers, is_exact
from pytest_visualbias.reports.units import is_counted, rates_text
from pytest_visualbias.verdict import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.record import ResultRecord

__all__ = ["carrier_lines"]

MOST = 5


def carrier_lines(record: ResultRecord) -> Iterator[str]:
    """Yield a heading and a line for each of the images without which an effect falls most.

    Nothing is said of a test that could not be measured, nor of sets too small to leave one out,
    nor of images without which an effect would be larger.
    """
    if is_counted(record):
        yield from _counted(record)
        return
    found = carriers(record, MOST)
    if not found:
        return
    about = "" if is_exact(record) else "about "
    yield f"{visible(record.nodeid)}: the effect {number(record.effect_judged or 0)} would be"
    for one in found:
        yield f"  {about}{number(one.without)} without {visible(one.name)} ({visible(one.role)})"


def _counted(record: ResultRecord) -> Iterator[str]:
    """Yield which images are predicted as the class: each of them carries a rate alike."""
    yield f"{visible(record.nodeid)}: {rates_text(record)}"
    for role, images in record.sets.items():
        scores = record.scores.get(role, {})
        pairs = zip(images.names, images.images, strict=False)  # as any report may have them
        names = [visible(name) for name, identity in pairs if scores.get(identity) == 1]
        more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
        shown = f": {', '.join(names[:MOST])}{more}" if names else ""
        yield f"  {len(names)} of {images.n} of {visible(role)} are predicted as it{shown}"
