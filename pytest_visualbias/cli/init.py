"""Write a first spec and a CI workflow for a repository (`visualbias init`)."""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pytest_visualbias.cli.check import add_check
from pytest_visualbias.cli.repository import scan_repository
from pytest_visualbias.errors import UsageError, printable
from pytest_visualbias.spec.fields import quoted
from pytest_visualbias.spec.model_entries import PROGRAMS
from pytest_visualbias.spec.schema import BiasSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jinja2 import Template

    from pytest_visualbias.cli.repository import ImageFolder, Network, Repository

OK, INCOMPLETE, USAGE = 0, 1, 2
SPEC = "bias_specs/first.bias.yaml"
SCHEMA = "bias_specs/bias.schema.json"
PYTEST = "pytest.ini"
GITHUB_JOB = ".github/workflows/visualbias.yml"
GITLAB_JOB = ".gitlab/visualbias.gitlab-ci.yml"
GITLAB = ".gitlab-ci.yml"
REPORT = "visualbias-report"
REPORT_FORMATS = ("json", "md", "html")
PLAIN_PATTERN = re.compile(r"[\w./-]+", re.ASCII)
NAMED_SOURCES = ("timm", "torchvision", "open_clip")
SOURCES = (*NAMED_SOURCES, "factory", "transformers", *PROGRAMS)
WITH_NAME = (*NAMED_SOURCES, "factory")
WITH_SIZE = ("factory", *PROGRAMS)
PRETRAINED = "pretrained"
WITH_PRETRAINED = ("timm", "torchvision")
LARGEST_LIST = 20
INI = """\
# Written by 'visualbias init': this folder is the root of pytest.
[pytest]
# Without the plugin (-p no:visualbias) there is no gate: pytest refuses to run then.
required_plugins = pytest-visualbias
"""
EXAMPLES = """examples:
  visualbias init                list what the repository holds, and write a spec if it is clear
  visualbias init --after run/best.pt --source timm --name resnet50
  visualbias init --after run/best.pt --source factory --name nets:build --size 64
  visualbias init --stimuli images --targets women men --attributes career family

No file is changed without --force. The exit code is 1 if a flag is missing, if the spec would not
pass 'visualbias check', or if a file was kept; it is 2 for a wrong call.
"""


def add_init(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="the repository (.)"
    )
    parser.add_argument("--source", choices=SOURCES, help="what builds the network")
    parser.add_argument(
        "--name", help="its name in timm, torchvision or open_clip; for a factory MODULE:FUNCTION"
    )
    parser.add_argument("--after", metavar="PATH", help="checkpoint of the finetuned model")
    parser.add_argument(
        "--before",
        metavar="PATH",
        help="checkpoint it was finetuned from; 'pretrained' for the published weights of its name",
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="input size of a factory or compiled network"
    )
    parser.add_argument("--stimuli", metavar="DIR", help="folder with a folder of images a concept")
    parser.add_argument("--targets", nargs=2, metavar=("X", "Y"), help="two concepts of --stimuli")
    parser.add_argument("--attributes", nargs=2, metavar=("A", "B"), help="two more of them")
    parser.add_argument("--dry-run", action="store_true", help="print the files, write none")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument(
        "--ci", choices=["github", "gitlab", "none"], help="whose workflow (default: detected)"
    )
    parser.add_argument("--schema", action="store_true", help="write the JSON Schema of specs, too")
    parser.set_defaults(run=_init)


def _init(options: argparse.Namespace) -> int:
    if not options.folder.is_dir():
        print(printable(f"{options.folder} is no folder; name a repository"), file=sys.stderr)
        return USAGE
    os.chdir(options.folder)
    repository = scan_repository(Path.cwd())
    for line in _contents(repository):
        print(printable(line))
    forge = options.ci or repository.forge or "none"
    try:
        files = _planned_files(repository, options, forge)
        if options.dry_run:
            for path, text in files.items():
                print(f"--- {path}\n{text}")
            return OK
        return _write(files, repository, options)
    except UsageError as error:
        print(printable(str(error)), file=sys.stderr)
        return INCOMPLETE
    except OSError as error:
        problem = f"{error.filename or '.'} cannot be written ({error.strerror}); correct it"
        print(printable(problem), file=sys.stderr)
        return USAGE


def _contents(repository: Repository) -> Iterator[str]:
    """Yield what the repository holds, one line each, as the flags that choose it."""
    networks = [
        f"--source {network.source} --name {network.name}  ({network.place})"
        for network in repository.networks
    ]
    folders = [
        f"--stimuli {folder.path}  ({_sizes(folder)})" for folder in repository.image_folders
    ]
    yield from _list("checkpoints", repository.checkpoints)
    yield from _list("networks", networks)
    yield from _list("image folders", folders)


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{title}: {len(lines) or 'none'}"
    yield from (f"  {line}" for line in lines[:LARGEST_LIST])
    if len(lines) > LARGEST_LIST:
        yield f"  and {len(lines) - LARGEST_LIST} more"


def _sizes(folder: ImageFolder) -> str:
    return ", ".join(f"{name} {count}" for name, count in folder.concepts.items())


def _planned_files(
    repository: Repository, options: argparse.Namespace, forge: str
) -> dict[str, str]:
    """Return the text of each file by its path."""
    files = {SPEC: _spec(repository, options)}
    if options.schema:
        files[SCHEMA] = json.dumps(BiasSpec.model_json_schema(), indent=2) + "\n"
    if not repository.pytest_configuration:
        files[PYTEST] = INI
    if forge == "github":
        files[GITHUB_JOB] = _workflow("github.yml.j2", repository, options)
    elif forge == "gitlab":
        files[GITLAB_JOB] = _workflow("gitlab.yml.j2", repository, options)
        if not Path(GITLAB).exists():
            files[GITLAB] = f"include:\n  - local: {GITLAB_JOB}\n"
    return files


def _spec(repository: Repository, options: argparse.Namespace) -> str:
    """Return the text of the spec; raise if a flag is missing that it needs."""
    concepts = _concepts(options, repository)
    return _template("spec.yaml.j2").render(
        has_schema=options.schema,
        title="A first test on our images" if concepts else "A first test on drawings",
        models=_models(repository, options),
        stimuli=quoted(posixpath.join("..", options.stimuli)) if concepts else "",
        concepts=[quoted(concept) for concept in concepts],
    )


def _models(repository: Repository, options: argparse.Namespace) -> dict[str, str]:
    """Return the entries of the models before and after; raise for a flag that is missing."""
    after = options.after or _only(repository.checkpoints)
    source, name = options.source, options.name
    network = _only(_fitting(repository.networks, options))
    if network is not None:
        source, name = network.source, network.name
    missing = [] if after else ["--after"]
    missing += [] if source else ["--source"]
    missing += ["--name"] if not name and (source in WITH_NAME or not source) else []
    missing += ["--size"] if options.size is None and source in WITH_SIZE else []
    if missing:
        raise UsageError(
            "the repository does not tell which model to test",
            f"give {', '.join(missing)}; 'visualbias init --help' explains them",
        )
    entries = {"after": _entry(source, name, after, options.size)}
    if options.before:
        entries = {"before": _entry(source, name, options.before, options.size), **entries}
    return entries


def _fitting(networks: Sequence[Network], options: argparse.Namespace) -> list[Network]:
    """Return the networks of the code that the flags admit."""
    return [
        network
        for network in networks
        if options.source in (None, network.source) and options.name in (None, network.name)
    ]


def _only(candidates: Sequence[Any]) -> Any:  # noqa: ANN401
    """Return the only candidate, None if there is none or a choice."""
    return candidates[0] if len(candidates) == 1 else None


def _entry(source: str, name: str, path: str, size: int | None) -> str:
    """Return a model as a line of YAML."""
    keys = {"source": source}
    if source in WITH_NAME:
        keys["call" if source == "factory" else "name"] = quoted(name)
    if path == PRETRAINED and not Path(path).exists():
        if source not in WITH_PRETRAINED:
            known = " and ".join(WITH_PRETRAINED)
            raise UsageError(f"--before {PRETRAINED} is for {known}", "name a checkpoint")
    else:
        key = "checkpoint" if source in WITH_NAME else "path"
        keys[key] = quoted(posixpath.join("..", path))
    if size is not None:
        keys["transform"] = f"{{size: {size}}}"
    return f"{{{', '.join(f'{key}: {value}' for key, value in keys.items())}}}"


def _concepts(options: argparse.Namespace, repository: Repository) -> list[str]:
    """Return X, Y, A and B; nothing without ``--stimuli``."""
    if options.stimuli is None:
        if options.targets or options.attributes:
            raise UsageError("--targets and --attributes need --stimuli", "name the folder")
        return []
    if not (options.targets and options.attributes):
        folders = {folder.path: folder for folder in repository.image_folders}
        folder = folders.get(posixpath.normpath(options.stimuli))
        choice = f"; its concepts: {_sizes(folder)}" if folder else ""
        raise UsageError(f"--targets or --attributes is missing{choice}", "give two concepts each")
    return [*options.targets, *options.attributes]


def _workflow(template: str, repository: Repository, options: argparse.Namespace) -> str:
    checkpoints = [options.before, options.after or _only(repository.checkpoints)]
    paths = ["bias_specs/**", *_patterns([path for path in checkpoints if path])]
    requirements = {"requirements.txt": "-r requirements.txt", "": "timm"}
    return _template(template).render(
        install=f"{requirements.get(repository.requirements, '.')} pytest-visualbias",
        cache=".visualbias",
        hashed=", ".join(f"'{path}'" for path in paths),
        reports=" ".join(f"--visualbias-{name}={REPORT}.{name}" for name in REPORT_FORMATS),
        report=REPORT,
    )


def _patterns(paths: Sequence[str]) -> list[str]:
    """Return patterns for the folders of checkpoints, but for those with unusual names."""
    patterns: dict[str, None] = {}
    for path in paths:
        folder = posixpath.dirname(path)
        pattern = f"{folder}/*" if folder else f"*{posixpath.splitext(path)[1]}"
        if PLAIN_PATTERN.fullmatch(pattern.replace("*", "x")):
            patterns[pattern] = None
    return [*patterns]


def _template(name: str) -> Template:
    """Return a template whose marks do not occur in workflows."""
    environment = Environment(
        loader=PackageLoader("pytest_visualbias.cli"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def _write(files: dict[str, str], repository: Repository, options: argparse.Namespace) -> int:
    """Write the spec, then the other files if it passes the check."""
    spec = Path(SPEC)
    previous = spec.read_bytes() if spec.exists() else None
    states = {SPEC: _write_file(SPEC, files.pop(SPEC), replaces=options.force)}
    if states[SPEC] == "written" and not _passes_check():
        spec.unlink()
        if previous is not None:
            spec.write_bytes(previous)
        print(f"{SPEC} was not written; mend what is named above, or give other flags")
        return INCOMPLETE
    for path, text in files.items():
        states[path] = _write_file(path, text, replaces=options.force)
    for path, state in states.items():
        print(f"{state}: {path}" + ("; --force replaces it" if state == "kept" else ""))
    for note in _notes(repository, options):
        print(printable(note))
    print("next: pytest --visualbias")
    return INCOMPLETE if "kept" in states.values() else OK


def _passes_check() -> bool:
    """Run `visualbias check` on the spec, which prints what is wrong with it."""
    parser = argparse.ArgumentParser()
    add_check(parser)
    options = parser.parse_args([SPEC])
    return bool(options.run(options) == OK)


def _notes(repository: Repository, options: argparse.Namespace) -> Iterator[str]:
    if repository.pytest_configuration:
        yield (
            f"to do in {repository.pytest_configuration}: add 'required_plugins = "
            "pytest-visualbias', so that pytest refuses to run without the gate"
        )
    forge = options.ci or repository.forge
    if forge is None:
        yield "no workflow was written; 'visualbias init --ci github' or '--ci gitlab' does"
    elif forge == "gitlab" and Path(GITLAB).exists() and not _includes_job():
        yield f"to do in {GITLAB}: add '- local: {GITLAB_JOB}' under 'include:'"


def _includes_job() -> bool:
    return GITLAB_JOB in Path(GITLAB).read_text(encoding="utf-8", errors="replace")


def _write_file(path: str, text: str, *, replaces: bool) -> str:
    """Write a file unless it exists; replace a link instead of writing through it."""
    target = Path(path)
    if os.path.lexists(target):
        if target.is_file() and target.read_bytes() == text.encode():
            return "unchanged"
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
