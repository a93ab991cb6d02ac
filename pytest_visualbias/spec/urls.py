"""Parse URLs, and hide their secrets."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from pytest_visualbias.errors import UsageError, without_secrets

# Two letters at least: one is a drive of Windows.
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

# No folder is called so by anybody who does not mean a URL.
ONE_SLASH = re.compile(
    r"(?:s3a?|gc?s|hf|https?|abfss?|az|adl|oss|r2|s?ftp|memory|file):/(?!/)", re.IGNORECASE
)

# What signs a query, in the ways of Amazon, Google and Azure.
SIGNING = re.compile(
    r"(?:x-(?:amz|goog)-[\w-]+|awsaccesskeyid|googleaccessid|signature|expires|sig|s[eptv]|spr|"
    r"sk(?:oid|tid|[etsv]))=",
    re.IGNORECASE,
)
PASSWORD = re.compile(r"(://[^/@:]*):[^@]*@")

# Nothing that these name lies on another machine, as far as they say.
NEAR = ("file", "local", "memory")


def is_url(text: str) -> bool:
    """Return whether a text is a URL and not a path."""
    return URL.match(text) is not None


def miswritten_url(text: str) -> UsageError | None:
    """Return the error of a URL that lacks a slash; None for other texts."""
    if ONE_SLASH.match(text) is None:
        return None
    scheme, _, rest = text.partition(":/")
    meant = Url(f"{scheme}:///{rest}" if scheme.lower() == "file" else f"{scheme}://{rest}").shown
    return UsageError(
        f"'{re.sub(':/+', ':/', meant, count=1)}' is no URL", f"did you mean {meant}?"
    )


def to_path(text: str) -> Path | Url:
    """Return the path or URL that a text names."""
    if error := miswritten_url(text):
        raise error
    return Url(text) if is_url(text) else Path(text)


@dataclass(frozen=True, slots=True, repr=False)
class Url:
    """A URL; as text it has no user, password, query or signature."""

    text: str

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"Url({self.shown!r})"

    def __truediv__(self, path: str) -> Url:
        """Return a URL below this one; the query stays at the end."""
        head, mark, query = self.text.partition("?")
        return Url(f"{head.rstrip('/')}/{path.lstrip('/')}{mark}{query}")

    @property
    def shown(self) -> str:
        """The URL with secrets removed."""
        return without_secrets(self.text.partition("?")[0])

    @property
    def without_signature(self) -> str:
        """The URL without password and signature, which may change for the same content."""
        head, _, query = self.text.partition("?")
        lasting = "&".join(part for part in query.split("&") if not SIGNING.match(part))
        return PASSWORD.sub(r"\1@", head) + (f"?{lasting}" if lasting else "")

    @property
    def name(self) -> str:
        """The last part of its path."""
        return posixpath.basename(self.text.partition("?")[0].rstrip("/"))

    @property
    def suffix(self) -> str:
        """The ending of its name, with the dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def scheme(self) -> str:
        """The scheme, before ``://``."""
        return self.text.partition("://")[0].lower()

    @property
    def has_password(self) -> bool:
        """Whether the URL contains a user and password."""
        return PASSWORD.search(self.text.partition("?")[0]) is not None

    @property
    def is_near(self) -> bool:
        """Whether the URL can be read without a network."""
        return self.scheme in NEAR

    @property
    def has_magic(self) -> bool:
        """Whether the path is a glob pattern."""
        path = self.text.partition("?")[0].partition("://")[2].partition("/")[2]
        return any(sign in path for sign in "*[")

    def resolve(self) -> Url:
        """Return the URL itself, as `Path.resolve` does for absolute paths."""
        return self
