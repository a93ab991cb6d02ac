"""Options, commands, formats and public names are as recorded: they grow, they do not change."""

from __future__ import annotations

import json

import pytest

from tests.contract.surface import RECORDED, as_json, surface


@pytest.mark.parametrize(
    "part", ["options", "commands", "spec", "report", "names", "entry_points", "exit_codes"]
)
def test_what_is_used_from_outside_is_as_recorded(part: str) -> None:
    """A change that is meant is recorded by ``python tests/contract/surface.py``."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert json.loads(as_json(surface()))[part] == recorded[part]
