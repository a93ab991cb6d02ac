"""Parse strict YAML into plain data and the position of every value."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import yaml

from pytest_visualbias.errors import LocatedFault, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    class _Mark(Protocol):
        """Zero-based, of either parser of PyYAML."""

        line: int
        column: int


KeyPath = tuple["str | int", ...]
DEEPEST = 32
SCALARS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"(?:|~|null|Null|NULL)"), lambda _: None),
    (re.compile(r"(?:true|True|TRUE)"), lambda _: True),
    (re.compile(r"(?:false|False|FALSE)"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]{1,20}"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]{1,16}"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(?:nan|NaN|NAN)"), lambda _: float("nan")),
)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class SourcePosition:
    """A one-based line and column."""

    line: int
    column: int
    file: str = field(default="", compare=False)
    path: KeyPath = field(default=(), compare=False)


class Mistake(NamedTuple):
    """What is wrong in a spec, and what to do."""

    problem: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecFault:
    """A mistake in a spec with its path and position."""

    path: KeyPath
    place: SourcePosition
    mistake: Mistake

    def located(self, file: str) -> LocatedFault:
        """Return the fault with its place in a file."""
        return LocatedFault(
            file=self.place.file or file,
            line=self.place.line,
            column=self.place.column,
            place=format_path(self.place.path or self.path),
            problem=self.mistake.problem,
            remedy=self.mistake.remedy,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The plain data of a text, the position of every path, and its faults."""

    data: Any
    places: Mapping[KeyPath, SourcePosition]
    faults: tuple[SpecFault, ...]
    complete: bool = True

    def place(self, path: KeyPath) -> SourcePosition:
        """Return the position of a path, or of the nearest enclosing value with a position."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                position = self.places[path[:end]]
                whole = (*position.path, *path[end:]) if position.path else ()
                return dataclasses.replace(position, path=whole)
        return SourcePosition(line=1, column=1)

    def fault(self, path: KeyPath, mistake: Mistake) -> SpecFault:
        """Return a fault at `path`."""
        return SpecFault(path=path, place=self.place(path), mistake=mistake)


def read_spec_text(path: Path, file: str) -> str:
    """Return the text of a spec or a suite, which messages call `file`."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem, remedy = f"is not UTF-8 (byte {error.start})", "save it as UTF-8"
    except OSError as error:
        problem, remedy = f"cannot be read ({error.strerror})", "correct the path"
    raise SpecError([LocatedFault(file=file, line=1, column=1, problem=problem, remedy=remedy)])


def format_path(path: KeyPath) -> str:
    """Return a path as text: ``tests[0].limits.max_effect``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_quote(part)}" for part in path)
    return text.removeprefix(".")


def _quote(key: str) -> str:
    return key if key.strip() else f"'{key}'"


def read_document(text: str) -> Document:
    """Read one YAML document strictly."""
    builder = _Builder()
    complete = False
    try:
        complete = all(builder.take(event) for event in _events(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        builder.blame(
            (), mark, Mistake(f"this is not YAML: {error.problem or error.context}", "correct it")
        )
    except yaml.reader.ReaderError as error:
        builder.faults.append(_unreadable(text, error))
    faults = tuple(builder.faults)
    return Document(data=builder.root, places=builder.places, faults=faults, complete=complete)


def _unreadable(text: str, error: yaml.reader.ReaderError) -> SpecFault:
    # The C parser counts bytes, the other one characters: we look for the character ourselves.
    is_code = isinstance(error.character, int)
    character = chr(error.character) if is_code else str(error.character)
    line = text.count("\n", 0, max(text.find(character), 0)) + 1
    mistake = Mistake(f"the character U+{ord(character):04X} is not allowed in YAML", "remove it")
    return SpecFault(path=(), place=SourcePosition(line=line, column=1), mistake=mistake)


def _events(text: str) -> Iterator[yaml.Event]:
    # The C parser is an optional part of PyYAML; both give the same events.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return iter(yaml.parse(text, Loader=loader))


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    value: dict[str, Any] | list[Any]
    path: KeyPath
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Builds data from parser events; `take` returns False if reading cannot go on."""

    root: Any = None
    places: dict[KeyPath, SourcePosition] = field(default_factory=dict)
    faults: list[SpecFault] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    documents: int = 0

    def take(self, event: yaml.Event) -> bool:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.blame(
                    (), event.start_mark, Mistake("a second document starts here", "use two files")
                )
                return False
        elif isinstance(event, yaml.AliasEvent):
            mistake = Mistake(f"aliases (*{event.anchor}) are not supported", "write the value out")
            self.blame(self._path(), event.start_mark, mistake)
            if self._awaits_key():
                return False  # which key it stands for is not known, nor what follows
            self._add(None, event.start_mark)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            return self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()
        return True

    def blame(self, path: KeyPath, mark: _Mark | None, mistake: Mistake) -> None:
        self.faults.append(SpecFault(path=path, place=_position(mark), mistake=mistake))

    def _path(self) -> KeyPath:
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return top.path if top.key is None else (*top.path, top.key)

    def _awaits_key(self) -> bool:
        top = self.stack[-1] if self.stack else None
        return top is not None and isinstance(top.value, dict) and top.key is None

    def _begin(self, event: yaml.CollectionStartEvent) -> bool:
        path = self._path()
        self._refuse_tag(event, path)
        if len(self.stack) >= DEEPEST:
            self.blame(
                path,
                event.start_mark,
                Mistake(f"nested deeper than {DEEPEST} levels", "flatten it"),
            )
            return False
        if self._awaits_key():
            self.blame(
                path, event.start_mark, Mistake("a key must be text", "write it as one word")
            )
            return False
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._add(value, event.start_mark)
        self.stack.append(_Open(value=value, path=path))
        return True

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._refuse_tag(event, self._path())
        if self._awaits_key():
            self._key(event)
        else:
            plain = event.style is None or event.style == ""
            self._value(_resolve(event.value) if plain else event.value, event.start_mark)

    def _value(self, value: object, mark: _Mark | None) -> None:
        path = self._path()
        self._add(value, mark)
        if value is None and path:
            mistake = Mistake("has no value", "write one, or remove the key")
            self.faults.append(SpecFault(path=path, place=self.places[path], mistake=mistake))

    def _key(self, event: yaml.ScalarEvent) -> None:
        top = self.stack[-1]
        path = (*top.path, event.value)
        if event.value == "<<":
            mistake = Mistake("merge keys (<<) are not supported", "write the keys out")
            self.blame(path, event.start_mark, mistake)
        elif event.value in top.value:
            first = self.places[path].line
            mistake = Mistake(f"the key stands twice, first in line {first}", "remove one")
            self.blame(path, event.start_mark, mistake)
        self.places[path] = _position(event.start_mark)
        top.key = event.value

    def _add(self, value: object, mark: _Mark | None) -> None:
        if not self.stack:
            self.root = value
            self.places[()] = _position(mark)
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            self.places[(*top.path, len(top.value))] = _position(mark)
            top.value.append(value)
        elif top.key is not None:
            top.value[top.key] = value
            top.key = None

    def _refuse_tag(self, event: yaml.NodeEvent, path: KeyPath) -> None:
        if getattr(event, "tag", None) is not None:
            mistake = Mistake(f"tags ({getattr(event, 'tag', '')}) are not supported", "remove it")
            self.blame(path, event.start_mark, mistake)
        if event.anchor is not None:
            mistake = Mistake(f"anchors (&{event.anchor}) are not supported", "remove it")
            self.blame(path, event.start_mark, mistake)


def _position(mark: _Mark | None) -> SourcePosition:
    if mark is None:
        return SourcePosition(line=1, column=1)
    return SourcePosition(line=mark.line + 1, column=mark.column + 1)


def _resolve(text: str) -> object:
    for pattern, convert in SCALARS:
        if pattern.fullmatch(text):
            try:
                return convert(text)
            except ValueError:
                # Python refuses integers of thousands of digits: they stay text, a type error.
                return text
    return text
