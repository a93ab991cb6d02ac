"""Write all figures of one or several reports into a folder."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.figures.gathering import merge_reports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from pytest_visualbias.reports.document import Accuracy
    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import Report

FORMATS = ("svg", "pdf", "png")

# Other units have their own figures, named after the unit.
OTHERS: tuple[Unit, ...] = ("similarities", "gaps")
# Without date and version the same results give the same file.
UNDATED: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
DPI = 200

# Characters replaced in a file name: they could name another folder.
UNSAFE = re.compile(r"[^A-Za-z0-9]+")
LONGEST = 40
SUFFIX = re.compile(r"\.bias\.ya?ml$")


def write(
    reports: Sequence[Report], folder: Path, *, accuracies: Sequence[Accuracy] = ()
) -> list[Path]:
    """Save each figure that the results allow, as SVG, PDF and PNG."""
    import matplotlib.style

    from pytest_visualbias.reports.figures.style import RC

    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.style.context(["default", RC]), warnings.catch_warnings():
            # The figure shows a box for a character that the font lacks.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            for name, figure in figures(reports, accuracies):
                written += _saved(figure, folder, name)
    except OSError as error:
        raise ReportError(
            f"{error.filename or folder}: figures cannot be written ({error.strerror})",
            "name another folder",
        ) from None
    return written


def figures(
    reports: Sequence[Report], accuracies: Sequence[Accuracy] = ()
) -> Iterator[tuple[str, Figure]]:
    """Yield the file name and figure of each figure."""
    from pytest_visualbias.reports.figures import (
        counting,
        effects,
        layers,
        relations,
        series,
        tradeoff,
    )

    study = merge_reports(reports)
    records = study.records
    kinds = (
        ("forest", effects.forest_figures(records)),
        ("before-after", effects.before_after_figures(records)),
        ("layers", layers.layer_figures(records)),
        ("trajectory", series.training_run_figures(records)),
        ("bias-counts", counting.count_curve_figures(records)),
        ("bias-map", counting.count_map_figures(records)),
        ("transfer", relations.transfer_figures(records)),
        ("labels", relations.label_figures(records)),
        ("accuracy", tradeoff.tradeoff_figures(study, accuracies)),
        *(
            (f"{kind}-{other}", draw(records, other))
            for other in OTHERS
            for kind, draw in (
                ("forest", effects.forest_figures),
                ("before-after", effects.before_after_figures),
                ("layers", layers.layer_figures),
                ("trajectory", series.training_run_figures),
                ("transfer", relations.transfer_figures),
            )
        ),
    )
    taken: set[str] = set()
    for kind, plots in kinds:
        for spec, layer, figure in plots:
            name = _unique("-".join(filter(None, (kind, _slug(spec), _slug(layer)))), taken)
            yield name, figure


def _slug(name: str) -> str:
    last = SUFFIX.sub("", name.replace("\\", "/").rpartition("/")[2])
    return UNSAFE.sub("-", last).strip("-").lower()[:LONGEST]


def _unique(name: str, taken: set[str]) -> str:
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name}-{number}"
    taken.add(unique)
    return unique


def _saved(figure: Figure, folder: Path, name: str) -> Iterator[Path]:
    # Square panels change the layout once; draw first, so that both files get the same one.
    figure.draw_without_rendering()
    for kind in FORMATS:
        path = folder / f"{name}.{kind}"
        figure.savefig(path, dpi=DPI, metadata=UNDATED[kind])
        figure.set_layout_engine("none")
        yield path
