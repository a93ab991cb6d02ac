"""Text of others, made harmless in each format: names from specs and files can be anything."""

from __future__ import annotations

import re
import unicodedata

from pytest_visualbias.errors import without_commands

# Controls, lone surrogates, and breaks of line and paragraph.
UNSEEN = ("Cc", "Cs", "Zl", "Zp")

# What turns the direction of the text that follows.
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# Inside of a span of code only these could end it, split a cell of a table or begin a tag.
PLAIN_CODE = re.compile(r"[^`|\\<>&\s](?:[^`|\\<>&]*[^`|\\<>&\s])?")
NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
MARKUP = frozenset("\\`*_[]<>&|~$")

# A mention of a person or of an issue would call them; the hub finds it in what is shown, so that
# writing the sign as an entity is not enough.
CALLING = re.compile(r"(?<![\w&])([@#])(?=\w)")
LINK = re.compile(r"(?i)\b(https?|ftp|www)([:.])(?=[/\w])")

# Also in the wide shape that some spreadsheets take for the same.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")


def visible(text: str) -> str:
    """Return a text in one line, with what cannot be seen or turns the text written as escapes."""
    return without_commands("".join(_shown(character) for character in text))


def visible_lines(text: str) -> str:
    """Return a text whose lines stay lines, each of them `visible`."""
    return "\n".join(map(visible, text.split("\n")))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in UNSEEN and character not in TURNING:
        return character
    code = ord(character)
    return SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")  # noqa: PLR2004 - two digits


def markdown_text(text: str) -> str:
    """Return a text in one line of Markdown, or a cell of a table, that means just itself."""
    escaped = "".join(_entity(sign) if sign in MARKUP else sign for sign in visible(text))
    escaped = LINK.sub(_unlinked, escaped)
    # At the beginning of a line these would make a heading, a list or a quotation.
    if escaped[:1] in tuple("#+-=>") or re.match(r"\d+[.)]", escaped):
        escaped = re.sub(r"[#+=>.)-]", lambda match: _entity(match[0]), escaped, count=1)
    return CALLING.sub(lambda match: f"{match[1]}<!-- -->", escaped)


def markdown_code(text: str) -> str:
    """Return a name as code in Markdown: nothing in it is markup, a link or a mention."""
    name = visible(text)
    if not name:
        return ""
    return f"`{name}`" if PLAIN_CODE.fullmatch(name) else html_code(text)


def html_code(text: str) -> str:
    """Return a name as code in HTML that stands inside of Markdown."""
    escaped = "".join(_entity(sign) if sign in MARKUP else sign for sign in visible(text))
    return f"<code>{LINK.sub(_unlinked, escaped)}</code>"


def _unlinked(match: re.Match[str]) -> str:
    return f"{match[1]}{_entity(match[2])}"


def _entity(character: str) -> str:
    return NAMED.get(character) or f"&#{ord(character)};"


def annotation_data(text: str) -> str:
    """Return the message of a workflow command of GitHub; lines stay lines."""
    lines = [visible(line) for line in text.splitlines()]
    return "%0A".join(line.replace("%", "%25") for line in lines)


def annotation_property(text: str) -> str:
    """Return a value in the head of a workflow command of GitHub."""
    signs = {"%": "%25", ":": "%3A", ",": "%2C"}
    return "".join(signs.get(character, character) for character in visible(text))


def csv_text(text: str) -> str:
    """Return a text that no spreadsheet computes: an apostrophe stands before what it would."""
    cell = visible(text)
    return f"'{cell}" if cell.startswith(FORMULA) else cell
