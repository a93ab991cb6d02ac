"""Everything that can go wrong, as one tree."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

# A suite's forty names fit; of what is longer, the end says what to do.
MAX_LENGTH = 2_000
ELLIPSIS = " ... "

# Who may enter, before the host of a URL, also with a slash that should be encoded (not what stands
# after the number of a port); a container of Azure, which stands there too, is no secret.
CREDENTIALS = re.compile(
    r"((?:(?<=^)|(?<=[^\w+.-]))(?!(?:abfs|wasb)s?:)[A-Za-z][\w+.-]*://)"
    r"(?:[^\s/?#'\"]*|[^\s/?#'\"@]*:(?!\d+[/?#])[^\s'\"]*)@"
)

# What signs a URL, or holds a key, by the names that stores give it.
SECRET_PARAMETER = re.compile(
    r"([?&#;](?:x-(?:amz|goog|ms)-[\w-]+|awsaccesskeyid|signature|sig|[\w-]*(?:token|secret|key|"
    r"password|credential)[\w-]*)=)[^&\s#'\"]+",
    re.IGNORECASE,
)

# What makes a command of a line in a log of GitHub, Azure or TeamCity, wherever it stands in it.
COMMAND = re.compile(r"##(?=\w*\[)")

# What makes one of a line that begins with it.
COMMAND_AT_START = re.compile(r"^(\s*):(?=:)", re.MULTILINE)

# The pieces of a URL, and what services hand out as keys; a digest (hexadecimal) is shown.
URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"]*")
URL_PART = re.compile(r"[^/?#&=;]+")
MIXED_CHARACTERS = r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)"
TOKENS = (
    re.compile(r"(?:gh[a-z]_|hf_|npm_|dckr_pat_)[A-Za-z0-9]{16,}|github_pat_\w{16,}"),
    re.compile(r"(?:glpat|sk|pypi|xox[a-z])-[\w-]{16,}|bot\d+(?::|%3A)[\w-]{16,}"),
    re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{12,}|(?:ya29\.|eyJ|AIza)[\w.~+-]{16,}"),
    re.compile(MIXED_CHARACTERS + r"[A-Za-z0-9]{20,}(?:%3D){0,2}"),
    re.compile(MIXED_CHARACTERS + r"(?!(?:[^_-]*[_-]){4})[\w~-]{32,}(?:%3D){0,2}", re.ASCII),
)


def printable(text: str) -> str:
    """Return a text that stays on one line and shows what it holds, line breaks escaped."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return without_commands(shown)


def without_commands(text: str) -> str:
    """Return a text that no log of CI takes for a command: one sign of it is an escape."""
    return COMMAND_AT_START.sub(r"\1\\x3a", COMMAND.sub(r"#\\x23", text))


def json_without_commands(text: str) -> str:
    """Return a text of JSON that means the same, and that no log of CI takes for a command."""
    return COMMAND.sub(r"#\\u0023", text)


def without_secrets(text: str) -> str:
    """Return a text whose URLs hold no name, password, key or signature."""
    if "://" not in text:
        return text
    shown = SECRET_PARAMETER.sub(r"\1...", CREDENTIALS.sub(r"\1", text))
    return URL.sub(lambda url: URL_PART.sub(_hidden, url[0]), shown)


def _hidden(piece: re.Match[str]) -> str:
    return "..." if any(token.fullmatch(piece[0]) for token in TOKENS) else piece[0]


def legible(text: str) -> str:
    """Return a text on one line without secrets, what is longest in it left out of its middle."""
    shown = printable(without_secrets(text))
    if len(shown) <= MAX_LENGTH:
        return shown
    half = (MAX_LENGTH - len(ELLIPSIS)) // 2
    return f"{shown[:half]}{ELLIPSIS}{shown[-half:]}"


class VisualBiasError(Exception):
    """Root of the errors that a user can correct; shown without a traceback."""

    after_place = ": "

    def __init__(self, problem: str, remedy: str = "", *, place: str = "") -> None:
        head = f"{place}{self.after_place}" if place else ""
        tail = f"; {remedy}" if remedy else ""
        super().__init__(legible(f"{head}{problem}{tail}"))
        self.statement = legible(f"{head}{problem}")
        self.place = legible(place)
        self.problem = legible(problem)
        self.remedy = legible(remedy)

    @classmethod
    def of_path(cls, error: OSError) -> Self:
        """Return the error of a path that the system refuses."""
        path = "a file" if error.filename is None else str(error.filename)
        return cls(f"{path} cannot be used ({error.strerror or error})", "correct the path")


class UsageError(VisualBiasError):
    """An option has an unusable value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedFault:
    """What is wrong at a place of a file: `place` is a key or an entry of it."""

    file: str
    line: int | None = None
    column: int | None = None
    place: str = ""
    problem: str
    remedy: str = ""

    @property
    def text(self) -> str:
        """Return ``place: problem; remedy``, without the position in the file."""
        head = f"{self.place}: " if self.place else ""
        tail = f"; {self.remedy}" if self.remedy else ""
        return legible(f"{head}{self.problem}{tail}")

    def __str__(self) -> str:
        """Return ``file:line:column: place: problem; remedy``."""
        position = (self.file, self.line, self.column)
        start = ":".join(str(part) for part in position if part is not None)
        return legible(f"{start}: {self.text}")


class SpecError(VisualBiasError):
    """All faults of one spec, a line each."""

    def __init__(self, faults: Sequence[LocatedFault]) -> None:
        super().__init__("")
        self.faults = tuple(faults)
        self.args = (self.faults,)

    def __str__(self) -> str:
        """Return the faults, a line each."""
        return "\n".join(map(str, self.faults))


class StimulusError(VisualBiasError):
    """A stimulus or a set of stimuli is missing, unreadable or not an image."""

    after_place = " "  # the file is the subject of the sentence


class FetchError(VisualBiasError):
    """A published stimulus cannot be downloaded, or its folder cannot be used."""


class EncoderError(VisualBiasError):
    """A model, its checkpoint, a layer or a device cannot be used; `key` is one of its entry."""

    def __init__(self, problem: str, remedy: str = "", *, place: str = "", key: str = "") -> None:
        super().__init__(problem, remedy, place=place)
        self.key = key


class EngineError(VisualBiasError):
    """Workers that embed cannot be started, or are lost."""


class StorageError(VisualBiasError):
    """A file at a URL cannot be read or written."""

    def __init__(
        self, problem: str, remedy: str = "", *, reason: str = "", is_missing: bool = False
    ) -> None:
        super().__init__(problem, remedy)
        self.reason = legible(reason) if reason else str(self)
        self.is_missing = is_missing


class BaselineError(VisualBiasError):
    """A file of recorded results cannot be used."""


class ReportError(VisualBiasError):
    """The report of an earlier run cannot be used."""


class DegenerateTestError(VisualBiasError):
    """Numbers from which no association can be computed; `role` and `row` say which."""

    def __init__(
        self, problem: str, remedy: str = "", *, role: str | None = None, row: int | None = None
    ) -> None:
        super().__init__(problem, remedy)
        self.role = role
        self.row = row
