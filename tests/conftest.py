"""Fixtures for every room."""

from __future__ import annotations

import datetime as dt
import os
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

NOW = dt.datetime(2026, 9, 1, 12, tzinfo=dt.timezone.utc)


def pytest_configure() -> None:
    """Let idle threads of torch sleep: spinning, they take the processor from other tests.

    What is set here holds for the programs that tests start, too.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session", autouse=True)
def fixed_day() -> Iterator[None]:
    """Run every test at one moment: no waiver of a test ends one day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_visualbias.evaluation.settings.now", lambda: NOW)
        yield


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
