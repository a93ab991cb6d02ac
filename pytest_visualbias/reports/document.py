"""The whole report of a run, put together."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from typing import TYPE_CHECKING, Any, get_args

from pytest_visualbias.record import ModelRecord, Report, ResultRecord
from pytest_visualbias.reports.counts import PName, bias_counts
from pytest_visualbias.reports.labels import labelled
from pytest_visualbias.reports.transfer import transfers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["assemble", "environment"]

PACKAGES = (
    "numpy",
    "pillow",
    "pytest",
    "pytest-visualbias",
    "safetensors",
    "scipy",
    "timm",
    "torch",
)


def assemble(
    results: Sequence[ResultRecord],
    models: Sequence[ModelRecord],
    summary: Mapping[str, Any],
    *,
    root: Path,
    settings: Mapping[str, Any],
) -> Report:
    """Return the report of a run.

    Parameters
    ----------
    results, models : sequence
        In the order to keep.
    summary : mapping
        What pytest knows of the run: exit status, deselected items, errors of collection.
    root : Path
        Of the repository, for its commit.
    settings : mapping
        Device, precision and the like.
    """
    counts: dict[str, int] = {}
    for result in results:
        counts[result.outcome] = counts.get(result.outcome, 0) + 1
    return Report(
        tool={
            "name": "pytest-visualbias",
            "version": importlib.metadata.version("pytest-visualbias"),
        },
        environment={**environment(root), **settings},
        models=list(models),
        results=list(results),
        summary={
            "outcomes": counts,
            "ran": len(results),
            "labels": [one.plain() for one in labelled(results)],
            "transfer": [one.plain() for one in transfers(results)],
            "bias_counts": [
                one.plain() for p in get_args(PName) for one in bias_counts(results, p=p)
            ],
            **summary,
        },
    )


def environment(root: Path) -> dict[str, Any]:
    """Return what a result may depend on besides models and images."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "git": {"commit": _git(root, "rev-parse", "HEAD"), "dirty": _is_dirty(root)},
        "ci": os.environ.get("CI", "").lower() not in ("", "0", "false"),
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", *arguments],  # noqa: S607 - the user's git, found as their shell finds it
            cwd=root,
            capture_output=True,
            text=True,
            errors="replace",  # names of files need not be UTF-8
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _is_dirty(root: Path) -> bool | None:
    status = _git(root, "status", "--porcelain")
    return None if status is None else bool(status)
