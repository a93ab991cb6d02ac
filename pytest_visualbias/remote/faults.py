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
    """Return what is wrong, and what to do."""
    if isinstance(error, UnfitError):
        return str(error), "free space, or put it there anew"
    if isinstance(error, OSError) and error.errno in LOCAL_FAULTS:
        return LOCAL_FAULTS[error.errno], "free space"
    if is_missing:
        return "nothing is there", "correct the URL"
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket: {name}", "correct the URL"
    if any(word in name for word in ENTRY):
        return f"no credentials that fit: {name}", "give them as the store's package says"
    if isinstance(error, PermissionError):
        return f"access is refused: {name}", "check the credentials and their rights"
    if isinstance(error, ConnectionError | TimeoutError) or any(one in name for one in UNREACHED):
        return f"it cannot be reached: {name}", "check the address and the network"
    if isinstance(error, NotImplementedError):
        return "such a store cannot do that", "use another"
    return name, "check the URL and the store"


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
