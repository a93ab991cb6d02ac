"""Read published results as a report."""

from __future__ import annotations

import csv
import importlib.metadata
import math
from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.errors import ReportError
from pytest_visualbias.results import ModelRecord, Report, ResultRecord
from pytest_visualbias.spec.hashing import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CITATION = (
    "K. Sirotkin, P. Carballeira, M. Escudero-Vinolo, A study on the distribution of social biases "
    "in self-supervised learning visual models, CVPR 2022"
)
UNTRAINED = "random_"
CONTROL = "Insect-Flower"
LAST = "avg_pool"
ALPHA = 0.05

# Settings of every published test. Their code requires targets of equal size, and states only the
# size of A for attributes.
DECLARED: dict[str, object] = {
    "kind": "ieat",
    "tags": [],
    "alpha": ALPHA,
    "alternative": "greater",
    "sides": "targets",
    "evidence": "significant",
    "correction": "none",
    "limits": {},
}

# Their code counts up to 10,000 relabellings (seven images a set) and samples beyond.
LARGEST_EXACT = 7
NUMERIC_COLUMNS = ("effect_size", "p_value", "n_target", "n_attribute")
COLUMNS = ("layer", "model", "test", "X", "Y", "A", "B", *NUMERIC_COLUMNS)
Row = dict[str, str]


def sb_ssl_report(path: Path) -> Report:
    """Read the results of SB-SSL: 39 tests of 16 networks at six layers [1]_."""
    cells = _read(path)
    digest = digest_of_file(path)
    # The table lists the last layer first; reports use the order of the network.
    ordered = sorted(cells.items(), key=lambda cell: (cell[0][0] == LAST, cell[0][0]))
    results = [_result(path, digest, rows) for _, rows in ordered]
    return Report(
        tool={
            "name": "pytest-visualbias",
            "version": importlib.metadata.version("pytest-visualbias"),
        },
        environment={"published": CITATION, "file": path.name, "sha256": digest},
        models=_models(path.name, results),
        results=results,
        summary={"published": CITATION},
    )


def _read(path: Path) -> dict[tuple[str, ...], list[tuple[int, Row]]]:
    """Return the repetitions of each test, model and layer, with their line numbers."""
    cells: dict[tuple[str, ...], list[tuple[int, Row]]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise ReportError(f"{path} has no column '{missing[0]}'", "name a table of SB-SSL")
            for row in table:
                _check(path, table.line_num, row)
                cells[row["layer"], row["model"], row["test"]].append((table.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReportError(f"{path} cannot be read ({error})", "name a table of SB-SSL") from None
    if not cells:
        raise ReportError(f"{path} has no rows", "name a table of SB-SSL")
    return cells


def _check(path: Path, line: int, row: Row) -> None:
    for name in NUMERIC_COLUMNS:
        try:
            is_number = math.isfinite(float(row[name]))
        except (TypeError, ValueError):
            is_number = False
        if not is_number:
            raise ReportError(f"{path}:{line}: {name} is {row[name]!r}", "write a number there")


def _result(path: Path, digest: str, repetitions: Sequence[tuple[int, Row]]) -> ResultRecord:
    line, first = repetitions[0]
    d = float(first["effect_size"])
    p = fmean(float(row["p_value"]) for _, row in repetitions)
    targets, role = int(first["n_target"]), _role(first["model"])
    method = "exact" if targets <= LARGEST_EXACT else "sampled"
    is_control = first["test"] == CONTROL
    outcome, reason = _verdict(d, p, role) if is_control else ("pass", "published, reported only")
    sizes = {"n_x": targets, "n_y": targets, "n_a": int(first["n_attribute"])}
    numbers = {
        **dict.fromkeys(("effect_size", "effect_judged"), d),
        **dict.fromkeys(("p_value", "p_verdict"), p),
        **dict.fromkeys(("p_method", "p_verdict_method"), method),
    }
    where = {
        "nodeid": f"{path.name}::{first['model']}::{first['test']}[{first['layer']}]",
        "spec": path.name,
        "spec_digest": digest,
        "line": line,
        "role": role,
        "pooling": "" if first["layer"] == LAST else "flatten",
        "control": "positive" if is_control else None,
        "concepts": {name: first[name] for name in "XYAB"},
        **{name: first[name] for name in ("test", "model", "layer")},
    }
    judged = {"outcome": outcome, "reasons": [reason]}
    return ResultRecord.model_validate({**DECLARED, **where, **sizes, **numbers, **judged})


def _verdict(d: float, p: float, role: str) -> tuple[str, str]:
    """Judge the positive control; untrained networks are exempt."""
    if role == "random":
        return "pass", "random control, reported only"
    held = d > 0 and p <= ALPHA
    description = "control held" if held else "positive control failed"
    return "pass" if held else "fail", f"{description}: d = {d:+.2f}, p = {p:.4f} (judged here)"


def _role(model: str) -> Literal["random", "reference"]:
    return "random" if model.startswith(UNTRAINED) else "reference"


def _models(spec: str, results: Sequence[ResultRecord]) -> list[ModelRecord]:
    """Return records of the networks, of which only names are known."""
    roles = {result.model: result.role for result in results}
    return [
        ModelRecord(
            spec=spec,
            model=name,
            source="published",
            role=role,
            trials=[],
            preprocessing={},
            description={"published": CITATION},
        )
        for name, role in roles.items()
    ]
