"""The waiver to write into a spec to accept what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.spec.quoting import quoted
from pytest_visualbias.verdict import rounded_up
from pytest_visualbias.waiver import WAIVABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.record import ResultRecord

__all__ = ["is_acceptable", "waiver_advice"]


def is_acceptable(record: ResultRecord) -> bool:
    """Whether a new waiver can cover everything that a failed result exceeds."""
    kinds = {one.kind for one in record.violations}
    return (
        record.accept is None
        and bool(kinds)
        and kinds <= {*WAIVABLE}
        and all(one.value is not None for one in record.violations)
    )


def waiver_advice(records: Iterable[ResultRecord]) -> str:
    """Return the waiver of the first test that can have one, and at how many more; empty if none.

    Parameters
    ----------
    records : iterable of ResultRecord
        All of a run: a waiver that applies where it is not needed would fail there.
    """
    tests: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        if record.role == "gated" and not record.control:
            tests.setdefault((record.spec, record.test), []).append(record)
    advice = [
        f"'accept: {text}' at test '{test}'"
        for (_, test), results in tests.items()
        if (text := _waiver(results))
    ]
    more = f" (likewise at {len(advice) - 1} more)" if len(advice) > 1 else ""
    return f"{advice[0]}{more}" if advice else ""


def _waiver(results: Sequence[ResultRecord]) -> str:
    """Return the one waiver that covers all failures of a test; empty if none can."""
    failed = [one for one in results if one.outcome == "fail"]
    if not failed or not all(map(is_acceptable, failed)):
        return ""
    models = dict.fromkeys(one.model for one in failed)
    layers = dict.fromkeys(one.layer for one in failed)
    covered = [one for one in results if one.model in models and one.layer in layers]
    if any(one.outcome == "pass" for one in covered):
        return ""
    sizes: dict[str, float] = {}
    for violation in (violation for one in failed for violation in one.violations):
        size = rounded_up(abs(violation.value or 0.0))
        key = f"max_{violation.kind}"
        sizes[key] = max(size, sizes.get(key, 0.0))
    parts = [f"{key}: {size:g}" for key, size in sizes.items()]
    for key, names, every in (
        ("models", models, {one.model for one in results}),
        ("layers", layers, {one.layer for one in results}),
    ):
        if every - names.keys():
            parts.append(f"{key}: [{', '.join(map(quoted, names))}]")
    return f"{{{', '.join([*parts, 'reason: WHY', 'until: YYYY-MM-DD'])}}}"
