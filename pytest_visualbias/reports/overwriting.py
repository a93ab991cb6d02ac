"""Which files a report may not take the place of: what a run reads, and what is no report."""

from __future__ import annotations

import os
from pathlib import Path

from pytest_visualbias.baseline.files import SUFFIXES, is_report
from pytest_visualbias.remote.urls import Url
from pytest_visualbias.spec.stimuli import IMAGE_SUFFIXES

__all__ = ["followed", "objection"]

# Specs, code, settings, weights and vectors: no report has such a name.
FOREIGN = frozenset(
    {".bin", ".cfg", ".ckpt", ".ini", ".npy", ".npz", ".onnx", ".pt", ".pth", ".py"}
    | {".safetensors", ".tar", ".toml", ".yaml", ".yml", ".zip"}
)


def objection(kind: str, path: Path | Url) -> str | None:
    """Return why a report must not go to a path, if it must not; nothing is written.

    A path after a space is easily one that was meant for pytest, and what stood there is gone.

    Parameters
    ----------
    kind : str
        Of `pytest_visualbias.reports.files.FORMATS`.
    path : Path or Url
        Where it is to go; what is at a URL is not looked at.
    """
    for place in dict.fromkeys([path, followed(path)]):
        if place.name.lower().endswith(SUFFIXES):
            return f"{place} has the name of a spec; name another file"
        suffix = place.suffix.lower()
        if suffix in FOREIGN or suffix in IMAGE_SUFFIXES:
            return f"{place} has the name of no report ({suffix}); name another file"
    if isinstance(path, Url):
        return None
    if kind == "json" and path.is_file() and path.stat().st_size and not is_report(path):
        return f"{path} is there and is no report of a run; move it away, or name another file"
    return None


def followed(path: Path | Url) -> Path | Url:
    """Return where a path leads; a link is written through, and a URL leads nowhere else."""
    # Unlike Path.resolve, this bears a link to itself.
    return path if isinstance(path, Url) else Path(os.path.realpath(path))
