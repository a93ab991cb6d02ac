"""Download one file with pooch, and record it; refuse whatever is not a whole image."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urljoin, urlsplit

from PIL import Image
from pydantic import Field, ValidationError

from pytest_visualbias import __version__
from pytest_visualbias.errors import FetchError, StimulusError
from pytest_visualbias.spec.error_messages import describe_error
from pytest_visualbias.spec.fields import Strict
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli.byte_sizes import format_size
from pytest_visualbias.stimuli.decoding import decode
from pytest_visualbias.stimuli.manifest import LEDGER, SCHEMES

if TYPE_CHECKING:
    import threading

    import requests

    from pytest_visualbias.stimuli.manifest import ManifestEntry

TOOL = f"pytest-visualbias {__version__}"
HEADERS = {"User-Agent": f"pytest-visualbias/{__version__}", "Accept-Encoding": "identity"}
CHUNK = 1 << 16
LARGEST = 200_000_000  # bytes of an image
FIRST_FAULT, FIRST_SERVER_FAULT = 400, 500
GONE = (404, 410)
PASSING = (408, 425, 429)
CORRECT = "correct the manifest, or try a --mirror"
LATER = "try again later"


class GoneError(FetchError):
    """The server does not have the file."""


class UnreachedError(FetchError):
    """The server does not answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadOptions:
    """How to download."""

    proxy: str | None = None
    timeout: float = 30.0
    retries: int = 4
    jobs: int = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A file to download; `first` is its record if it was downloaded before."""

    entry: ManifestEntry
    url: str
    first: Record | None = None

    @property
    def sha256(self) -> str | None:
        """The sha256 that the file must have, if known."""
        return self.entry.sha256 or (self.first.sha256 if self.first is not None else None)

    def mismatch(self) -> FetchError:
        """Return the error about a file of another sha256."""
        if self.entry.sha256 is not None or self.first is None:
            return FetchError("differs from the sha256 in the manifest", CORRECT)
        return FetchError(
            f"differs from the file first fetched on {self.first.date}",
            f"find out why; to accept it, remove its entry from {LEDGER}",
        )


def download_file(
    request: Request, folder: Path, options: DownloadOptions, stop: threading.Event
) -> tuple[Path, Record]:
    """Download and verify a file; return its temporary path and its record."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    name = hashlib.sha256(request.entry.path.encode()).hexdigest()
    files = pooch.create(
        path=folder,
        base_url="",
        registry={name: request.sha256},
        urls={name: request.url},
        retry_if_failed=options.retries,
    )
    transfer = _Transfer(request, options, stop)
    try:
        path = Path(files.fetch(name, downloader=transfer.download))
    except requests.RequestException as error:
        if error.response is not None:
            raise FetchError(_answer(error.response), LATER) from None
        if transfer.response is not None:
            raise FetchError(f"broke off ({_reason(error)})", LATER) from None
        raise UnreachedError(
            f"the server cannot be reached ({_reason(error)})",
            "check the network, or give --proxy or --mirror",
        ) from None
    except ValueError as error:
        # What is whole and an image is refused by pooch for its sha256 only.
        raise (request.mismatch() if transfer.is_sound else FetchError(str(error), LATER)) from None
    return path, new_record(request.entry, path, request.url, transfer.came_from)


def new_record(
    entry: ManifestEntry, path: Path, url: str | None = None, came_from: str | None = None
) -> Record:
    """Return the record of a file; raise if it is not a whole image."""
    checked: Checked = "manifest" if entry.sha256 is not None else "first use"
    return Record(
        url=url,
        came_from=came_from if came_from != url else None,
        sha256=digest_of_file(path),
        size=path.stat().st_size,
        format=_image_format(path),
        date=now(),
        checked=checked,
        tool=TOOL,
    )


def now() -> str:
    """Return the time, in UTC, to the second."""
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _image_format(path: Path) -> str:
    content = path.read_bytes()
    if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise FetchError("is HTML or XML, not an image", CORRECT)
    try:
        decode(path, content)
    except StimulusError as error:
        raise FetchError(error.problem, CORRECT) from None
    with Image.open(path) as image:
        kind = image.format or ""
    return "JPEG" if kind == "MPO" else kind  # JPEG with a second picture, as some cameras write


class _Transfer:
    """One download: pooch's downloader, and the progress bar that pooch updates."""

    total = 0  # set by pooch: the announced size

    def __init__(self, request: Request, options: DownloadOptions, stop: threading.Event) -> None:
        self._request, self._options, self._stop = request, options, stop
        self._limit = request.entry.size or LARGEST
        self._part = Path()
        self.response: requests.Response | None = None
        self.came_from: str | None = None
        self.is_sound = False

    def download(self, url: str, output_file: str, pooch_: object) -> None:
        """Download a file; raise ValueError if the next attempt may bring it whole."""
        import pooch

        self._check_stop()
        self.is_sound = False
        self._part = Path(output_file)
        proxy = self._options.proxy
        http = pooch.HTTPDownloader(
            progressbar=self,
            chunk_size=CHUNK,
            timeout=self._options.timeout,
            headers=HEADERS,
            proxies=None if proxy is None else dict.fromkeys(SCHEMES, proxy),
            hooks={"response": self._check_response},
        )
        try:
            http(url, output_file, pooch_)
        finally:
            if self.response is not None:
                self.response.close()
        self._check_size()
        try:
            _image_format(self._part)
        except FetchError as error:
            if self.total:
                raise
            raise ValueError(error.problem) from None  # nothing said where the file ends
        self.is_sound = True

    def update(self, _: int) -> None:
        """Stop a download that was interrupted, or that brings too much."""
        self._check_stop()
        self._check_limit(self._part.stat().st_size)

    def reset(self) -> None:
        """Do nothing at the end of a file."""

    close = reset

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise FetchError("was interrupted", LATER)

    def _check_size(self) -> None:
        size = self._part.stat().st_size
        if self.total and size != self.total:
            raise ValueError(f"broke off after {size} of {self.total} bytes")
        if self._request.entry.size not in (None, size):
            raise FetchError(f"has {size} bytes, not {self._request.entry.size}", CORRECT)

    def _check_limit(self, size: int) -> None:
        if size > self._limit:
            raise FetchError(f"has more than {format_size(self._limit)}", CORRECT)

    def _check_response(self, response: requests.Response, **_: Any) -> None:  # noqa: ANN401
        """Raise for answers that stay the same however often a server is asked."""
        self.response, self.came_from = response, response.url
        status = response.status_code
        if response.is_redirect:
            self._check_redirect(response.url, urljoin(response.url, response.headers["location"]))
        elif status in GONE:
            raise GoneError(_answer(response), CORRECT)
        elif FIRST_FAULT <= status < FIRST_SERVER_FAULT and status not in PASSING:
            raise FetchError(_answer(response), CORRECT)
        elif response.headers.get("Content-Encoding", "identity") != "identity":
            raise FetchError("is compressed, which was not asked for", CORRECT)
        length = response.headers.get("Content-Length", "")
        self._check_limit(int(length) if length.isdecimal() else 0)

    def _check_redirect(self, old: str, new: str) -> None:
        import requests.utils

        schemes = urlsplit(old).scheme, urlsplit(new).scheme
        if schemes[1] not in SCHEMES or schemes == ("https", "http"):
            raise FetchError(f"is redirected from {schemes[0]} to {schemes[1]}", CORRECT)
        # Behind a proxy, names and addresses mean what the proxy takes them for.
        proxies = requests.utils.get_environ_proxies(new)
        is_direct = self._options.proxy is None and not requests.utils.select_proxy(new, proxies)
        if is_direct and _is_private(new) and not _is_private(old):
            raise FetchError("is redirected from the internet to a private address", CORRECT)


def _answer(response: requests.Response) -> str:
    return f"the server says {response.status_code} {response.reason}"


def _is_private(url: str) -> bool:
    """Return whether the internet cannot reach the host of a URL."""
    try:
        places = socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, UnicodeError):
        return False  # the request fails as well
    # Without its zone: Python 3.10 does not read fe80::1%eth0.
    addresses = (str(place[4][0]).partition("%")[0] for place in places)
    return any(not ipaddress.ip_address(address).is_global for address in addresses)


def _reason(error: BaseException) -> str:
    """Return the system's words for a fault, else its class."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


WORK = ".fetching"  # hidden, so that it belongs to no set
REMEDY = "restore it, or move it away to trust the files as they are"
Checked = Literal["manifest", "first use"]


class Record(Strict):
    """One downloaded file."""

    url: str | None
    came_from: str | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: int
    format: str
    date: str
    checked: Checked
    tool: str


class Absence(Strict):
    """One file that its server does not have."""

    url: str
    date: str
    reason: str


class Ledger(Strict):
    """The record of a folder of downloaded stimuli."""

    version: Literal[1]
    suite: str
    title: str
    source: str
    licence: str
    citation: str
    manifest: str
    accepted: str
    tool: str
    files: dict[str, Record]
    gone: dict[str, Absence]
    due: list[str]


def read_ledger(folder: Path) -> Ledger | None:
    """Return the record of a folder; None without one."""
    path = folder / LEDGER
    try:
        return Ledger.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror})", REMEDY) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {describe_error(first)}" if place else describe_error(first)
        raise FetchError(f"{path}: is not a record of downloads ({reason})", REMEDY) from None


def write_ledger(folder: Path, ledger: Ledger) -> None:
    """Write the record of a folder atomically."""
    part = folder / WORK / f"{LEDGER}.part"
    try:
        part.write_text(ledger.model_dump_json(indent=1) + "\n", encoding="utf-8")
        part.replace(folder / LEDGER)
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(path: Path, error: OSError) -> FetchError:
    """Return the error about a folder that cannot be written."""
    return FetchError(
        f"{path}: cannot be written ({error.strerror})", "free space or change its permissions"
    )
