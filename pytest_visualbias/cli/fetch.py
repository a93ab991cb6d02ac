"""Download and verify the stimuli of a suite (`visualbias fetch`)."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_visualbias.errors import UsageError, printable
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.suites import (
    DATA_VARIABLE,
    find_suite,
    read_suite,
    suite_names,
    suite_path,
)
from pytest_visualbias.stimuli.byte_sizes import format_size
from pytest_visualbias.stimuli.download import (
    Download,
    Inventory,
    MirrorSite,
    fetch,
    mirrored,
    take_inventory,
)
from pytest_visualbias.stimuli.manifest import (
    LEDGER,
    SCHEMES,
    check_manifest,
    load_manifest,
    manifest_name,
    read_manifest,
    url_fault,
)
from pytest_visualbias.stimuli.transfer import DownloadOptions, read_ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.progress import Progress, TaskID

    from pytest_visualbias.spec.suites import StimulusRoot, SuiteFile

OK, FAULTY, USAGE, INTERRUPTED = 0, 1, 2, 130
OFFLINE = "VISUALBIAS_OFFLINE"
MAX_JOBS = 32
WIDTH = 100
PAIR = re.compile(r"(https?://[^=]+)=(https?://.+)")


def add_fetch(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    add = parser.add_argument
    add("suite", metavar="SUITE", help="a suite that ships, or a *.suite.yaml")
    add("--manifest", type=Path, metavar="FILE", help="what lists the files of this suite")
    add("--only", action="append", default=[], metavar="SET", help="this set; may be repeated")
    where = f"the folder for a folder of this suite (default: ${DATA_VARIABLE}, else the user's)"
    add("--data", type=Path, metavar="DIR", help=where)
    add(
        "--accept-licence",
        "--accept-license",
        action="store_true",
        help="the licence, which is shown, is accepted; needed where nobody can be asked",
    )
    add("--dry-run", action="store_true", help="say what would be fetched")
    add("--offline", action="store_true", help=f"verify what is there (or set ${OFFLINE})")
    add(
        "--mirror",
        action="append",
        default=[],
        metavar="URL",
        help="in place of scheme and host of all URLs; or PREFIX=URL; may be repeated",
    )
    add("--proxy", metavar="URL", help="in place of the proxies of the environment")
    add("--timeout", type=_positive, default=30.0, metavar="S", help="seconds (default: 30)")
    add("--retries", type=_count(0, 100), default=4, metavar="N", help="of each file (default: 4)")
    add("--jobs", type=_count(1, MAX_JOBS), default=4, metavar="N", help="at once (default: 4)")
    parser.set_defaults(run=_fetch)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds; give one above 0")
    return value


def _count(low: int, high: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not (text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"'{text}' is not from {low} to {high}; give that")
        return int(text)

    return count


def _fetch(options: argparse.Namespace) -> int:
    try:
        downloads = _of_sets(
            _downloads(options.suite, manifest=options.manifest, data=options.data), options.only
        )
        mirrors = _mirrors(options.mirror, downloads)
        download_options = DownloadOptions(
            proxy=None if options.proxy is None else _proxy(options.proxy),
            timeout=options.timeout,
            retries=options.retries,
            jobs=options.jobs,
        )
        states = [
            _fetch_suite(download, download_options, mirrors, options) for download in downloads
        ]
    except UsageError as error:
        print(printable(str(error)), file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return INTERRUPTED
    return OK if all(states) else FAULTY


def _downloads(name: str, *, manifest: Path | None, data: Path | None) -> list[Download]:
    """Return the downloads that the stimuli of a suite consist of."""
    suite = find_suite(name, folder=Path(), shown_in="")
    if suite is None:
        hint = did_you_mean(name, suite_names())
        raise UsageError(f"there is no suite '{name}'", f"{hint} (a path ends in '.suite.yaml')")
    file = read_suite(suite[0], file=suite[1])
    homes = {home.suite: home for home in file.homes.values()}
    if manifest is None and file.suite.stimuli is not None and file.name in homes:
        folder = homes[file.name].folder
        raise UsageError(f"the images of {file.name} are in {folder}", "there is nothing to fetch")
    if manifest is not None and file.name not in homes:
        others = ", ".join(homes)
        raise UsageError(f"--manifest: {file.name} uses only images of {others}", "fetch that")
    downloads = [
        _download(file, home, manifest if home.suite == file.name else None, data)
        for home in homes.values()
        if home.can_be_fetched or (manifest is not None and home.suite == file.name)
    ]
    if not downloads or (file.name in homes and file.name not in {d.name for d in downloads}):
        raise UsageError(
            f"{file.name} has no manifest of its images",
            "list them in a file and give it with --manifest",
        )
    return downloads


def _download(
    file: SuiteFile, home: StimulusRoot, manifest: Path | None, data: Path | None
) -> Download:
    if manifest is not None:
        entries, shown = load_manifest(manifest), str(manifest)
    else:
        entries, shown = read_manifest(home.suite), manifest_name(home.suite)
        check_manifest(entries, file=shown)
    if home.suite != file.name:
        file = read_suite(suite_path(home.suite), file=f"{home.suite}.suite.yaml")
    if data is not None and home.suite.startswith("."):
        raise UsageError(f"--data: '{home.suite}' is not a folder name", "rename the suite")
    return Download(
        name=home.suite,
        title=file.suite.title,
        source=file.suite.source,
        licence=file.suite.licence,
        citation=file.suite.citation,
        manifest=shown,
        folder=home.folder if data is None else data.expanduser() / home.suite,
        entries=entries,
    )


def _of_sets(downloads: Sequence[Download], sets: Sequence[str]) -> list[Download]:
    """Return the downloads with the files of some sets only; all if none is named."""
    if not sets:
        return [*downloads]
    chosen = tuple(f"{name.strip('/')}/" for name in sets)
    folders = sorted({entry.folder for download in downloads for entry in download.entries})
    for name in chosen:
        if not any(f"{folder}/".startswith(name) for folder in folders):
            hint = did_you_mean(name[:-1], folders)
            raise UsageError(f"--only: there is no set '{name[:-1]}'", hint)
    narrowed = [
        dataclasses.replace(
            download,
            entries=tuple(e for e in download.entries if f"{e.folder}/".startswith(chosen)),
        )
        for download in downloads
    ]
    return [download for download in narrowed if download.entries]


def _mirrors(texts: Sequence[str], downloads: Sequence[Download]) -> list[MirrorSite]:
    """Return the mirrors that ``URL`` or ``PREFIX=URL`` name."""
    mirrors = []
    for text in texts:
        pair = PAIR.fullmatch(text)
        prefix, place = pair.groups() if pair else ("", text)
        for url in (prefix, place):
            if url and (fault := url_fault(url)):
                raise UsageError(f"--mirror: {fault}")
        if not place:
            raise UsageError("--mirror: is empty", "give a URL, or PREFIX=URL")
        mirror = MirrorSite(prefix=prefix, place=place)
        if all(mirror.url(url) is None for url in _urls(downloads)):
            raise UsageError(f"--mirror: no URL begins with '{prefix}'", "correct it")
        mirrors.append(mirror)
    return mirrors


def _urls(downloads: Sequence[Download]) -> list[str]:
    entries = [entry for download in downloads for entry in download.entries]
    return [entry.url for entry in entries if entry.url is not None]


def _proxy(text: str) -> str:
    """Return the URL of a proxy, which may contain a password."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(text)
        if parts.scheme in SCHEMES and parts.hostname and parts.port is not None:
            return text
    raise UsageError("--proxy: expected a URL such as http://proxy.example:3128", "correct it")


def _fetch_suite(
    download: Download,
    download_options: DownloadOptions,
    mirrors: Sequence[MirrorSite],
    options: argparse.Namespace,
) -> bool:
    """Fetch the stimuli of one suite; return whether they are complete."""
    _print(_introduction(download, mirrors))
    if options.dry_run:
        return _dry_run(download, mirrors)
    if options.offline or os.environ.get(OFFLINE, "").lower() not in ("", "0", "false"):
        inventory = _verify(download)
    else:
        _require_licence(download, is_given=options.accept_licence)
        with contextlib.closing(_Bar(download.name)) as bar:
            inventory = fetch(download, download_options, mirrors, bar)
    _print_faults(download, inventory.refused)
    if inventory.untried:
        print(
            f"{download.name}: {inventory.untried} more files were not requested, because no "
            "server can be reached; check the network, or give --proxy or --mirror",
            file=sys.stderr,
        )
    _print(_summary(download, inventory))
    if options.data is not None:
        print(f"  specs look there with {DATA_VARIABLE}={options.data}, or stimuli: in the spec")
    return not inventory.refused and not inventory.untried


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(printable(line), flush=True)


def _print_faults(download: Download, faults: dict[str, str]) -> None:
    for path, text in sorted(faults.items()):
        print(printable(f"{download.name}: {path}: {text}"), file=sys.stderr)


def _introduction(download: Download, mirrors: Sequence[MirrorSite]) -> Iterator[str]:
    """Yield what a user must know before anything is fetched."""
    yield f"{download.name}: {download.title}" if download.title else download.name
    for key, text in (
        (
            "licence",
            download.licence or "the suite states none; find out before you use the images",
        ),
        ("citation", download.citation),
        ("source", download.source),
    ):
        if text:
            yield from textwrap.wrap(
                f"{key}: {text}",
                WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_on_hyphens=False,
            )
    parts = [urlsplit(mirrored(url, mirrors)) for url in _urls([download])]
    servers = dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts)
    yield f"  from: {', '.join(servers)}"
    yield f"  to: {download.folder}"


def _summary(download: Download, inventory: Inventory) -> Iterator[str]:
    """Yield how many files exist, and what verified them."""
    records = inventory.records.values()
    checked = Counter(record.checked for record in records)
    yield (
        f"{download.name}: {len(records)} of {len(download.entries)} files are there "
        f"({format_size(sum(record.size for record in records))}), {inventory.fetched} of them "
        "fetched now"
    )
    yield (
        f"  verified by the manifest: {checked['manifest']}; trusted on first use: "
        f"{checked['first use']} (their sha256 is in {LEDGER}; other files are refused later)"
    )
    if inventory.unrecorded:
        yield f"  of unknown origin, recorded as they are: {len(inventory.unrecorded)}"
    if inventory.misnamed:
        yield (
            f"  of another image format than their names say: {len(inventory.misnamed)}, such as "
            f"{min(inventory.misnamed)}; check what they show"
        )
    yield from _absences(download, inventory)


def _absences(download: Download, inventory: Inventory) -> Iterator[str]:
    """Yield the files that have no URL, and the sizes of their sets without them."""
    sizes = Counter(entry.folder for entry in download.entries)
    missing = Counter(entry.folder for entry in inventory.absent)
    for entry in inventory.absent:
        note = f" ({entry.note})" if entry.note else ""
        size = sizes[entry.folder]
        yield (
            f"  no URL is known of {entry.path}{note}; {entry.folder} has "
            f"{size - missing[entry.folder]} of {size} images without it"
        )


def _dry_run(download: Download, mirrors: Sequence[MirrorSite]) -> bool:
    """Print what would be downloaded, without downloading it."""
    ledger = read_ledger(download.folder)
    records = ledger.files if ledger else {}
    inventory = take_inventory(download.entries, download.folder, records, mirrors)
    _print_faults(download, inventory.refused)
    size = _size([request.entry.size for request in inventory.wanted])
    print(
        f"  {len(inventory.records)} of {len(download.entries)} files are there, "
        f"{len(inventory.wanted)} to fetch ({size})"
    )
    unknown = sum(request.sha256 is None for request in inventory.wanted)
    print(f"  no sha256 is known for {unknown} of these: the first download would be trusted")
    _print(_absences(download, inventory))
    return True


def _size(sizes: Sequence[int | None]) -> str:
    """Return the download size, as far as manifests state it."""
    known = [size for size in sizes if size is not None]
    if sizes and not known:
        return "of unknown size"
    unknown = len(sizes) - len(known)
    return format_size(sum(known)) + (f", and {unknown} of unknown size" if unknown else "")


def _verify(download: Download) -> Inventory:
    """Verify the files that exist, without network or changes."""
    ledger = read_ledger(download.folder)
    records = ledger.files if ledger else {}
    inventory = take_inventory(download.entries, download.folder, records)
    for request in inventory.wanted:
        inventory.refused[request.entry.path] = "is missing; fetch it without --offline"
    return inventory


def _require_licence(download: Download, *, is_given: bool) -> None:
    """Raise unless the licence is accepted, now or by an earlier download."""
    ledger = read_ledger(download.folder)
    if is_given or (ledger is not None and ledger.licence == download.licence):
        return
    remedy = "read it above and add --accept-licence"
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            answer = input("Do you accept this licence? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() in ("y", "yes"):
            return
        remedy = ""
    raise UsageError(f"{download.name}: nothing is fetched: the licence is not accepted", remedy)


class _Bar:
    """A progress bar on stderr if that is a terminal."""

    def __init__(self, suite: str) -> None:
        self._suite = suite
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._size = 0

    def close(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()

    def wait(self) -> None:
        """Say that another process uses the folder."""
        print(f"{self._suite}: waiting for another process that fetches it", file=sys.stderr)

    def begin(self, total: int) -> None:
        """Show the bar."""
        if total == 0 or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[size]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(self._suite, total=total, size="")
        self._progress.start()

    def step(self, size: int) -> None:
        """Advance the bar by a file."""
        self._size += size
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=1, size=format_size(self._size))
