"""How asking for one file can end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import FetchError

if TYPE_CHECKING:
    from pytest_visualbias.stimuli.manifest import ManifestEntry

MANIFEST = "correct the manifest, or try a --mirror"


class RefusedError(FetchError):
    """The file is not taken, and asking again would bring the same."""


class GoneError(RefusedError):
    """The server says that it has no such file."""


class TroubleError(FetchError):
    """Asking again may help."""

    def __init__(
        self, problem: str, remedy: str = "", *, reached: bool = True, wait: float | None = None
    ) -> None:
        super().__init__(problem, remedy)
        self.reached = reached
        self.wait = wait


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A file to ask for."""

    entry: ManifestEntry
    url: str
    first: tuple[str, str] | None = None

    @property
    def sha256(self) -> str | None:
        """What its bytes must have, where that is known."""
        return self.entry.sha256 or (self.first[0] if self.first is not None else None)

    def mismatch(self, digest: str) -> tuple[str, str]:
        """Return why bytes of another digest are refused, and what to do."""
        if self.entry.sha256 is not None or self.first is None:
            return f"has sha256 {digest}, and the manifest says {self.entry.sha256}", MANIFEST
        first, date = self.first
        return (
            f"is other than what was first fetched on {date} (sha256 {digest}, was {first})",
            "find out why, and remove its entry from FETCHED.json to take it",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """A file that came whole and was verified as far as it can be."""

    wanted: Wanted
    came_from: str
    sha256: str
    size: int
    kind: str
