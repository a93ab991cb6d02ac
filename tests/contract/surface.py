"""What is used from outside this repository, as plain data: options, commands, formats, names.

``python tests/contract/surface.py`` writes it to ``surface.json`` after a change that is meant.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import pytest_visualbias
from pytest_visualbias import plugin, statistics
from pytest_visualbias.cli import main
from pytest_visualbias.models import encoder
from pytest_visualbias.reports.document import report_schema
from pytest_visualbias.spec.schema import BiasSpec

RECORDED = Path(__file__).with_name("surface.json")
# Words for people, which may change.
PROSE = frozenset({"description", "title", "$comment"})


def surface() -> dict[str, Any]:
    """Return everything that is promised."""
    return {
        "options": _options(),
        "commands": _commands(main._parser()),
        "spec": _plain(BiasSpec.model_json_schema()),
        "report": _plain(report_schema()),
        "names": {
            "pytest_visualbias": _names(pytest_visualbias, pytest_visualbias.__all__),
            "statistics": _names(statistics, statistics.__all__),
            "encoder": _names(encoder, encoder.__all__),
        },
        "entry_points": _entry_points(),
        "exit_codes": {code.name: int(code) for code in pytest.ExitCode},
    }


class _Recorder:
    """A parser of pytest that keeps what is declared."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.ini: dict[str, str] = {}

    def getgroup(self, *_: str) -> _Recorder:
        return self

    def addoption(self, name: str, *, action: str = "store", **_: object) -> None:
        self.options[name] = action

    def addini(self, name: str, _help: str, type: str = "string", **_: object) -> None:  # noqa: A002 - pytest's name
        self.ini[name] = type


def _options() -> dict[str, Any]:
    recorder = _Recorder()
    plugin.pytest_addoption(recorder)  # type: ignore[arg-type]
    return {"command line": recorder.options, "ini": recorder.ini}


def _commands(parser: argparse.ArgumentParser) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= {name: _commands(child) for name, child in action.choices.items()}
        elif action.help == argparse.SUPPRESS:  # removed: an error that says so
            continue
        elif action.option_strings:
            found |= {name: {"nargs": action.nargs} for name in action.option_strings}
        else:
            found[action.dest] = {"nargs": action.nargs}
    return found


def _plain(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a JSON Schema without prose; a property may be called as prose is."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _plain(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else _plain(value)
        for key, value in schema.items()
        if key not in PROSE
    }


def _names(module: Any, names: list[str]) -> dict[str, Any]:  # noqa: ANN401 - a module
    return {name: _signature(getattr(module, name)) for name in sorted(names)}


def _signature(value: object) -> list[str] | str:
    """Return the parameters of a function or class, with '=' where one may be left out."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return "value"
    if getattr(value, "_is_protocol", False):
        methods = (name for name, member in vars(value).items() if inspect.isfunction(member))
        return sorted(name for name in methods if not name.startswith("_"))
    return [
        f"{name}=" if parameter.default is not parameter.empty else name
        for name, parameter in inspect.signature(value).parameters.items()
        if not name.startswith("_")
    ]


def _entry_points() -> list[str]:
    points = importlib.metadata.distribution("pytest-visualbias").entry_points
    return sorted(f"{point.group}: {point.name}" for point in points)


def as_json(value: dict[str, Any]) -> str:
    """Return the text of the recorded file."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    RECORDED.write_text(as_json(surface()), encoding="utf-8")
