"""Draw the dose-response curve from the table that ``dose.py`` writes.

python figure.py dose_response.csv dose_response.svg --limit 0.2
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = list[dict[str, str]]

ALL_SEEDS = "all"
SEED, MEAN, BEFORE = "#8da0cb", "#1b3a6b", "#777777"


def read_rows(path: Path) -> tuple[Rows, Rows]:
    """Return the rows of single seeds, and those of all seeds as trials of one recipe."""
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    single = [row for row in rows if row["seed"] != ALL_SEEDS]
    return single, [row for row in rows if row["seed"] == ALL_SEEDS]


def draw(single: Rows, together: Rows, limit: float | None) -> Figure:
    """Draw the effect and its growth against the correlation, side by side."""
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    effect, growth = figure.subplots(1, 2)
    before = {key: float((single + together)[0][key]) for key in _keys("before")}
    effect.axhspan(before["before_low"], before["before_high"], color=BEFORE, alpha=0.15, lw=0)
    effect.axhline(before["before"], color=BEFORE, lw=1, ls="--", label="before, 95 % interval")
    effect.set_ylabel("effect size d, judged")
    growth.axhline(0, color=BEFORE, lw=1)
    growth.set_ylabel("growth of |d|")
    if limit is not None:
        growth.axhline(limit, color="#b2182b", lw=1, ls=":", label=f"limit {limit:g}")
    for axes, name in ((effect, "after"), (growth, "growth")):
        _curves(axes, single, together, name)
        axes.set_xlabel("correlation in the finetuning")
        axes.set_xticks(sorted({float(row["correlation"]) for row in single}))
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = effect.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    shown |= {
        label: handle for handle, label in zip(*growth.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        shown.values(), shown, loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def _curves(axes: Any, single: Rows, together: Rows, name: str) -> None:  # noqa: ANN401 - optional
    """Draw a line for each seed, and all seeds together with their interval."""
    for seed in dict.fromkeys(row["seed"] for row in single):
        own = [row for row in single if row["seed"] == seed]
        xs = [float(row["correlation"]) for row in own]
        axes.plot(xs, [float(row[name]) for row in own], "o-", ms=3, lw=0.6, color=SEED)
    axes.plot([], "o-", ms=3, lw=0.6, color=SEED, label="one seed")
    if together:
        xs = [float(row["correlation"]) for row in together]
        middle, low, high = ([float(row[key]) for row in together] for key in _keys(name))
        axes.plot(xs, middle, "s-", ms=5, color=MEAN, label="all seeds, 95 % interval")
        # No error bars: those are lengths, and a bootstrap interval need not hold its estimate.
        axes.vlines(xs, low, high, color=MEAN)


def _keys(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the table and write the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("figure", type=Path, help="file to write: svg, png or pdf")
    parser.add_argument("--limit", type=float, help="of the growth")
    options = parser.parse_args(argv)
    single, together = read_rows(options.table)
    if not single:
        parser.error(f"{options.table} has no row of a seed; name a table that dose.py wrote")
    # Names inside an SVG are random otherwise, and its date changes: the same table, the same file.
    mpl.rcParams |= {"svg.hashsalt": "dose", "svg.fonttype": "none"}
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if options.figure.suffix == ".svg" else None
    draw(single, together, options.limit).savefig(options.figure, metadata=metadata)


if __name__ == "__main__":
    main()
