"""Escape names from specs and files, which can hold anything, for each format."""

from __future__ import annotations

import re
import unicodedata

from pytest_visualbias.errors import without_commands

# Controls, lone surrogates, and breaks of line and paragraph.
INVISIBLE = ("Cc", "Cs", "Zl", "Zp")

# Characters that change the direction of the text after them.
BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# Other characters could end a code span, split a table cell or begin a tag.
PLAIN_CODE = re.compile(r"[^`|\\<>&\s](?:[^`|\\<>&]*[^`|\\<>&\s])?")
NAMED_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
MARKUP = frozenset("\\`*_[]<>&|~$")

# A mention would notify a person or link an issue. The hub searches the rendered text, so
# an entity for the sign is not enough.
MENTION = re.compile(r"(?<![\w&])([@#])(?=\w)")
LINK = re.compile(r"(?i)\b(https?|ftp|www)([:.])(?=[/\w])")

# Some spreadsheets also accept the full-width forms.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def visible(text: str) -> str:
    """Return a text on one line, with invisible and direction-changing characters escaped."""
    return without_commands("".join(_escape_invisible(character) for character in text))


def visible_lines(text: str) -> str:
    """Return a text with each of its lines made `visible`."""
    return "\n".join(map(visible, text.split("\n")))


def _escape_invisible(character: str) -> str:
    if unicodedata.category(character) not in INVISIBLE and character not in BIDI_CONTROLS:
        return character
    code = ord(character)
    return SHORT_ESCAPES.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")  # noqa: PLR2004 - two digits


def markdown_text(text: str) -> str:
    """Return a text as one line of literal Markdown, safe in a table cell."""
    escaped = "".join(_entity(sign) if sign in MARKUP else sign for sign in visible(text))
    escaped = LINK.sub(_break_link, escaped)
    # At the start of a line these would begin a heading, a list or a quotation.
    if escaped[:1] in tuple("#+-=>") or re.match(r"\d+[.)]", escaped):
        escaped = re.sub(r"[#+=>.)-]", lambda match: _entity(match[0]), escaped, count=1)
    return MENTION.sub(lambda match: f"{match[1]}<!-- -->", escaped)


def markdown_code(text: str) -> str:
    """Return a name as Markdown code, without markup, links or mentions."""
    name = visible(text)
    if not name:
        return ""
    return f"`{name}`" if PLAIN_CODE.fullmatch(name) else html_code(text)


def html_code(text: str) -> str:
    """Return a name as HTML code for use inside Markdown."""
    escaped = "".join(_entity(sign) if sign in MARKUP else sign for sign in visible(text))
    return f"<code>{LINK.sub(_break_link, escaped)}</code>"


def _break_link(match: re.Match[str]) -> str:
    return f"{match[1]}{_entity(match[2])}"


def _entity(character: str) -> str:
    return NAMED_ENTITIES.get(character) or f"&#{ord(character)};"


def annotation_data(text: str) -> str:
    """Return the message of a GitHub workflow command; line breaks stay."""
    lines = [visible(line) for line in text.splitlines()]
    return "%0A".join(line.replace("%", "%25") for line in lines)


def annotation_property(text: str) -> str:
    """Return a property value of a GitHub workflow command."""
    signs = {"%": "%25", ":": "%3A", ",": "%2C"}
    return "".join(signs.get(character, character) for character in visible(text))


def csv_text(text: str) -> str:
    """Return a text that no spreadsheet evaluates as a formula."""
    cell = visible(text)
    return f"'{cell}" if cell.startswith(FORMULA) else cell
