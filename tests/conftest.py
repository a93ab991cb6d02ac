"""Fixtures for every room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Let idle threads of torch sleep: spinning, they take the processor from other tests.

    What is set here holds for the programs that tests start, too.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


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
