"""Write a CI job for GitHub Actions and for GitLab."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from pytest_visualbias.reports.files import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_visualbias.cli.starting.choosing import Selection
    from pytest_visualbias.cli.starting.looking import Repository

WORKFLOW = ".github/workflows/visualbias.yml"
INCLUDED = ".gitlab/visualbias.gitlab-ci.yml"
INCLUDES = ".gitlab-ci.yml"
CACHE = ".visualbias"
REPORT = "visualbias-report"
WANTED = ("json", "md", "html")
PLAIN = re.compile(r"[\w./-]+", re.ASCII)
GITHUB = """\
# Written by 'visualbias init': gates every change on the bias specs of this repository.
name: bias

on:
  push:
    branches: [main, master]
  pull_request:

permissions:
  contents: read

jobs:
  visualbias:
    runs-on: ubuntu-latest
    env:
      UV_TORCH_BACKEND: cpu    # the runner has no graphics processor
    steps:
      - uses: actions/checkout@v4
        with: {{ lfs: true }}
      # A checkpoint that is not in the repository has to be brought here, by a step of yours.
      - uses: astral-sh/setup-uv@v6
        with: {{ python-version: "3.12", activate-environment: true }}
      - run: uv pip install {install}
      # What is cached is found by the digests of weights and images: whatever is restored is either
      # right or not used. The key only says when there may be something new to save.
      - id: embeddings
        uses: actions/cache/restore@v4
        with:
          path: {cache}
          key: visualbias-${{{{ runner.os }}}}-${{{{ hashFiles({hashed}) }}}}
          restore-keys: visualbias-${{{{ runner.os }}}}-
      - run: visualbias check --cache {cache} bias_specs/*.bias.yaml
      # The report joins the summary of this step by itself. Without one, nothing was gated.
      - run: >-
          pytest --visualbias --visualbias-strict --visualbias-cache={cache}
          {reports}
          bias_specs && test -s {report}.json
      - if: always()
        uses: actions/upload-artifact@v4
        with: {{ name: {report}, path: "{report}.*", if-no-files-found: ignore }}
      # A gate that fails has embedded, too.
      - if: always() && steps.embeddings.outputs.cache-hit != 'true'
        uses: actions/cache/save@v4
        with:
          path: {cache}
          key: ${{{{ steps.embeddings.outputs.cache-primary-key }}}}
"""
GITLAB = """\
# Written by 'visualbias init': gates every change on the bias specs of this repository.
visualbias:
  image: python:3.12
  variables:
    UV_TORCH_BACKEND: cpu    # without a runner that has a graphics processor
  # What is cached is found by the digests of weights and images: whatever is there is either right
  # or not used. A gate that fails has embedded, too.
  cache:
    key: visualbias
    paths: [{cache}/]
    when: always
  # A checkpoint that is not in the repository has to be brought here, by a line of yours.
  script:
    - pip install uv
    - uv pip install --system {install}
    - visualbias check --cache {cache} bias_specs/*.bias.yaml
    - >-
      pytest --visualbias --visualbias-strict --visualbias-cache={cache}
      {reports}
      --junit-xml={report}.xml bias_specs && test -s {report}.json
  artifacts:
    when: always
    paths: ["{report}.*"]
    reports:
      junit: {report}.xml
"""


def github(repository: Repository, chosen: Selection) -> str:
    """Return a GitHub Actions workflow."""
    paths = ["bias_specs/**", *_folders(checkpoint.path for checkpoint in chosen.checkpoints)]
    return GITHUB.format(
        install=_install(repository),
        cache=CACHE,
        hashed=", ".join(f"'{path}'" for path in paths),
        reports=_reports(),
        report=REPORT,
    )


def gitlab(repository: Repository) -> str:
    """Return a file for GitLab's ``include``."""
    return GITLAB.format(
        install=_install(repository), cache=CACHE, reports=_reports(), report=REPORT
    )


def includes() -> str:
    """Return the lines that include the GitLab file."""
    return f"include:\n  - local: {INCLUDED}\n"


def _install(repository: Repository) -> str:
    package = {"requirements.txt": "-r requirements.txt", "": "timm"}.get(
        repository.installed_by, "."
    )
    return f"{package} pytest-visualbias"


def _reports() -> str:
    known = [name for name in WANTED if name in FORMATS]
    return " ".join(f"--visualbias-{name}={REPORT}.{name}" for name in known)


def _folders(paths: Iterable[str]) -> list[str]:
    """Return glob patterns for the folders of checkpoints with plain names."""
    patterns: dict[str, None] = {}
    for path in paths:
        folder = posixpath.dirname(path)
        pattern = f"{folder}/*" if folder else f"*{posixpath.splitext(path)[1]}"
        if PLAIN.fullmatch(pattern.replace("*", "x")):
            patterns[pattern] = None
    return [*patterns]
