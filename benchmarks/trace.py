"""Which code one verdict runs: functions, modules and depth of an item's set-up.

    python benchmarks/trace.py [--functions]

Gates two stored models with one ieat test, which has a limit of its effect and of its growth, in a
pytest of this process, and counts the named functions that are called while the second item (the
gated model) is set up.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PACKAGE = f"{os.sep}pytest_visualbias{os.sep}"
IMAGES, DIM = 12, 16
SETS = ("women", "men", "work", "home")
SPEC = """visualbias: 1
models:
  before: {source: embeddings, path: before.safetensors}
  after: {source: embeddings, path: after.safetensors}
concepts:
  women: women
  men: men
  work: work
  home: home
tests:
  - name: gender-work
    kind: ieat
    targets: {X: women, Y: men}
    attributes: {A: work, B: home}
    limits: {max_effect: 1.0, max_growth: 0.5}
"""


@dataclass(kw_only=True, slots=True, eq=False)
class Trace:
    """A plugin of pytest that counts calls while the last item is set up."""

    functions: Counter[str] = field(default_factory=Counter)
    deepest: int = 0
    _depths: Counter[int] = field(default_factory=Counter)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """Count the calls of the gated model's item."""
        if "::after::" in item.nodeid:
            threading.setprofile(self._count)
            sys.setprofile(self._count)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _count(self, frame: FrameType, event: str, _: Any) -> None:  # noqa: ANN401 - of any call
        name = frame.f_code.co_filename
        is_comprehension = frame.f_code.co_name.startswith("<")
        if PACKAGE not in name or is_comprehension or event not in {"call", "return"}:
            return
        thread = threading.get_ident()
        self._depths[thread] += 1 if event == "call" else -1
        self.deepest = max(self.deepest, self._depths[thread])
        if event == "return":
            return
        module = name.partition(PACKAGE)[2]
        code = frame.f_code
        self.functions[f"{module}:{code.co_firstlineno}:{code.co_name}"] += 1


def main(arguments: list[str] | None = None) -> None:
    """Print the counts, and the modules with the most functions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", action="store_true", help="list every function that runs")
    options = parser.parse_args(arguments)
    trace = Trace()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
        os.chdir(folder)
        try:
            code = pytest.main(
                ["-q", "-p", "no:cacheprovider", "--visualbias", "trace.bias.yaml"], [trace]
            )
        finally:
            os.chdir(here)
    modules = Counter(name.partition(":")[0] for name in trace.functions)
    print(f"exit code {code:d}")
    print(f"functions {len(trace.functions)}, calls {trace.functions.total()}")
    print(f"modules {len(modules)}, depth {trace.deepest}")
    for module, count in modules.most_common():
        print(f"{count:4} {module}")
    if options.functions:
        for name, count in sorted(trace.functions.items()):
            print(f"{count:4} {name}")


def _write(folder: Path) -> None:
    """Write the spec and the vectors of both models."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "trace.bias.yaml").write_text(SPEC, encoding="utf-8")
    draw = np.random.default_rng(0).standard_normal
    names = {name: [f"{row}.png" for row in range(IMAGES)] for name in SETS}
    for model in ("before", "after"):
        vectors = {name: draw((IMAGES, DIM)).astype(np.float32) for name in SETS}
        path = folder / f"{model}.safetensors"
        safetensors.numpy.save_file(vectors, path, metadata={"names": json.dumps(names)})


if __name__ == "__main__":
    main()
