"""Fixtures for every room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """Folder of published data: never committed, so absent in most checkouts."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VISUALBIAS_REFERENCE_DATA", default))
    if folder.is_dir():
        return folder
    message = f"no reference data at {folder}; set VISUALBIAS_REFERENCE_DATA"
    if os.environ.get("VISUALBIAS_REQUIRE_REFERENCE") == "1":
        pytest.fail(message)
    pytest.skip(message)
