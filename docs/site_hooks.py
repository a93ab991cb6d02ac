"""What the site shows beside the pages: tables and schemas made from the code, when it is built.

MkDocs calls the functions named ``on_...``.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

from pytest_visualbias.plugin import pytest_addoption
from pytest_visualbias.reports.document import report_schema
from pytest_visualbias.spec.schema import BiasSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


@dataclass(kw_only=True, slots=True)
class Recorder:
    """Stands in for pytest's parser and remembers what the plugin declares."""

    options: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)

    def getgroup(self, _name: str, _description: str = "") -> Recorder:
        """Return the group of options: all are in this one."""
        return self

    def addoption(self, name: str, **attributes: Any) -> None:  # noqa: ANN401 - pytest's
        """Remember an option."""
        self.options.append((name, attributes))

    def addini(self, name: str, text: str, **_attributes: Any) -> None:  # noqa: ANN401
        """Remember an ini key."""
        self.keys[name] = text


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the JSON Schemas."""
    for name, schema in (("spec", BiasSpec.model_json_schema()), ("report", report_schema())):
        text = json.dumps(schema, indent=2)
        uri = f"reference/{name}.schema.json"
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables in, and name files of the repository that the site does not have."""
    _ = config, files
    for name, table in TABLES.items():
        marker = f"<!-- {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, table())
    here = posixpath.dirname(page.file.src_uri)
    return LINK.sub(lambda found: _inside(found, here), markdown)


def options_table() -> str:
    """Return a table of the plugin's options, and of its ini keys without an option."""
    recorder = Recorder()
    pytest_addoption(recorder)  # type: ignore[arg-type]
    rows, mentioned = [], set()
    for name, attributes in recorder.options:
        key = name.removeprefix("--").replace("-", "_")
        shown = f"{name}={attributes['metavar']}" if "metavar" in attributes else name
        has_key = key in recorder.keys
        mentioned |= {key} if has_key else set()
        rows.append((_code(shown), _code(key) if has_key else "", _cell(attributes["help"])))
    lone = {key: text for key, text in recorder.keys.items() if key not in mentioned}
    rows += [("", _code(key), _cell(text)) for key, text in lone.items()]
    return _table(("option", "ini key", "meaning"), rows)


def results_table() -> str:
    """Return a table of the keys of a result in the JSON report."""
    properties = report_schema()["$defs"]["ResultRecord"]["properties"]
    rows = [(_code(key), _cell(value.get("description", ""))) for key, value in properties.items()]
    return _table(("key", "meaning"), rows)


TABLES: dict[str, Callable[[], str]] = {"options": options_table, "results": results_table}


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _inside(found: re.Match[str], here: str) -> str:
    """Return a link as it stands, or the path of a file that lies outside of ``docs``."""
    words, path = found[1], posixpath.normpath(posixpath.join("docs", here, found[2]))
    if path.startswith("docs/"):
        return found[0]
    return f"{words} (`{path}` in the repository)"
