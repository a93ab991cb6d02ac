"""A concept whose images lie at a URL: its part of a local folder that stands for the URL."""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StorageError
from pytest_visualbias.remote.trees import Part, bring
from pytest_visualbias.remote.urls import Url, is_url
from pytest_visualbias.spec.stimuli import chosen_files, concept_files

if TYPE_CHECKING:
    from pytest_visualbias.remote.mirror import Mirror
    from pytest_visualbias.spec.schema import ConceptFiles

__all__ = ["brought"]


def brought(concept: str | ConceptFiles, root: Path | Url, mirror: Mirror) -> Path:
    """Return the local root of a concept's images, with them below it.

    Parameters
    ----------
    concept : str or ConceptFiles
        Where the spec says they are.
    root : Path or Url
        What its path is relative to; a path is returned as it is.
    mirror : Mirror
        Brings what lies at URLs.

    Raises
    ------
    StorageError
        Where something cannot be had, or is named in a way that URLs have no answer to.
    """
    files = concept_files(concept)
    if is_url(files.path):
        raise StorageError(f"{Url(files.path)} is no path; write URLs as 'stimuli', the root")
    if not isinstance(root, Url):
        return root
    if Path(files.path).is_absolute():
        return mirror.home(root)  # the path is of this machine, whatever the root
    pattern = files.pattern or ""
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise StorageError(f"'{pattern}' leads out of {root / files.path}; correct the pattern")
    part = Part(
        path=files.path,
        names=files.files,
        pattern=pattern,
        chosen=functools.partial(chosen_files, files),
    )
    return bring(mirror, root, part)
