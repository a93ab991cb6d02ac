"""What a server says: about a file, about the rest of one, and why there is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_visualbias.stimuli.fetching.outcomes import (
    MANIFEST,
    GoneError,
    RefusedError,
    TroubleError,
)
from pytest_visualbias.stimuli.fetching.store import Begun

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.error import HTTPError

    from pytest_visualbias.errors import FetchError

PARTIAL = 206
UNSATISFIABLE = 416
GONE = (404, 410)
PASSING = (408, 425, 429)  # and all of 500 to 599
SERVER = range(500, 600)
RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
LATER = "try again later"


def announced(response: HTTPResponse, url: str) -> Begun:
    """Return what a response says about the whole file."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError("came compressed, unasked", MANIFEST)
    tag = response.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else None
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() and response.status != PARTIAL else None
    if found := RANGE.fullmatch(response.headers.get("Content-Range", "")):
        total = int(found[3]) if found[3] != "*" else None
    return Begun(
        url=url,
        validator=strong or response.headers.get("Last-Modified"),
        total=total,
        came_from=response.url,
    )


def continues(response: HTTPResponse, said: Begun, begun: Begun | None, offset: int) -> bool:
    """Whether a part that came goes on where the bytes that are there end."""
    found = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if begun is None or found is None or int(found[1]) != offset:
        return False
    known = (said.validator or begun.validator, said.total or begun.total)
    return known == (begun.validator, begun.total)


def refusal(error: HTTPError) -> FetchError:
    """Return what an answer other than the file means."""
    what = f"the server says {error.code} {error.reason}"
    if error.code in GONE:
        return GoneError(what, MANIFEST)
    if error.code in PASSING or error.code in SERVER:
        wait = error.headers.get("Retry-After", "")
        return TroubleError(what, LATER, wait=float(wait) if wait.isdecimal() else None)
    if error.code == UNSATISFIABLE:
        return TroubleError(what, LATER)
    return RefusedError(what, MANIFEST)


def unreached(reason: object) -> TroubleError:
    """Return what no answer at all means."""
    advice = "check the network, or give --proxy or --mirror"
    return TroubleError(f"the server cannot be reached ({named(reason)})", advice, reached=False)


def named(reason: object) -> str:
    """Return what went wrong, in the words of the system where it has any."""
    if isinstance(reason, TimeoutError):
        return "timed out"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__
