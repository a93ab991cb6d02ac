"""Write a first spec and a CI workflow for a repository (`visualbias init`)."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pytest_visualbias.cli.starting.choosing import choose_models
from pytest_visualbias.cli.starting.first_spec import SPEC
from pytest_visualbias.cli.starting.looking import scan_repository
from pytest_visualbias.cli.starting.planning import plan, summary_lines
from pytest_visualbias.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.cli.starting.planning import Plan

OK, KEPT, USAGE = 0, 1, 2
State = Literal["written", "as it was", "kept"]
EXAMPLES = """examples:
  visualbias init --dry-run      say what would be written
  visualbias init                write it
  visualbias init --ci gitlab    for a CI that is not recognised
  visualbias init --schema       and the schema beside the spec, for editors

Nothing is asked, and no file that is there is changed without --force. The exit code is 1 where
such a file was kept, 2 for a wrong call.
"""


def add_init(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="the repository (.)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the files, write none")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument(
        "--ci", choices=["github", "gitlab", "none"], help="whose workflow (default: as is seen)"
    )
    parser.add_argument(
        "--schema", action="store_true", help="write the JSON Schema of specs beside it, too"
    )
    parser.set_defaults(run=_init)


def _init(options: argparse.Namespace) -> int:
    folder = options.folder.absolute()
    if not folder.is_dir():
        print(printable(f"{options.folder} is no folder; name a repository"), file=sys.stderr)
        return USAGE
    repository = scan_repository(folder)
    chosen = choose_models(repository, _recognise)
    planned = plan(
        repository, chosen, forge=options.ci or repository.forge or "none", schema=options.schema
    )
    for line in summary_lines(repository, chosen):
        print(printable(line))
    print()
    if options.dry_run:
        _print_plan(planned)
        return OK
    try:
        states = {
            path: _write_file(folder, path, text, replaces=options.force)
            for path, text in planned.files.items()
        }
    except OSError as error:
        # The error of a full disk names no file.
        problem = f"{error.filename or folder} cannot be written ({error.strerror}); correct it"
        print(printable(problem), file=sys.stderr)
        return USAGE
    for path, state in states.items():
        print(f"{state}: {path}" + ("; --force replaces it" if state == "kept" else ""))
    _print_lines(planned.kept if states[SPEC] == "kept" else planned.written)
    _print_lines(planned.notes)
    print(f"next: visualbias check {SPEC}\nthen: pytest --visualbias")
    return KEPT if "kept" in states.values() else OK


def _print_lines(notes: Sequence[str]) -> None:
    for note in notes:
        print(printable(note))


def _print_plan(planned: Plan) -> None:
    for path, text in planned.files.items():
        print(f"--- {path}\n{text}")
    _print_lines([*planned.written, *planned.notes])


def _write_file(folder: Path, path: str, text: str, *, replaces: bool) -> State:
    """Write a file unless it exists; replace a link instead of writing through it."""
    target = folder / path
    if os.path.lexists(target):
        if target.is_file() and target.read_bytes() == text.encode():
            return "as it was"
        if not replaces:
            return "kept"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return "written"


def _recognise(path: Path, *, named: Iterable[str] = (), guess: bool = True) -> Any:  # noqa: ANN401
    """Recognise the architecture of a checkpoint; this loads torch."""
    adapter = importlib.import_module("pytest_visualbias.models.architectures")
    return adapter.recognise(path, named=named, guess=guess)
