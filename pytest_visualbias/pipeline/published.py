"""Whether the sets of a suite hold what was published, and all that was to be fetched."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

from pytest_visualbias.errors import FetchError
from pytest_visualbias.fetching.ledger import read_ledger
from pytest_visualbias.spec.manifests import read_manifest
from pytest_visualbias.spec.schema import ConceptWords
from pytest_visualbias.spec.sets import Finding
from pytest_visualbias.spec.stimuli import concept_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_visualbias.fetching.ledger import Ledger
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import ConceptFiles
    from pytest_visualbias.spec.stimuli import StimulusSet
    from pytest_visualbias.spec.suites import Home

__all__ = ["size_findings", "unfinished"]


def unfinished(file: SpecFile, concepts: Iterable[str]) -> dict[str, str]:
    """Return the sentence about each set that was fetched in part or not at all, by concept.

    What its server says it no longer has does not count: then the set is as whole as it can be.
    A folder that was filled by hand has no record of a fetch, and is taken as it is.
    """
    found: dict[str, str] = {}
    ledgers: dict[Path, Ledger | None] = {}
    for concept in concepts:
        home = file.homes.get(concept)
        wanted = file.spec.concepts[concept]
        if home is None or isinstance(wanted, ConceptWords) or not home.folder.is_dir():
            continue
        try:
            if home.folder not in ledgers:
                ledgers[home.folder] = read_ledger(home.folder)
        except FetchError as error:
            sentence = str(error)
        else:
            files = concept_files(wanted)
            sentence = _unfinished(home, ledgers[home.folder], files)
        if sentence:
            found[concept] = file.sentence(("concepts", concept), sentence)
    return found


def _unfinished(home: Home, ledger: Ledger | None, files: ConceptFiles) -> str:
    fetch = f"'visualbias fetch {home.suite}'" if home.can_be_fetched else "'visualbias fetch'"
    if home.can_be_fetched and not (home.folder / files.path).is_dir():
        return f"'{files.path}' is not in {home.folder}; run {fetch} or give 'stimuli'"
    if ledger is None:
        return ""
    # A process killed at the wrong moment has recorded a file that is not there yet.
    paths = [path for path in {*ledger.due, *ledger.files} if _is_of(path, files)]
    there = sum((home.folder / path).is_file() for path in paths)
    if there == len(paths):
        return ""
    return (
        f"{there} of {len(paths)} images are in {home.folder}: the others did not come, or are "
        f"gone; run {fetch} again or give 'stimuli'"
    )


def size_findings(file: SpecFile, sets: Mapping[str, StimulusSet]) -> Iterator[Finding]:
    """Yield a warning for each set of another size than the published one.

    Parameters
    ----------
    file : SpecFile
        The spec.
    sets : mapping
        Its sets of images, by concept.
    """
    homes = {name: file.homes[name] for name in sets if name in file.homes}
    suites = {home.suite for home in homes.values() if home.can_be_fetched}
    counts = {suite: Counter(entry.folder for entry in read_manifest(suite)) for suite in suites}
    for name, home in homes.items():
        wanted = file.spec.concepts[name]
        if isinstance(wanted, ConceptWords):
            continue
        files = concept_files(wanted)
        if not home.can_be_fetched or files.files is not None or files.pattern is not None:
            continue
        published = counts[home.suite][_folder(files)]
        if published not in (0, len(sets[name])):
            message = (
                f"has {len(sets[name])} images, and {published} are published; results differ "
                "from those of the whole set"
            )
            yield Finding(path=("concepts", name), message=message, is_fault=False)


def _is_of(path: str, files: ConceptFiles) -> bool:
    """Whether a file of a manifest belongs to a concept, as far as its name can tell."""
    if files.files is not None:
        return path in {os.path.normpath(f"{files.path}/{name}") for name in files.files}
    return path.rpartition("/")[0] == _folder(files)


def _folder(files: ConceptFiles) -> str:
    return os.path.normpath(files.path).replace(os.sep, "/")
