"""How the time of a run grows with the number of tests in one spec.

    python benchmarks/scale.py                                  # collect 250, 500, 1,000 and 5,000
    python benchmarks/scale.py --tests 250 500 1000 --run       # run them, too, over stored vectors

Every test has two targets and two attributes of its own choice, out of 20 small sets of stored
vectors, and a limit of its effect. Times are processor time of a pytest of its own, start and
imports included; the seconds per test are those above an empty run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.numpy

TESTS = (250, 500, 1_000, 5_000)
SETS, IMAGES, DIM = 20, 8, 16
HEAD = """visualbias: 1
models:
  after: {source: embeddings, path: after.safetensors}
"""


def main(arguments: list[str] | None = None) -> None:
    """Print one row for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", type=int, nargs="+", default=TESTS, help="sizes of the spec")
    parser.add_argument("--run", action="store_true", help="run the tests, too")
    options = parser.parse_args(arguments)
    ways = {"collect": ["--collect-only"], "run": []}
    if not options.run:
        del ways["run"]
    print("| tests | " + " | ".join(f"{way} s | {way} ms per test" for way in ways) + " |")
    print("|---" * (1 + 2 * len(ways)) + "|")
    starts = {way: seconds(1, ways[way]) for way in ways}
    for tests in options.tests:
        cells = [f"{tests:,}"]
        for way, more in ways.items():
            spent = seconds(tests, more)
            cells += [f"{spent:.1f}", f"{1_000 * (spent - starts[way]) / tests:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def seconds(tests: int, more: list[str]) -> float:
    """Return the processor time of pytest on a spec of so many tests."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), tests)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "pytest", "-q", "--visualbias", "scale.bias.yaml", *more]
        process = subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, encoding="utf-8"
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        raise SystemExit(process.stdout[-2_000:] + process.stderr[-2_000:])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write(folder: Path, tests: int) -> None:
    """Write vectors and a spec of so many tests."""
    random = np.random.default_rng(0)
    names = [f"set{index:02}" for index in range(SETS)]
    sets = {name: random.normal(size=(IMAGES, DIM)).astype(np.float32) for name in names}
    files = {name: [f"{row}.png" for row in range(IMAGES)] for name in names}
    safetensors.numpy.save_file(
        sets, folder / "after.safetensors", metadata={"names": json.dumps(files)}
    )
    pairs = itertools.combinations(names, 2)
    choices = (
        (x, y, a, b)
        for (x, y), (a, b) in itertools.product(pairs, itertools.combinations(names, 2))
        if not {x, y} & {a, b}
    )
    text = HEAD + f"concepts: {{{', '.join(f'{name}: {name}' for name in names)}}}\ntests:\n"
    for index, (x, y, a, b) in enumerate(itertools.islice(choices, tests)):
        text += (
            f"  - name: test-{index}\n"
            "    kind: ieat\n"
            f"    targets: {{X: {x}, Y: {y}}}\n"
            f"    attributes: {{A: {a}, B: {b}}}\n"
            "    limits: {max_effect: 1.93}\n"
        )
    (folder / "scale.bias.yaml").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
