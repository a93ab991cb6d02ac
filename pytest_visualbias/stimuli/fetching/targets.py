"""What is to be fetched: the suites whose stimuli a suite uses, their files, and where they go."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.errors import UsageError
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.suites import find_suite, read_suite, suite_names, suite_path
from pytest_visualbias.stimuli.fetching.manifest import check_manifest, load_manifest
from pytest_visualbias.stimuli.manifest import manifest_name, read_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.spec.suites import StimulusRoot, SuiteFile
    from pytest_visualbias.stimuli.manifest import ManifestEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A suite whose stimuli are wanted."""

    name: str
    title: str
    source: str
    licence: str
    citation: str
    manifest: str
    folder: Path
    entries: tuple[ManifestEntry, ...]


def targets_of(name: str, *, manifest: Path | None, data: Path | None) -> tuple[Target, ...]:
    """Return the downloads that the stimuli of a suite consist of."""
    suite = find_suite(name, folder=Path(), shown_in="")
    if suite is None:
        hint = did_you_mean(name, suite_names())
        raise UsageError(f"there is no suite '{name}'", f"{hint} (a path ends in '.suite.yaml')")
    file = read_suite(suite[0], file=suite[1])
    homes = {home.suite: home for home in file.homes.values()}
    if manifest is None and file.suite.stimuli is not None and file.name in homes:
        where = homes[file.name].folder
        raise UsageError(f"the images of {file.name} are in {where}", "there is nothing to fetch")
    if manifest is not None and file.name not in homes:
        others = ", ".join(homes)
        raise UsageError(
            f"--manifest: {file.name} has no images but those of {others}", "fetch that"
        )
    given = {file.name: manifest} if manifest is not None else {}
    targets = [
        target
        for home in homes.values()
        if (target := _target(file, home, given.get(home.suite), data)) is not None
    ]
    if not targets or (file.name in homes and file.name not in {one.name for one in targets}):
        raise UsageError(
            f"nothing is known of the images of {file.name}",
            "list them in a file and give it with --manifest",
        )
    return tuple(targets)


def _target(
    file: SuiteFile, home: StimulusRoot, manifest: Path | None, data: Path | None
) -> Target | None:
    if manifest is not None:
        entries, shown = load_manifest(manifest), str(manifest)
    elif home.can_be_fetched:
        entries, shown = read_manifest(home.suite), manifest_name(home.suite)
        check_manifest(entries, file=shown)
    else:
        return None
    if home.suite != file.name:
        file = read_suite(suite_path(home.suite), file=f"{home.suite}.suite.yaml")
    return Target(
        name=home.suite,
        title=file.suite.title,
        source=file.suite.source,
        licence=file.suite.licence,
        citation=file.suite.citation,
        manifest=shown,
        folder=home.folder if data is None else _below(data, home.suite),
        entries=entries,
    )


def _below(data: Path, suite: str) -> Path:
    if suite.startswith("."):
        raise UsageError(f"--data: '{suite}' makes no name of a folder", "rename the suite")
    return data.expanduser() / suite


def narrowed(targets: Sequence[Target], sets: Sequence[str]) -> tuple[Target, ...]:
    """Return the targets with the files of some sets only, all where none is named."""
    if not sets:
        return tuple(targets)
    chosen = [name.strip("/") for name in sets]
    folders = sorted({entry.folder for target in targets for entry in target.entries})
    for name in chosen:
        if not any(_is_in(folder, name) for folder in folders):
            raise UsageError(f"--only: there is no set '{name}'", did_you_mean(name, folders))
    kept = (
        dataclasses.replace(target, entries=_of_sets(target.entries, chosen)) for target in targets
    )
    return tuple(target for target in kept if target.entries)


def _of_sets(entries: Sequence[ManifestEntry], sets: Sequence[str]) -> tuple[ManifestEntry, ...]:
    return tuple(entry for entry in entries if any(_is_in(entry.folder, name) for name in sets))


def _is_in(folder: str, name: str) -> bool:
    return folder == name or folder.startswith(f"{name}/")
