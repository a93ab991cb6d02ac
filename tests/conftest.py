"""Fixtures for every folder of tests."""

from __future__ import annotations

import datetime as dt
import gc
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Two processes that each compute on all processors wait for each other most of the time. This is
# before torch or numpy is imported, and reaches the processes that tests start, too.
if "PYTEST_XDIST_WORKER" in os.environ:
    SHARE = (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, SHARE)))

HERE = Path(__file__).parent
NIGHTLY = frozenset({"browser", "fuzz", "soak"})
# How long a thread or process may take to end.
PATIENCE = 20.0
# onnxruntime counts its uses in a database there, open until the process ends.
UNCOUNTED = ("/site-packages/", "/.cache/Microsoft/")
NOW = dt.datetime(2026, 9, 1, 12, tzinfo=dt.timezone.utc)


def pytest_configure() -> None:
    """Set what holds for the programs that tests start, too.

    Idle threads of torch sleep: spinning, they take the processor from other tests. Pytest started
    by a test runs its tests in their order, whatever the order here.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("PYTEST_ADDOPTS", "-p no:randomly")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the folders whose tests take long or need a browser; others mark single tests."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] in NIGHTLY:
            item.add_marker("nightly")


@pytest.fixture(scope="session", autouse=True)
def fixed_day() -> Iterator[None]:
    """Run every test at one moment: no waiver of a test ends one day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_visualbias.evaluation.settings.now", lambda: NOW)
        yield


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that were hashed since the list was last cleared; all of them count as old."""
    from pytest_visualbias.spec.hashing import digest_of_file
    from pytest_visualbias.stimuli import digest_cache

    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return digest_of_file(path)

    monkeypatch.setattr(digest_cache, "digest_of_file", noted)
    monkeypatch.setattr(digest_cache, "SETTLED_NS", 0)
    return names


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of published data: never committed, so absent in most checkouts."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    named = os.environ.get("VISUALBIAS_REFERENCE_DATA")
    folder = Path(named or default)
    if folder.is_dir():
        return folder
    message = f"no reference data at {folder}; set VISUALBIAS_REFERENCE_DATA"
    # Where somebody says that the data are there, missing them is no reason to skip.
    if os.environ.get("VISUALBIAS_REQUIRE_REFERENCE") == "1" and (named or default.is_dir()):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_over() -> Iterator[None]:
    """Fail a module whose tests leave a file open, a thread running or a process."""
    before = resources()
    yield
    deadline = time.monotonic() + PATIENCE
    while left := resources() - before:
        gc.collect()
        if time.monotonic() > deadline:
            pytest.fail(f"left over by the tests of this module: {', '.join(sorted(left))}")
        time.sleep(0.01)


def resources() -> set[str]:
    """Return this process's open files, threads and child processes.

    Sockets that are never closed are reported by Python itself; event loops of libraries keep some.
    """
    threads = {f"thread {thread.name}" for thread in threading.enumerate() if not thread.daemon}
    return threads | open_files() | child_processes()


def open_files() -> set[str]:
    """Return the files that are open, but for those of other packages; none outside Linux."""
    names = set()
    for entry in Path("/proc/self/fd").glob("*"):
        try:
            target = str(entry.readlink())
        except OSError:  # closed meanwhile, as the one that lists the folder is
            continue
        if target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/tmp/ray/")):
            names.add(f"file {target}")
    return {name for name in names if not any(part in name for part in UNCOUNTED)}


def child_processes() -> set[str]:
    """Return the numbers of processes that this one has started; none outside Linux."""
    lists = Path("/proc/self/task").glob("*/children")
    return {f"process {number}" for path in lists for number in path.read_text().split()}
