"""What stands in the Markdown files: blocks, commands, headings, links."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^([ ]*)```(\w+)?[^\n]*\n(.*?)^[ ]*```[ ]*$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^    [^\n]*\n)+", re.MULTILINE)
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
OPERATORS = frozenset({"|", "||", "&&", ";", ">", ">>", "<"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Return every page that people read, but for the changelog, which speaks of the past."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    found += sorted((ROOT / "docs").rglob("*.md"))
    found += sorted((ROOT / "examples").rglob("*.md"))
    return [path.relative_to(ROOT).as_posix() for path in found]


def text_of(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(*languages: str) -> list[Block]:
    """Return all fenced blocks of the languages."""
    return [block for page in pages() for block in blocks_of(page) if block.language in languages]


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    text = text_of(page)
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language=found[2] or "",
            text=textwrap.dedent(found[3]),
        )
        for found in FENCED.finditer(text)
    ]


def prose_of(page: str) -> str:
    """Return a page without its blocks and code, in which nothing is a link or a heading."""
    return re.sub(r"`[^`\n]+`", lambda found: "x" * len(found[0]), FENCED.sub("", text_of(page)))


def links_of(page: str) -> list[str]:
    """Return where a page links to, but for other sites."""
    return [link for link in LINK.findall(prose_of(page)) if not re.match(r"[a-z]+:", link)]


def anchors_of(page: str) -> set[str]:
    """Return the anchors of a page's headings, as both GitHub and the site make them."""
    heads = HEADING.findall(FENCED.sub("", text_of(page)))
    plain = (re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()) for head in heads)
    return {head.strip().replace(" ", "-") for head in plain}


def commands() -> list[tuple[str, list[str]]]:
    """Return the calls of programs that pages show, as words, with their page."""
    shown = [(str(block), block.text) for block in blocks("console")]
    shown += [
        (page, textwrap.dedent(found))
        for page in pages()
        for found in INDENTED.findall(FENCED.sub("", text_of(page)))
    ]
    found = [(place, words) for place, text in shown for words in calls(text)]
    return [*found, *((str(block), words) for block in blocks("yaml") for words in runs(block))]


def calls(text: str) -> Iterator[list[str]]:
    """Yield the calls of a console: its lines with a prompt, or all where there is none."""
    lines = text.replace("\\\n", " ").splitlines()
    prompted = [line[2:] for line in lines if line.startswith("$ ")]
    for line in prompted or lines:
        yield from split(line)


def runs(block: Block) -> Iterator[list[str]]:
    """Yield the calls of a workflow."""
    for line in re.findall(r"^ *- (?:run: )?((?:pytest|visualbias) .*)$", block.text, re.MULTILINE):
        yield from split(line)


def split(line: str) -> Iterator[list[str]]:
    """Yield the words of each program that a line calls; what is no command gives nothing."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        words = list(lexer)
    except ValueError:  # prose with an apostrophe
        return
    call: list[str] = []
    for word in words:
        if word in OPERATORS:
            yield call
            # What follows an arrow is a file, not a program.
            call = ["file"] if word in (">", ">>", "<") else []
        else:
            call.append(word)
    yield call
