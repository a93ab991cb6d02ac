"""Where the limits on an effect lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.units import judged_limit

if TYPE_CHECKING:
    from pytest_visualbias.record import ResultRecord

__all__ = ["limits_of"]


def limits_of(record: ResultRecord) -> list[float]:
    """Return the limits on the effect itself, with the sign of the way that counts."""
    limit = judged_limit(record)
    if limit is None or record.role != "gated":
        return []
    return {"greater": [limit], "less": [-limit]}.get(record.alternative, [-limit, limit])
