"""Ways to spoil bytes, texts and plain data."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["anything", "edits", "spoilt", "spoilt_text", "torn"]

Edit: TypeAlias = tuple[str, int, int, bytes]

# Lengths and offsets at which decoders go wrong.
EXTREMES = [b"\x00", b"\xff", b"\x7f", b"\x80", *(bytes([255] * n) for n in (2, 4, 8))]
EXTREMES += [
    value.to_bytes(4, order) for value in (1, 2**31, 2**31 - 1) for order in ("big", "little")
]
EDITS = ("flip", "put", "put", "drop", "repeat", "insert", "cut", "swap")
FURTHEST = 1 << 20


def edits(most: int = 4) -> st.SearchStrategy[list[Edit]]:
    """Return lists of edits of bytes, for `torn`."""
    payload = st.sampled_from(EXTREMES) | st.binary(min_size=1, max_size=8)
    place = st.integers(0, FURTHEST)
    one = st.tuples(st.sampled_from(EDITS), place, st.integers(0, 64), payload)
    return st.lists(one, max_size=most)


def torn(content: bytes, changes: Sequence[Edit]) -> bytes:
    """Return bytes after edits."""
    found = bytearray(content)
    for how, where, length, payload in changes:
        at = where % (len(found) + 1)
        if how == "flip" and at < len(found):
            found[at] ^= 1 << (length % 8)
        elif how == "put":
            found[at : at + len(payload)] = payload
        elif how == "drop":
            del found[at : at + length]
        elif how == "repeat":
            found[at:at] = found[at : at + length] * 3
        elif how == "insert":
            found[at:at] = payload
        elif how == "cut":
            del found[at:]
        elif how == "swap":
            found = found[at:] + found[:at]
    return bytes(found)


WORDS = (
    *("", "x", "none", "no", "1e-3", "012", "~", "..", "*", "**", "[", "{0..3}", "{9..0}"),
    *("a\nb", "a\rb", "a\0b", "\x1b[31m", "\x85", "\u2028", "\ufeff", "\ud800", "\u202e", "花👩‍🔬"),
    *("::", "a::b", "%s%n{}", "{layer}", "<<", "&a", "*a", "!!python/object", "long" * 2_000),
)
NUMBERS = (0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.0, -0.0, 1.5, -2.5, 1e308, 5e-324)
NUMBERS_THAT_ARE_NONE = (float("inf"), float("-inf"), float("nan"))
WIDE = 300


def anything(words: Sequence[str] = ()) -> st.SearchStrategy[Any]:
    """Return plain values of all types, sizes and depths, some of the words among them."""
    text = st.sampled_from([*WORDS, *words]) | st.text(max_size=10)
    leaves = st.none() | st.booleans() | text | st.sampled_from([*NUMBERS, *NUMBERS_THAT_ARE_NONE])
    small = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=5,
    )
    wide = st.builds(lambda value: [value] * WIDE, leaves)
    many = st.builds(lambda value: {f"k{n}": value for n in range(WIDE)}, leaves)
    return small | small | small | wide | many | st.builds(_deep, st.integers(1, 60))


def _deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@st.composite
def spoilt(
    draw: st.DrawFn, whole: st.SearchStrategy[Any], words: Sequence[str] = (), most: int = 3
) -> Any:  # noqa: ANN401 - plain data
    """Draw plain data and change some of its values, keys and lists."""
    data = copy.deepcopy(draw(whole))
    for _ in range(draw(st.integers(0, most))):
        holders = list(_holders(data))
        if not holders:
            break
        _spoil(holders[draw(st.integers(0, len(holders) - 1))], draw, words)
    return data


def _holders(data: Any) -> Iterator[dict[str, Any] | list[Any]]:  # noqa: ANN401 - plain data
    if isinstance(data, dict | list):
        if len(data):
            yield data
        for value in data.values() if isinstance(data, dict) else data:
            yield from _holders(value)


def _spoil(holder: dict[str, Any] | list[Any], draw: st.DrawFn, words: Sequence[str]) -> None:
    how = draw(st.sampled_from(("replace", "replace", "remove", "rename", "add", "repeat")))
    keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key = keys[draw(st.integers(0, len(keys) - 1))]
    if how == "replace":
        holder[key] = draw(anything(words))
    elif how == "remove":
        del holder[key]
    elif isinstance(holder, list):
        # The same again, or something else beside it.
        holder.insert(key, holder[key] if how == "repeat" else draw(anything(words)))
    elif how == "rename":
        holder[draw(st.sampled_from([*words, *WORDS]))] = holder.pop(key)
    else:
        holder[draw(st.sampled_from([*words, *WORDS]))] = draw(anything(words))


@st.composite
def spoilt_text(draw: st.DrawFn, whole: st.SearchStrategy[str], most: int = 3) -> str:
    """Draw a text, and put other characters into some places of it."""
    text = draw(whole)
    odd = st.sampled_from(
        [*WORDS, *"\t :-?|>#'\"[]{},\n", "\n  ", ": ", "- ", "&x ", "? ", "---\n"]
    )
    for _ in range(draw(st.integers(0, most))):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 40))
        text = text[:at] + draw(odd | st.text(max_size=5)) + text[at + length :]
    return text
