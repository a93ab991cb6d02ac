"""One file over the network: asked for, continued where it broke off, and verified."""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias import __version__
from pytest_visualbias.errors import FetchError
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli.byte_sizes import format_size
from pytest_visualbias.stimuli.fetching.content import image_format
from pytest_visualbias.stimuli.fetching.outcomes import (
    MANIFEST,
    Received,
    RefusedError,
    TroubleError,
)
from pytest_visualbias.stimuli.fetching.responses import (
    LATER,
    PARTIAL,
    UNSATISFIABLE,
    announced,
    continues,
    named,
    refusal,
    unreached,
)

if TYPE_CHECKING:
    import threading

    from pytest_visualbias.stimuli.fetching.outcomes import Wanted
    from pytest_visualbias.stimuli.fetching.store import Begun, Part

CHUNK = 1 << 16
LARGEST = 200_000_000  # a stimulus is a photograph; what never ends must not fill the disk
SLOWEST = 1000.0  # bytes in a second, below which a transfer counts as stalled
PAUSE = 0.5  # seconds before asking again; doubled every time
LONGEST_WAIT = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Manners:
    """How patient to be with servers."""

    timeout: float = 30.0
    retries: int = 4


class Transfer:
    """Fetches files; several threads may use it at once."""

    def __init__(
        self, opener: urllib.request.OpenerDirector, manners: Manners, stop: threading.Event
    ) -> None:
        self._opener = opener
        self._manners = manners
        self._stop = stop

    def fetch(self, wanted: Wanted, part: Part) -> Received:
        """Bring a file into `part`, asking again where that may help."""
        for attempt in range(self._manners.retries + 1):
            try:
                return self._attempt(wanted, part)
            except TroubleError as error:
                if attempt == self._manners.retries or self._stop.is_set():
                    raise
                asked = error.wait if error.wait is not None else 0.0
                own = PAUSE * 2**attempt
                self._stop.wait(min(max(asked, own), LONGEST_WAIT))
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def _attempt(self, wanted: Wanted, part: Part) -> Received:
        offset = self._offset(wanted, part)
        begun = part.begun(wanted.url) if offset else None
        if begun is None or begun.total != offset:
            begun = self._bring(wanted, part, begun, offset)
        return self._verified(wanted, part, begun, was_resumed=offset > 0)

    def _offset(self, wanted: Wanted, part: Part) -> int:
        """Return how many of the bytes that are there can be kept."""
        begun = part.begun(wanted.url)
        # Without either, nothing would tell that the rest is of another version of the file.
        is_safe = begun is not None and (begun.validator or wanted.sha256)
        return part.size if is_safe else 0

    def _bring(self, wanted: Wanted, part: Part, begun: Begun | None, offset: int) -> Begun:
        request = urllib.request.Request(wanted.url)  # noqa: S310 - the opener has http alone
        request.add_header("User-Agent", f"pytest-visualbias/{__version__}")
        if offset and begun is not None:
            request.add_header("Range", f"bytes={offset}-")
            if begun.validator:
                request.add_header("If-Range", begun.validator)
        with self._open(request, part) as response:
            said = announced(response, wanted.url)
            is_rest = response.status == PARTIAL and offset > 0
            if is_rest and not continues(response, said, begun, offset):
                part.discard()
                raise TroubleError("came in parts that do not fit", LATER)
            if response.status == PARTIAL and not is_rest:
                raise RefusedError("came in part only, unasked", MANIFEST)
            if not is_rest:
                begun = said
                part.begin(begun)
            self._copy(response, wanted, part, begun or said)
        return begun or said

    def _open(self, request: urllib.request.Request, part: Part) -> http.client.HTTPResponse:
        try:
            response: http.client.HTTPResponse = self._opener.open(
                request, timeout=self._manners.timeout
            )
        except urllib.error.HTTPError as error:
            if error.code == UNSATISFIABLE:
                part.discard()
            with error:
                raise refusal(error) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise RefusedError(
                    f"the certificate of the server is not valid ({error.reason.verify_message})",
                    "mend it, or the certificates that this machine trusts",
                ) from None
            raise unreached(error.reason) from None
        except (OSError, http.client.HTTPException) as error:
            raise unreached(error) from None
        return response

    def _copy(
        self, response: http.client.HTTPResponse, wanted: Wanted, part: Part, begun: Begun
    ) -> None:
        """Add what comes to the bytes that are there."""
        most = wanted.entry.size or LARGEST
        if begun.total is not None and begun.total > most:
            raise RefusedError(_too_large(begun.total, wanted.entry.size), MANIFEST)
        pace, size = _Pace(self._manners.timeout), part.size
        with part.appended() as stream:
            while size <= most and (chunk := self._read(response)):
                if self._stop.is_set():
                    raise TroubleError("was interrupted", LATER)
                try:
                    stream.write(chunk)
                    stream.flush()
                except OSError as error:
                    raise FetchError(
                        f"{part.data}: cannot be written ({error.strerror})", "free space"
                    ) from None
                size += len(chunk)
                pace.tell(len(chunk))
        if size > most:
            part.discard()
            raise RefusedError(_too_large(size, wanted.entry.size), MANIFEST)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return bytes(response.read1(CHUNK))
        except TimeoutError:
            raise TroubleError(f"stalled for {self._manners.timeout:g} s", LATER) from None
        except (OSError, http.client.HTTPException) as error:
            raise TroubleError(f"broke off ({named(error)})", LATER) from None

    def _verified(self, wanted: Wanted, part: Part, begun: Begun, *, was_resumed: bool) -> Received:
        size = part.size
        if begun.total is not None and size < begun.total:
            raise TroubleError(f"broke off after {size} of {begun.total} bytes", LATER)
        try:
            digest, kind = _examined(wanted, part, begun.total)
        except RefusedError as error:
            part.discard()
            if was_resumed or begun.total is None:
                # Its halves may be of two versions, or nothing said that it broke off.
                raise TroubleError(error.problem, error.remedy) from None
            raise
        return Received(
            wanted=wanted, came_from=begun.came_from, sha256=digest, size=size, kind=kind
        )


def _examined(wanted: Wanted, part: Part, announced_size: int | None) -> tuple[str, str]:
    """Return the sha256 and the format of a file that came, or raise why it is not taken."""
    size = wanted.entry.size or announced_size
    if size is not None and part.size != size:
        raise RefusedError(f"has {part.size} bytes, not {size}", MANIFEST)
    digest = digest_of_file(part.data)
    if wanted.sha256 not in (None, digest):
        raise RefusedError(*wanted.mismatch(digest))
    return digest, image_format(part.data)


class _Pace:
    """Raises where next to nothing comes, which no timeout of a socket sees."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._since, self._size = time.monotonic(), 0

    def tell(self, size: int) -> None:
        self._size += size
        passed = time.monotonic() - self._since
        if passed < self._window:
            return
        if self._size < SLOWEST * passed:
            raise TroubleError(f"came with {self._size / passed:.0f} bytes a second", LATER)
        self._since, self._size = time.monotonic(), 0


def _too_large(size: int, wanted: int | None) -> str:
    if wanted is not None:
        return f"has {size} bytes or more, not {wanted}"
    return f"has more than {format_size(LARGEST)}, too much for an image"
