"""Where requests go: mirrors, proxies and redirects, over http and https and nothing else."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import urllib.request
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_visualbias.errors import UsageError
from pytest_visualbias.stimuli.fetching.manifest import SCHEMES, url_fault
from pytest_visualbias.stimuli.fetching.outcomes import MANIFEST, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from http.client import HTTPMessage

PAIR = re.compile(r"(https?://[^=]+)=(https?://.+)")
TEMPORARY, PERMANENT = 307, 308


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirror:
    """Another place of the same files."""

    prefix: str
    place: str

    def url(self, url: str) -> str | None:
        """Return where a file is here; None where the mirror does not stand for it."""
        if self.prefix:
            stands = url.startswith(self.prefix)
            return self.place + url.removeprefix(self.prefix) if stands else None
        parts = urlsplit(url)
        rest = url.removeprefix(f"{parts.scheme}://{parts.netloc}")
        return self.place.rstrip("/") + rest


def parse_mirror(text: str) -> Mirror:
    """Return the mirror that ``URL`` or ``PREFIX=URL`` means."""
    pair = PAIR.fullmatch(text)
    prefix, place = pair.groups() if pair else ("", text)
    for url in (prefix, place):
        if url and (fault := url_fault(url)):
            raise UsageError(f"--mirror: {fault}")
    if not place:
        raise UsageError("--mirror: is empty", "give a URL, or PREFIX=URL")
    return Mirror(prefix=prefix, place=place)


def mirrored(url: str, mirrors: Iterable[Mirror]) -> str:
    """Return the URL at the first mirror that stands for it, else as it is."""
    return next((found for mirror in mirrors if (found := mirror.url(url)) is not None), url)


def parse_proxy(text: str) -> str:
    """Return the URL of a proxy, which may have a password in it."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port is not None
    except ValueError:
        is_one = False
    if not is_one:
        raise UsageError("--proxy: is no URL such as http://proxy.example:3128", "correct it")
    return text


def build_opener(proxy: str | None = None) -> urllib.request.OpenerDirector:
    """Return what opens URLs of http and https, and follows redirects to these alone."""
    opener = urllib.request.OpenerDirector()
    proxies = None if proxy is None else dict.fromkeys(SCHEMES, proxy)
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, never away from https nor from the web, nor into a private network."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in SCHEMES or (old, new) == ("https", "http"):
            fp.close()
            raise RefusedError(f"is redirected from {old} to {new}, which is not safe", MANIFEST)
        # Behind a proxy, names and addresses mean what the proxy takes them for.
        is_direct = not req.has_proxy()
        if is_direct and is_private(newurl) and not is_private(req.full_url):
            fp.close()
            raise RefusedError("is redirected to a private address, which is not safe", MANIFEST)
        # Python 3.10 does not know a permanent redirect that keeps the method.
        code = TEMPORARY if code == PERMANENT else code
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def is_private(url: str) -> bool:
    """Return whether a host is this machine or one that the internet cannot reach."""
    return _is_private(urlsplit(url).hostname or "")


@functools.cache
def _is_private(host: str) -> bool:
    try:
        places = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False  # the request fails as well
    # Without its zone: fe80::1%eth0 is no address to Python 3.10.
    addresses = (str(place[4][0]).partition("%")[0] for place in places)
    return any(not ipaddress.ip_address(address).is_global for address in addresses)


def origins(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the schemes and hosts of URLs, each once."""
    parts = (urlsplit(url) for url in urls)
    return tuple(dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts))
