"""Where the limits on an effect lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_visualbias.record import ResultRecord

__all__ = ["limits_of"]


def limits_of(record: ResultRecord) -> list[float]:
    """Return the limits on the effect itself, with the sign of the way that counts."""
    limit = record.limits.get("max_effect")
    if limit is None or record.role != "gated":
        return []
    return {"greater": [limit], "less": [-limit]}.get(record.alternative, [-limit, limit])
