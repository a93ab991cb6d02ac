"""A concept whose images lie at a URL: its part of a local folder that stands for the URL."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StimulusError, StorageError
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
    if absolute := next((one for one in files.files or () if Path(one).is_absolute()), None):
        raise StorageError(f"'{absolute}' does not lie below {root}; correct 'files'")
    chosen = functools.partial(_chosen, files)
    part = Part(path=files.path, names=files.files, pattern=pattern, chosen=chosen)
    return bring(mirror, root, part)


def _chosen(files: ConceptFiles, folder: Path) -> list[Path]:
    # What is wrong with a pattern or a folder is said when the set is resolved.
    with contextlib.suppress(NotImplementedError, StimulusError, ValueError):
        return chosen_files(files, folder)
    return []
