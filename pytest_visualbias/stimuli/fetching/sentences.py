"""What people are told about a fetch: what it is of, what came, and what that is worth."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING

from pytest_visualbias.stimuli.byte_sizes import format_size
from pytest_visualbias.stimuli.fetching.addresses import mirrored, origins
from pytest_visualbias.stimuli.fetching.ledger import LEDGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_visualbias.stimuli.fetching.addresses import Mirror
    from pytest_visualbias.stimuli.fetching.gather import Gathered
    from pytest_visualbias.stimuli.fetching.targets import Target

WIDTH = 100


def head(target: Target, mirrors: Sequence[Mirror]) -> Iterator[str]:
    """Yield what must be known before anything is fetched."""
    yield f"{target.name}: {target.title}" if target.title else target.name
    for key, text in (
        ("licence", target.licence or "the suite says none; find out before you use the images"),
        ("citation", target.citation),
        ("source", target.source),
    ):
        if text:
            yield from textwrap.wrap(
                f"{key}: {text}",
                WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
    urls = [mirrored(entry.url, mirrors) for entry in target.entries if entry.url is not None]
    yield f"  from: {', '.join(origins(urls))}"
    yield f"  to: {target.folder}"


def told(target: Target, done: Gathered) -> Iterator[str]:
    """Yield what is there now, and what that is worth."""
    checked = Counter(record.checked for record in done.records.values())
    size = sum(record.size for record in done.records.values())
    yield (
        f"{target.name}: {len(done.records)} of {len(target.entries)} files are there "
        f"({format_size(size)}), {done.fetched} of them fetched now"
    )
    yield (
        f"  verified by the manifest: {checked['manifest']}; trusted as they first came: "
        f"{checked['first use']} (their sha256 is in {LEDGER}, and another is refused later)"
    )
    if done.found:
        yield f"  there before, of unknown origin, and recorded as they are: {done.found}"
    if done.misnamed:
        first = min(done.misnamed)
        yield (
            f"  of another image format than their names say: {len(done.misnamed)}, such as "
            f"{first}; look whether they show what they should"
        )
    yield from absences(target, [entry.path for entry in done.absent])


def absences(target: Target, paths: Sequence[str]) -> Iterator[str]:
    """Yield what cannot be had by anybody, and what that leaves of its set."""
    sizes = Counter(entry.folder for entry in target.entries)
    gone = Counter(path.rpartition("/")[0] for path in paths)
    notes = {entry.path: entry.note for entry in target.entries}
    for path in paths:
        folder = path.rpartition("/")[0]
        note = f" ({notes[path]})" if notes[path] else ""
        left = f"{folder} has {sizes[folder] - gone[folder]} of {sizes[folder]} images without it"
        yield f"  no URL is known of {path}{note}; {left}"
