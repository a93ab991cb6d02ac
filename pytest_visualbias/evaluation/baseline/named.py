"""The recorded results that an option names: there, and one file or folder of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.errors import StorageError, UsageError
from pytest_visualbias.spec.urls import Url

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.stimuli.remote.mirror import Mirror


def named_baseline(named: Path | Url, option: str, mirror: Mirror) -> Path:
    """Return the path that an option names, or a local copy of what lies at a URL."""
    if isinstance(named, Url):
        try:
            return mirror.file(named)
        except StorageError as error:
            raise UsageError(f"{option}: {error}") from None
    if not named.exists():
        raise UsageError(
            f"{option}: {named} does not exist",
            "correct the path, or record it with --visualbias-update",
        )
    return named
