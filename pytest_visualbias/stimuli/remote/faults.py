"""Faults of stores, told without the words of their libraries."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StorageError
from pytest_visualbias.stimuli.remote.credentials import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREACHED = (
    "Connect",
    "Endpoint",
    "Timeout",
    "HTTPClient",
    "ServerDisconnected",
    "Gaierror",
    "DNS",
)
ENTRY = ("Credentials", "Token")
CODE = re.compile(r"[A-Za-z0-9]{1,40}")
LOCAL_FAULTS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}

# What asks a store may be either of them.
INSTEAD = ", or stay offline (pytest --visualbias-offline, visualbias embed --offline)"
DEPTH = 5

# Answers of HTTP: the first that is a fault, that nothing is there, that somebody may not.
FIRST_FAULT, GONE, REFUSED = 400, (404, 410), (401, 403, 407)


class UnfitError(OSError):
    """What comes from a store is not what it said; the text is ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What is known of a fault: a library may have raised another one in its place."""

    error: BaseException
    lost: BaseException | None
    code: str
    status: int

    @classmethod
    def of(cls, error: BaseException) -> _Seen:
        chain = [*_chain(error)]
        return cls(
            error=error,
            lost=next(filter(_is_lost, chain), None),
            code=next(filter(None, map(_code, chain)), ""),
            status=next(filter(None, map(_status, chain)), 0),
        )

    @property
    def is_missing(self) -> bool:
        """Whether all that is wrong is that nothing is there: not that nobody could look."""
        is_said = isinstance(self.error, FileNotFoundError) and self.lost is None
        is_refused = self.status >= FIRST_FAULT and self.status not in GONE
        return is_said and not is_refused and not self.code.startswith("NoSuchBucket")

    @property
    def name(self) -> str:
        """What stands for the words of the library."""
        status = f"HTTP {self.status}" if self.status else ""
        return self.code or status or type(self.lost or self.error).__name__


def fault_of(error: BaseException, shown: str, what: str) -> StorageError:
    """Return a fault as a sentence in which no text of a library stands."""
    seen = _Seen.of(error)
    reason, remedy = _kind(seen, what, shown.partition("://")[0].lower())
    problem = f"{shown} cannot be {what} ({reason})"
    return StorageError(problem, remedy, reason=f"{shown}: {reason}", is_missing=seen.is_missing)


def _kind(seen: _Seen, what: str, scheme: str) -> tuple[str, str]:
    """Return what is wrong, and what to do: of what holds, the first."""
    error, name = seen.error, seen.name
    full = LOCAL_FAULTS.get(getattr(error, "errno", None) or 0, "")
    is_refused = isinstance(error, PermissionError) or seen.status in REFUSED
    instead = "" if what == "written" else INSTEAD
    kinds = (
        (isinstance(error, UnfitError), str(error), "free space, or put it there anew"),
        (bool(full), full, "free space"),
        (seen.is_missing, "nothing is there", "correct the URL"),
        (
            seen.code.startswith("NoSuchBucket"),
            f"there is no such bucket: {name}",
            "correct the URL",
        ),
        (
            _has(name, ENTRY),
            f"no credentials that fit: {name}",
            KEYS.get(scheme, "give them as the store's package says"),
        ),
        (
            # Servers do not tell strangers whether a thing is there.
            isinstance(error, FileNotFoundError) and is_refused,
            f"access is refused, or nothing is there: {name}",
            "check the URL, the credentials and their rights",
        ),
        (is_refused, f"access is refused: {name}", "check the credentials and their rights"),
        (
            seen.lost is not None,
            f"it cannot be reached: {name}",
            f"check the address and the network{instead}",
        ),
        (isinstance(error, NotImplementedError), "such a store cannot do that", "use another"),
        (True, name, "check the URL and the store"),
    )
    return next((reason, remedy) for holds, reason, remedy in kinds if holds)


def _has(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name for word in words)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield a fault and what it was raised for, or in the middle of."""
    seen: BaseException | None = error
    for _ in range(DEPTH):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_lost(error: BaseException) -> bool:
    is_known = isinstance(error, ConnectionError | TimeoutError)
    return is_known or _has(type(error).__name__, UNREACHED)


def _code(error: BaseException) -> str:
    """Return the code that an object store gave a fault, such as ``AccessDenied``."""
    said = getattr(error, "response", None)
    if not isinstance(said, dict):
        return ""
    code = str(said.get("Error", {}).get("Code", ""))
    return code if CODE.fullmatch(code) else ""


def _status(error: BaseException) -> int:
    """Return the status with which a server of HTTP answered, where it did."""
    answer = getattr(error, "response", None)
    found = getattr(error, "status", None) or getattr(answer, "status_code", None)
    return found if isinstance(found, int) else 0
