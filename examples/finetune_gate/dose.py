"""Finetune at several correlations, gate every checkpoint, and write a table of what was measured.

    python dose.py --init checkpoints/cifar10_resnet20.th --data photographs \
        --labels sports,fashion --groups man,woman --spec bias_specs/gender.bias.yaml \
        --test gender-sports --seeds 5,6,7,8,9 --out runs --csv dose_response.csv

Each correlation has one row for each seed, and one in which the seeds are trials of one recipe.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune import Recipe, finetune, task_of, task_parser
from selection import UserError
from weights import read_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ALL_SEEDS = "all"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """What to run pytest on."""

    spec: Path
    test: str
    before: Path
    stimuli: Path | None
    cache: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What one run of the gate said about one test."""

    correlation: float
    seed: str
    outcome: str
    exit_status: int
    before: float
    before_low: float
    before_high: float
    after: float
    after_low: float
    after_high: float
    gap_before: float
    gap_after: float
    growth: float
    growth_low: float
    growth_high: float
    growth_p: float


def respond(options: argparse.Namespace) -> Iterator[Row]:
    """Finetune and gate, one correlation after the other.

    Raises
    ------
    UserError
        Where something cannot be learned or was not measured.
    """
    gate = Gate(
        spec=options.spec,
        test=options.test,
        before=options.init,
        stimuli=options.stimuli,
        cache=options.out / "cache",
    )
    for correlation in options.correlations:
        folder = options.out / f"correlation_{correlation:.2f}"
        for seed in options.seeds:
            recipe = Recipe(
                correlation=correlation,
                seed=seed,
                epochs=options.epochs,
                learning_rate=options.learning_rate,
            )
            path = folder / f"seed_{seed}.safetensors"
            finetune(task_of(options), recipe, path)
            yield _row(gate, [path], correlation=correlation, seed=str(seed))
        if len(options.seeds) > 1:
            paths = [folder / f"seed_{seed}.safetensors" for seed in options.seeds]
            yield _row(gate, paths, correlation=correlation, seed=ALL_SEEDS)


def _row(gate: Gate, paths: Sequence[Path], *, correlation: float, seed: str) -> Row:
    """Gate checkpoints, several being trials of one recipe."""
    # A glob refers to several.
    after = paths[0] if len(paths) == 1 else paths[0].with_name("seed_*.safetensors")
    exit_status, results = _run(gate, after, paths[0].with_name(f"seed_{seed}.json"))
    before, after_row = results["before"], results["after"]
    if len(paths) > 1 and len(after_row["trials"]["labels"]) != len(paths):
        raise UserError(f"{after} has checkpoints of an earlier run; give an empty folder as --out")
    refuse_overlap(paths, after_row)
    growth = after_row["growth"]
    return Row(
        correlation=correlation,
        seed=seed,
        outcome=after_row["outcome"],
        exit_status=exit_status,
        before=before["effect_judged"],
        before_low=before["ci_low"],
        before_high=before["ci_high"],
        after=after_row["effect_judged"],
        after_low=after_row["ci_low"],
        after_high=after_row["ci_high"],
        gap_before=before["gap"],
        gap_after=after_row["gap"],
        growth=growth["value"],
        growth_low=growth["ci_low"],
        growth_high=growth["ci_high"],
        growth_p=growth["p_verdict"],
    )


def _run(gate: Gate, after: Path, report: Path) -> tuple[int, dict[str, Any]]:
    """Run pytest; its exit status, and the test's results by model."""
    report.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "pytest", "--visualbias", str(gate.spec)),
        f"--visualbias-before={gate.before}",
        f"--visualbias-after={after}",
        f"--visualbias-json={report}",
        f"--visualbias-cache={gate.cache}",
    ]
    if gate.stimuli is not None:
        command.append(f"--visualbias-stimuli={gate.stimuli}")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    rows = json.loads(report.read_text("utf-8"))["results"] if report.exists() else []
    found = {row["model"]: row for row in rows if row["test"] == gate.test}
    measured = {name for name, row in found.items() if row["outcome"] not in ("error", "invalid")}
    if not {"before", "after"} <= measured:
        raise UserError(f"the gate did not measure '{gate.test}':\n{done.stdout}{done.stderr}")
    return done.returncode, found


def refuse_overlap(paths: Sequence[Path], row: dict[str, Any]) -> None:
    """Raise where a stimulus is among the images that a checkpoint learned from."""
    shown = {digest for stimuli in row["sets"].values() for digest in stimuli["images"]}
    for path in paths:
        if shared := shown & set(read_note(path)["learned_images"]):
            raise UserError(f"{path} learned from {len(shared)} of the stimuli; keep them apart")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows with six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        for row in rows:
            values = asdict(row).values()
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in values])


def _correlations(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def _seeds(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, say what was measured as it comes, and write the table."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], parents=[task_parser()]
    )
    parser.add_argument("--correlations", type=_correlations, default=[0.5, 0.7, 0.9, 1.0])
    parser.add_argument("--seeds", type=_seeds, default=[0])
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--test", required=True, help="whose effects to write down")
    parser.add_argument("--stimuli", type=Path, help="in the place of the spec's")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--csv", type=Path, required=True, help="table to write")
    options = parser.parse_args(argv)
    rows = []
    try:
        for row in respond(options):
            rows.append(row)
            print(
                f"correlation {row.correlation:.2f}, seed {row.seed}: {row.outcome}, effect "
                f"{row.before:+.2f} -> {row.after:+.2f}, growth {row.growth:+.2f} "
                f"({row.growth_low:+.2f} to {row.growth_high:+.2f}, p = {row.growth_p:.2g})",
                flush=True,
            )
    except (UserError, OSError) as error:
        parser.error(str(error))
    write_csv(rows, options.csv)


if __name__ == "__main__":
    main()
