"""Runs that are killed, over a cache that is damaged: every result must be that of a clean run.

    python tests/soak/soak.py --seconds 60        # one minute, after ten seconds of preparation
    python tests/soak/soak.py --seconds 3600 --seed 7

Rounds of processes share one cache; most of them are killed (SIGKILL) at a random moment. Between
rounds files of the cache are cut, have bits flipped, are put in each other's place or removed. Now
and then a whole pytest takes part, alone or with workers. What is lost, and what is left behind but
the cache itself, fails the soak.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from pytest_visualbias.embeddings.cache_maintenance import prune
from pytest_visualbias.embeddings.extraction import FLUSH_INTERVAL_S

if TYPE_CHECKING:
    from multiprocessing.context import ForkProcess

# The folder of this file is where Python looks first.
sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.soak.damage import damage
from tests.soak.project import SPEC, draw, run

WORKERS = 3
KILLED = 0.6
FORK = multiprocessing.get_context("fork")
PATIENCE_S = 120.0
OLD_S = 3 * 86_400
FOREIGN = ("pytest-of-", "torchinductor_")  # what pytest-xdist and torch leave in every run


def main() -> int:
    """Soak, print what was done, and return how many results were lost or things left."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    _say(f"seed {seed}")
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        soak = Soak(folder, random.Random(seed))
        soak.go(options.seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _say(", ".join(f"{count} {what}" for what, count in soak.done.items()))
    for problem in soak.problems:
        _say(f"FAULT: {problem}")
    return 1 if soak.problems else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Soak:
    """One soak, in a folder of its own.

    Attributes
    ----------
    done : Counter
        What was done, by what it is called.
    problems : list of str
        What must not be.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._chance = chance
        self._project, self._cache = folder / "project", folder / "cache"
        self._out, self._temporary = folder / "out", folder / "tmp"
        for one in (self._project, self._out, self._temporary):
            one.mkdir()
        # What is left among temporary files is then seen.
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._temporary)
        os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", HF_HUB_OFFLINE="1")
        for name in ("CI", "VISUALBIAS_CACHE", "PYTEST_ADDOPTS"):
            os.environ.pop(name, None)
        names = ("processes", "runs of pytest", "kills", "truncations", "bit flips", "mix-ups")
        self.done: Counter[str] = Counter(
            dict.fromkeys((*names, "removals", "results compared"), 0)
        )
        self.problems: list[str] = []

    def go(self, seconds: float) -> None:
        """Prepare, run rounds for a time, and look at what is there afterwards."""
        self._prepare()
        end = time.monotonic() + seconds
        pytest_at = time.monotonic() + seconds / 10
        while time.monotonic() < end and not self.problems:
            with_pytest = time.monotonic() >= pytest_at
            self._round(with_pytest=with_pytest)
            if with_pytest:
                pytest_at = time.monotonic() + seconds / 6
            for _ in range(self._chance.randrange(4)):
                self.done.update(damage(self._cache, self._chance))
        self._finish()

    def _prepare(self) -> None:
        # In processes of their own: a fork of one that has used torch may hang.
        self._await(self._start(draw, self._project))
        clean = self._out / "clean.json"
        start = time.monotonic()
        self._await(self._start(run, self._project, None, clean))
        self._longest = time.monotonic() - start
        self._clean = clean.read_bytes()
        self._of_pytest = self._pytest_results(self._pytest(cached=False, workers=0))
        import timm  # noqa: F401 - so that every fork has them

        import pytest_visualbias.models.timm  # noqa: F401

    def _start(self, work: Any, *arguments: object) -> ForkProcess:  # noqa: ANN401 - a function
        process = FORK.Process(target=work, args=arguments)
        process.start()
        return process

    def _await(self, process: ForkProcess) -> bool:
        """Wait for a process that was not killed; whether it ended well."""
        process.join(PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            self.problems.append(f"a process did not end within {PATIENCE_S:g} s")
        elif process.exitcode != 0:
            self.problems.append(f"a process ended with {process.exitcode}")
        return process.exitcode == 0

    # ----------------------------------------------------------------------------- running

    def _round(self, *, with_pytest: bool) -> None:
        outer = (
            self._pytest(cached=True, workers=self._chance.choice((0, 2))) if with_pytest else None
        )
        running = []
        for number in range(self._chance.randint(1, WORKERS)):
            target = self._out / f"{number}.json"
            target.unlink(missing_ok=True)
            pause = self._chance.choice((0.0, FLUSH_INTERVAL_S))
            process = self._start(run, self._project, self._cache, target, pause)
            is_doomed = self._chance.random() < KILLED
            running.append(
                (process, target, time.monotonic() + self._moment() if is_doomed else None)
            )
            self.done["processes"] += 1
        for process, target, doom in sorted(running, key=lambda one: one[2] or float("inf")):
            if doom is not None:
                process.join(max(doom - time.monotonic(), 0))
                if process.exitcode is None:
                    process.kill()
                    process.join()
                    self.done["kills"] += 1
                    continue
            if self._await(process):
                self._compare(target.read_bytes(), self._clean, "a process")
        if outer is not None:
            self._end_pytest(outer)

    def _moment(self) -> float:
        """Return after how long to kill: early, in the midst of it, or late."""
        return self._chance.uniform(0, self._chance.choice((0.05, 0.3, self._longest)))

    def _compare(self, found: bytes, clean: bytes, who: str) -> None:
        self.done["results compared"] += len(json.loads(clean))
        if found != clean:
            pairs = zip(json.loads(found), json.loads(clean), strict=True)
            first = next(f"{one} is not {other}" for one, other in pairs if one != other)
            self.problems.append(f"results of {who} are others: {first[:2000]}")

    # ------------------------------------------------------------------------------ pytest

    def _pytest(self, *, cached: bool, workers: int) -> subprocess.Popen[bytes]:
        self.done["processes"] += cached
        self.done["runs of pytest"] += cached
        cache = f"--visualbias-cache={self._cache}" if cached else "--visualbias-no-cache"
        more = ("-n", str(workers)) if workers else ()
        (self._project / "out.json").unlink(missing_ok=True)
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more),
                *("--visualbias", "--visualbias-json=out.json", "--visualbias-batch-size=1"),
                *("--visualbias-device=cpu", cache, SPEC),
            ],
            cwd=self._project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its workers are killed with it
        )

    def _end_pytest(self, process: subprocess.Popen[bytes]) -> None:
        if self._chance.random() < KILLED / 2:
            time.sleep(self._chance.uniform(0, 2 * self._longest))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                self.done["kills"] += 1
                return
        self._compare(self._pytest_results(process), self._of_pytest, "pytest")

    def _pytest_results(self, process: subprocess.Popen[bytes]) -> bytes:
        said, _ = process.communicate(timeout=PATIENCE_S)
        path = self._project / "out.json"
        if not path.is_file():
            self.problems.append(f"pytest wrote no report: {said.decode()[-2000:]}")
            return self._of_pytest
        rows = json.loads(path.read_bytes())["results"]
        return json.dumps(sorted(rows, key=lambda row: str(row["nodeid"])), sort_keys=True).encode()

    # -------------------------------------------------------------------------------- end

    def _finish(self) -> None:
        target = self._out / "last.json"
        if self._await(self._start(run, self._project, self._cache, target)):
            self._compare(target.read_bytes(), self._clean, "the last process")
        for lock in self._cache.rglob("*.lock"):
            try:
                filelock.FileLock(lock, timeout=0).acquire().lock.release()
            except filelock.Timeout:
                self.problems.append(f"{lock.name} is still held")
        # As if days had passed: what killed runs left is then nobody's.
        for path in (*self._cache.rglob("*"), self._cache):
            os.utime(path, (time.time() - OLD_S,) * 2)
        removed = prune(self._cache, unused_for=1.0)
        self.done["leftovers of killed runs"] = removed.leftovers
        kept = ("digests.json", "digests.json.lock")
        strange = [p for p in self._cache.rglob("*") if p.is_file() and p.name not in kept]
        strange += [p for p in self._temporary.iterdir() if not p.name.startswith(FOREIGN)]
        strange += [p for p in self._project.iterdir() if p.suffix == ".part"]
        self.problems += [f"{path.name} is left behind" for path in strange]


if __name__ == "__main__":
    sys.exit(main())
