"""Download and verify the stimuli of a suite (`visualbias fetch`)."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.errors import UsageError, printable
from pytest_visualbias.spec.suites import DATA_VARIABLE
from pytest_visualbias.stimuli.byte_sizes import format_size
from pytest_visualbias.stimuli.fetching.addresses import parse_mirror, parse_proxy
from pytest_visualbias.stimuli.fetching.gather import Gathered, Way, gather
from pytest_visualbias.stimuli.fetching.ledger import read_ledger
from pytest_visualbias.stimuli.fetching.meter import Bar
from pytest_visualbias.stimuli.fetching.sentences import absences, head, told
from pytest_visualbias.stimuli.fetching.store import Store
from pytest_visualbias.stimuli.fetching.survey import survey
from pytest_visualbias.stimuli.fetching.targets import narrowed, targets_of
from pytest_visualbias.stimuli.fetching.transfer import Manners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_visualbias.stimuli.fetching.addresses import Mirror
    from pytest_visualbias.stimuli.fetching.targets import Target

OK, FAULTY, USAGE, INTERRUPTED = 0, 1, 2, 130
OFFLINE = "VISUALBIAS_OFFLINE"
MOST_JOBS = 32


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
    add("--jobs", type=_count(1, MOST_JOBS), default=4, metavar="N", help="at once (default: 4)")
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
        targets = narrowed(
            targets_of(options.suite, manifest=options.manifest, data=options.data), options.only
        )
        fetch_options = _fetch_options(options, targets)
        states = [_fetch_target(target, fetch_options, options) for target in targets]
    except UsageError as error:
        print(printable(str(error)), file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return OK if all(states) else FAULTY


def _fetch_options(options: argparse.Namespace, targets: Sequence[Target]) -> Way:
    mirrors = tuple(map(parse_mirror, options.mirror))
    urls = [entry.url for target in targets for entry in target.entries if entry.url is not None]
    for mirror in mirrors:
        if all(mirror.url(url) is None for url in urls):
            raise UsageError(f"--mirror: no URL begins with '{mirror.prefix}'", "correct it")
    return Way(
        mirrors=mirrors,
        proxy=None if options.proxy is None else parse_proxy(options.proxy),
        manners=Manners(timeout=options.timeout, retries=options.retries),
        jobs=options.jobs,
    )


def _fetch_target(target: Target, fetch_options: Way, options: argparse.Namespace) -> bool:
    """Fetch the stimuli of one suite; return whether they are complete."""
    _print(head(target, fetch_options.mirrors))
    if options.dry_run:
        return _dry_run(target, fetch_options.mirrors)
    if options.offline or os.environ.get(OFFLINE, "").lower() not in ("", "0", "false"):
        return _verify(target)
    _require_licence(target, is_given=options.accept_licence)
    with contextlib.closing(Bar(target.name)) as meter:
        done = gather(target, fetch_options, meter)
    _print_faults(target, done.refused)
    if done.untried:
        verb = "was" if done.untried == 1 else "were"
        _print_fault(
            f"{target.name}: {done.untried} more {verb} not asked for, as no server can be "
            "reached; check the network, or give --proxy or --mirror"
        )
    _print(told(target, done))
    if options.data is not None:
        print(f"  specs look there with {DATA_VARIABLE}={options.data}, or stimuli: in the spec")
    return done.is_complete


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(printable(line), flush=True)


def _print_fault(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _print_faults(target: Target, faults: dict[str, str]) -> None:
    for path, text in sorted(faults.items()):
        _print_fault(f"{target.name}: {path}: {text}")


def _dry_run(target: Target, mirrors: Sequence[Mirror]) -> bool:
    """Print what would be downloaded, without downloading it."""
    ledger = read_ledger(target.folder)
    survey_result = survey(
        target.entries, Store(target.folder), ledger.files if ledger else {}, mirrors
    )
    _print_faults(target, survey_result.refused)
    size = _size([request.entry.size for request in survey_result.wanted])
    present = len(survey_result.there) + len(survey_result.found)
    print(
        f"  {present} of {len(target.entries)} files are there, "
        f"{len(survey_result.wanted)} to fetch ({size})"
    )
    unknown = sum(request.sha256 is None for request in survey_result.wanted)
    print(f"  for {unknown} of these no sha256 is known: what comes first would be trusted")
    _print(absences(target, [entry.path for entry in survey_result.absent]))
    return True


def _size(sizes: Sequence[int | None]) -> str:
    """Return the download size, as far as manifests state it."""
    known = [size for size in sizes if size is not None]
    if sizes and not known:
        return "of unknown size"
    unknown = len(sizes) - len(known)
    return format_size(sum(known)) + (f", and {unknown} of unknown size" if unknown else "")


def _verify(target: Target) -> bool:
    """Verify the files that exist, without network or changes."""
    ledger = read_ledger(target.folder)
    survey_result = survey(target.entries, Store(target.folder), ledger.files if ledger else {})
    missing = {
        request.entry.path: "is not there; fetch it without --offline"
        for request in survey_result.wanted
    }
    done = Gathered(
        records={**survey_result.there, **survey_result.found},
        absent=survey_result.absent,
        refused={**survey_result.refused, **missing},
    )
    _print_faults(target, done.refused)
    _print(told(target, done))
    return done.is_complete


def _require_licence(target: Target, *, is_given: bool) -> None:
    """Raise unless the licence is accepted, now or by an earlier download."""
    ledger = read_ledger(target.folder)
    if is_given or (ledger is not None and ledger.licence == target.licence):
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            answer = input("Do you accept this licence? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() in ("y", "yes"):
            return
        raise UsageError(f"{target.name}: nothing is fetched, as the licence is not accepted")
    raise UsageError(
        f"{target.name}: nothing is fetched before the licence is accepted",
        "read it above and add --accept-licence",
    )
