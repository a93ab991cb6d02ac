"""Plan which files `visualbias init` writes, and which notes it prints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.cli.starting.first_spec import MODELINE, SCHEMA, SPEC, first_spec
from pytest_visualbias.cli.starting.workflow import (
    INCLUDED,
    INCLUDES,
    WORKFLOW,
    github,
    gitlab,
    includes,
)
from pytest_visualbias.spec.schema import BiasSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.cli.starting.choosing import Selection
    from pytest_visualbias.cli.starting.looking import Repository

PYTEST = "pytest.ini"
FORGES = {"github": "GitHub", "gitlab": "GitLab", None: "none recognised"}
INI = """\
# Written by 'visualbias init': makes this folder the root of pytest, from wherever below it.
# Bias specs stay opt-in: 'pytest --visualbias' gates, 'pytest' alone does not look at them.
[pytest]
# Without the plugin (-p no:visualbias) there is no gate: pytest refuses to run then.
required_plugins = pytest-visualbias
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Files to write, and notes to print."""

    files: dict[str, str]
    notes: tuple[str, ...]
    written: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def plan(
    repository: Repository,
    chosen: Selection,
    *,
    forge: Literal["github", "gitlab", "none"],
    schema: bool,
) -> Plan:
    """Return the files and notes for a repository."""
    files = {SPEC: first_spec(chosen, has_schema=schema)}
    if schema:
        files[SCHEMA] = json.dumps(BiasSpec.model_json_schema(), indent=2) + "\n"
    if not repository.configured_by:
        files[PYTEST] = INI
    notes = []
    if repository.configured_by:
        notes.append(_configured(repository))
    if forge == "github":
        files[WORKFLOW] = github(repository, chosen)
    elif forge == "gitlab":
        files[INCLUDED] = gitlab(repository)
        if not (repository.folder / INCLUDES).exists():
            files[INCLUDES] = includes()
        elif not repository.is_included:
            notes.append(f"to do in {INCLUDES}: add '- local: {INCLUDED}' under 'include:'")
    else:
        notes.append("no workflow is written; 'visualbias init --ci github' or '--ci gitlab' does")
    written = [f"to do in {SPEC}: {chosen.needs}"] if chosen.needs else []
    kept = [f"for editors: let {SPEC} begin with the line '{MODELINE}'"] if schema else []
    return Plan(files=files, notes=tuple(notes), written=tuple(written), kept=tuple(kept))


def _configured(repository: Repository) -> str:
    name = repository.configured_by
    line = "visualbias_strict = true"
    return (
        f"{name} configures pytest and stays as it is. 'required_plugins = pytest-visualbias' "
        f"there lets pytest refuse to run without the plugin, and '{line}' fails what is "
        "inconclusive on every machine, as the workflow does"
    )


def summary_lines(repository: Repository, chosen: Selection) -> Iterator[str]:
    """Yield what was detected in the repository, one line each."""
    place = f"in {repository.needs_timm}" if repository.needs_timm else "not among the requirements"
    yield f"timm: {place}"
    count = len(repository.checkpoints)
    files = "no file" if not count else "1 file" if count == 1 else f"{count} files"
    yield f"checkpoints: {files}"
    for entry in chosen.entries:
        yield f"model '{entry.name}': {entry.text}"
        yield f"  {entry.why}"
    yield from (f"left out: {why}" for why in chosen.left_out)
    yield f"pytest: configured by {repository.configured_by or 'nothing'}"
    yield f"CI: {FORGES[repository.forge]}"
    if repository.is_cut:
        yield "the repository is large: not all of it was looked at"
