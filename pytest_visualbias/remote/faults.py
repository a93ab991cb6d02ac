"""Faults of stores, told without the words of their libraries.

What a library says of its faults may hold keys and signatures. So none of it is repeated: a fault
is told by its kind, by the name of its class and by the code that an object store gives it.
"""

from __future__ import annotations

import errno
import re

from pytest_visualbias.errors import StorageError

__all__ = ["UnfitError", "fault_of"]

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
DEPTH = 5


class UnfitError(OSError):
    """What comes from a store is not what it said; the text is ours."""


def fault_of(error: BaseException, shown: str, what: str) -> StorageError:
    """Return a fault as a sentence in which no text of a library stands.

    Parameters
    ----------
    error : BaseException
        Of whatever library.
    shown : str
        The URL, as shown to people.
    what : str
        What cannot be done with it, as a participle.
    """
    code = _code(error)
    is_missing = isinstance(error, FileNotFoundError) and not code.startswith("NoSuchBucket")
    reason, remedy = _kind(error, code or type(error).__name__, is_missing=is_missing)
    sentence = f"{shown} cannot be {what} ({reason}); {remedy}"
    return StorageError(sentence, reason=f"{shown}: {reason}", is_missing=is_missing)


def _kind(error: BaseException, name: str, *, is_missing: bool) -> tuple[str, str]:
    """Return what is wrong, and what to do: of what holds, the first."""
    full = LOCAL_FAULTS.get(getattr(error, "errno", None) or 0, "")
    is_lost = isinstance(error, ConnectionError | TimeoutError) or _has(name, UNREACHED)
    kinds = (
        (isinstance(error, UnfitError), str(error), "free space, or put it there anew"),
        (bool(full), full, "free space"),
        (is_missing, "nothing is there", "correct the URL"),
        (
            isinstance(error, FileNotFoundError),
            f"there is no such bucket: {name}",
            "correct the URL",
        ),
        (
            _has(name, ENTRY),
            f"no credentials that fit: {name}",
            "give them as the store's package says",
        ),
        (
            isinstance(error, PermissionError),
            f"access is refused: {name}",
            "check the credentials and their rights",
        ),
        (is_lost, f"it cannot be reached: {name}", "check the address and the network"),
        (isinstance(error, NotImplementedError), "such a store cannot do that", "use another"),
        (True, name, "check the URL and the store"),
    )
    return next((reason, remedy) for holds, reason, remedy in kinds if holds)


def _has(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name for word in words)


def _code(error: BaseException) -> str:
    """Return the code that an object store gave a fault, such as ``AccessDenied``."""
    seen: BaseException | None = error
    for _ in range(DEPTH):
        if seen is None:
            break
        said = getattr(seen, "response", None)
        if isinstance(said, dict):
            code = str(said.get("Error", {}).get("Code", ""))
            return code if CODE.fullmatch(code) else ""
        seen = seen.__cause__ or seen.__context__
    return ""
