"""URLs of a spec that lack a slash, and would be looked for as paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.remote.urls import miswritten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec

__all__ = ["address_findings"]

# The keys of an entry that may hold one.
KEYS = ("checkpoint", "checkpoints", "path", "adapter")


def address_findings(spec: BiasSpec) -> Iterator[tuple[Path, str]]:
    """Yield the path of and the sentence about every text that is a URL but for a slash.

    Parameters
    ----------
    spec : BiasSpec
        Whose texts stand for paths.
    """
    if said := miswritten(spec.stimuli or ""):
        yield ("stimuli",), said
    for name, entry in spec.models.items():
        for key in KEYS:
            found = getattr(entry, key, None)
            for text in (found,) if isinstance(found, str) else found or ():
                if said := miswritten(text):
                    yield ("models", name, key), said
