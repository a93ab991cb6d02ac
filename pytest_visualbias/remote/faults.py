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
    kind = code or type(error).__name__
    is_missing = isinstance(error, FileNotFoundError) and not code.startswith("NoSuchBucket")
    if isinstance(error, UnfitError):
        reason, remedy = str(error), "free space, or put it there anew"
    elif isinstance(error, OSError) and error.errno in LOCAL_FAULTS:
        reason, remedy = LOCAL_FAULTS[error.errno], "free space"
    elif is_missing:
        reason, remedy = "nothing is there", "correct the URL"
    elif isinstance(error, FileNotFoundError):
        reason, remedy = f"there is no such bucket: {kind}", "correct the URL"
    elif "Credentials" in kind or "Token" in kind:
        reason, remedy = f"no credentials that fit: {kind}", "give them as the store's package says"
    elif isinstance(error, PermissionError):
        reason, remedy = f"access is refused: {kind}", "check the credentials and their rights"
    elif isinstance(error, ConnectionError | TimeoutError) or any(w in kind for w in UNREACHED):
        reason, remedy = f"it cannot be reached: {kind}", "check the address and the network"
    elif isinstance(error, NotImplementedError):
        reason, remedy = "such a store cannot do that", "use another"
    else:
        reason, remedy = kind, "check the URL and the store"
    sentence = f"{shown} cannot be {what} ({reason}); {remedy}"
    return StorageError(sentence, reason=f"{shown}: {reason}", is_missing=is_missing)


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
