"""Say which positive controls of runs hold, by both sides and by the targets alone.

    pytest --visualbias bias_specs/quickstart.bias.yaml --visualbias-json=run.json
    python benchmarks/controls.py run.json

A control holds if its effect is at least `min_effect` and its largest p at most alpha. With `sides:
targets` only the target side counts, as for all controls before `p_crossed`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.reports.document import read_report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.results import ResultRecord

HEAD = ("control", "d targets", "p targets", "judged", "p", "by targets", "by both sides")


def rows(records: Sequence[ResultRecord]) -> Iterator[tuple[str, ...]]:
    """Yield a row for every control that was measured."""
    for one in records:
        judged, p = one.effect_judged, one.p_verdict
        if one.control != "positive" or one.effect_size is None or one.p_value is None:
            continue
        if judged is None or p is None:
            continue
        least = one.limits.get("min_effect", 0.0)
        sign = -1 if one.alternative == "less" else 1
        of_targets = max(one.p_value, one.p_welch or 0.0)
        yield (
            f"{one.test}, {one.model} [{one.layer}]",
            f"{one.effect_size:+.2f}",
            f"{of_targets:.2g}",
            f"{judged:+.2f}",
            f"{p:.2g}",
            _held(sign * one.effect_size >= least and of_targets <= one.alpha),
            _held(sign * judged >= least and p <= one.alpha),
        )


def _held(holds: bool) -> str:  # noqa: FBT001 - one truth, put into a word
    return "holds" if holds else "fails"


def main() -> None:
    """Print a table of the controls in reports."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reports", nargs="+", type=Path)
    options = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for path in options.reports:
        for row in rows(read_report(path).results):
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
