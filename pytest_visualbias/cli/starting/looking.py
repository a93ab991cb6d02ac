"""List the relevant files of a repository without running any of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pytest_visualbias.cli.starting.code import read_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.cli.starting.code import Factory, Mention

Forge = Literal["github", "gitlab"]
WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt")

# What trainers save beside weights, and data that were saved as tensors.
NO_WEIGHTS = re.compile(r"(?i)optim|sched|rng|scaler|training_args|dataset|features|embedding")
SKIPPED = frozenset(
    {"node_modules", "site-packages", "build", "dist", "cache", "__pycache__", "wandb", "mlruns"}
)
ENVIRONMENT = "pyvenv.cfg"
MOST_ENTRIES = 20_000
MOST_FOLDERS_DOWN = 6
SMALL = 2**20
LFS = b"version https://git-lfs"
REQUIREMENTS = (
    *("requirements.txt", "pyproject.toml", "setup.cfg", "setup.py", "environment.yml"),
    *("requirements-dev.txt", "requirements/base.txt"),
)
NEEDS_TIMM = re.compile(r"""^\s*(?:-\s*)?["']?timm\b|["']timm\b""", re.MULTILINE)

# A file that configures pytest, and what stands in it where it does.
CONFIGURATIONS = (
    ("pytest.toml", r""),
    (".pytest.toml", r""),
    ("pytest.ini", r""),
    (".pytest.ini", r""),
    ("pyproject.toml", r"^\[tool\.pytest(?:\.ini_options)?\]"),
    ("tox.ini", r"^\[pytest\]"),
    ("setup.cfg", r"^\[tool:pytest\]"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A file of weights."""

    path: str
    size: int
    modified: float
    is_pointer: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """What was seen."""

    folder: Path
    needs_timm: str = ""
    installed_by: str = ""
    configured_by: str = ""
    forge: Forge | None = None
    is_included: bool = False
    checkpoints: tuple[Checkpoint, ...] = ()
    mentions: tuple[Mention, ...] = ()
    factories: tuple[Factory, ...] = ()
    is_cut: bool = False


@dataclass(slots=True)
class _Walk:
    """The files of a repository, as far as they are looked at."""

    folder: Path
    left: int
    is_cut: bool = False
    checkpoints: list[Checkpoint] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)

    def go(self, folder: Path, depth: int = 0) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        if any(entry.name == ENVIRONMENT for entry in entries) and depth:
            return
        for entry in entries:
            self.left -= 1
            if self.left < 0:
                self.is_cut = True
                return
            self._take(entry, depth)

    def _take(self, entry: os.DirEntry[str], depth: int) -> None:
        name = entry.name
        if name.startswith(".") or not name.isprintable():
            return
        if entry.is_dir(follow_symlinks=False):
            if name.lower() in SKIPPED or name.endswith(".egg-info"):
                return
            if depth >= MOST_FOLDERS_DOWN:
                self.is_cut = True
                return
            self.go(Path(entry.path), depth + 1)
        elif name.endswith(".py"):
            self.modules.append(self._shown(entry))
        elif name.lower().endswith(WEIGHTS) and not NO_WEIGHTS.search(name):
            self._weights(entry)

    def _weights(self, entry: os.DirEntry[str]) -> None:
        try:
            state = entry.stat()
            is_pointer = state.st_size < SMALL and Path(entry.path).read_bytes().startswith(LFS)
        except OSError:
            return
        if entry.is_file() and state.st_size:
            checkpoint = Checkpoint(
                path=self._shown(entry),
                size=state.st_size,
                modified=state.st_mtime,
                is_pointer=is_pointer,
            )
            self.checkpoints.append(checkpoint)

    def _shown(self, entry: os.DirEntry[str]) -> str:
        return Path(entry.path).relative_to(self.folder).as_posix()


def look(folder: Path) -> Repository:
    """Look at a repository: names of files, and texts of those that configure or are Python."""
    walk = _Walk(folder, left=MOST_ENTRIES)
    walk.go(folder)
    code = [read_code(folder, module) for module in walk.modules]
    newest = sorted(
        walk.checkpoints,
        key=lambda checkpoint: (-checkpoint.modified, -checkpoint.size, checkpoint.path),
    )
    return Repository(
        folder=folder,
        needs_timm=next(_with(folder, REQUIREMENTS, NEEDS_TIMM), ""),
        installed_by=_installed_by(folder),
        configured_by=_configured_by(folder),
        forge=_forge(folder),
        is_included="visualbias.gitlab-ci.yml" in _text(folder / ".gitlab-ci.yml"),
        checkpoints=tuple(newest),
        mentions=tuple(mention for part in code for mention in part.mentions),
        factories=tuple(factory for part in code for factory in part.factories),
        is_cut=walk.is_cut,
    )


def _with(folder: Path, names: tuple[str, ...], pattern: re.Pattern[str]) -> Iterator[str]:
    return (name for name in names if pattern.search(_text(folder / name)))


def _text(path: Path) -> str:
    """Return a small text, or nothing where there is none."""
    try:
        if path.stat().st_size > SMALL:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _installed_by(folder: Path) -> str:
    project = re.compile(r"^\[(?:project|tool\.poetry)\]", re.MULTILINE)
    if project.search(_text(folder / "pyproject.toml")):
        return "pyproject.toml"
    names = ("setup.py", "requirements.txt")
    return next((name for name in names if (folder / name).is_file()), "")


def _configured_by(folder: Path) -> str:
    for name, pattern in CONFIGURATIONS:
        if (folder / name).is_file() and re.search(pattern, _text(folder / name), re.MULTILINE):
            return name
    return ""


def _forge(folder: Path) -> Forge | None:
    """Return whose CI there is, else where the repository is pushed to."""
    if (folder / ".gitlab-ci.yml").is_file():
        return "gitlab"
    if (folder / ".github").is_dir():
        return "github"
    remotes = re.findall(r"^\s*url\s*=\s*(\S+)", _text(folder / ".git" / "config"), re.MULTILINE)
    hosts = [re.sub(r"^(?:\w+://)?(?:[^@/]*@)?([^/:]+).*", r"\1", url) for url in remotes]
    if any("github" in host for host in hosts):
        return "github"
    return "gitlab" if any("gitlab" in host for host in hosts) else None
