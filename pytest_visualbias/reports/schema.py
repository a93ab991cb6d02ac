"""The JSON Schema of the report, as it is published."""

from __future__ import annotations

from typing import Any

from pytest_visualbias.record import Report
from pytest_visualbias.reports.meanings import MEANINGS

__all__ = ["report_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> dict[str, Any]:
    """Return the schema that every report of this release is valid under."""
    found = Report.model_json_schema(mode="serialization", by_alias=True)
    for name, part in found.get("$defs", {}).items():
        _describe(part, name)
    _describe(found, "Report")
    head = {
        "$schema": DIALECT,
        "title": "Report of pytest-visualbias",
        "description": "A run of pytest --visualbias, as --visualbias-json writes it.",
    }
    return {**head, **{key: value for key, value in found.items() if key not in head}}


def _describe(part: dict[str, Any], name: str) -> None:
    meanings = MEANINGS.get(name, {})
    for key, value in part.get("properties", {}).items():
        if key in meanings:
            value["description"] = meanings[key]
