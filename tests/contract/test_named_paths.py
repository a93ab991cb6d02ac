"""Every module, attribute and path of the package that configuration and texts name exists."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef, import-not-found, unused-ignore]

ROOT = Path(__file__).parents[2]
SUFFIXES = {".cfg", ".html", ".json", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}
FOLDERS = (".ci", ".github", "benchmarks", "docs", "examples")
NAMES = re.compile(r"\bpytest_visualbias(?:\.[A-Za-z_]\w*)+")
PATHS = re.compile(r"\bpytest_visualbias(?:/\w+)+(?:\.\w+)*")
ENTRY_POINTS = {"pytest_visualbias.sources"}  # the name of a group, no module


def texts() -> list[Path]:
    """Return the files beside the package that may name its modules."""
    files = [path for path in ROOT.iterdir() if path.suffix in SUFFIXES or path.name == "Makefile"]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted(path for path in files if path.is_file() and "CHANGELOG" not in path.name)


def exists(name: str) -> bool:
    """Whether a dotted name is a module or an attribute."""
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return False
    return True


def test_dotted_names_exist() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts()
        for name in NAMES.findall(path.read_text(encoding="utf-8", errors="replace"))
        if name not in ENTRY_POINTS and not exists(name)
    }
    assert missing == set()


def test_paths_exist() -> None:
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in texts()
        for name in PATHS.findall(path.read_text(encoding="utf-8", errors="replace"))
        if not (ROOT / name).exists() and not name.startswith("pytest_visualbias/_shipped")
    }
    assert missing == set()


def test_patterns_of_ruff_match_files() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = config["tool"]["ruff"]["lint"]["per-file-ignores"]
    unused = {pattern for pattern in patterns if not any(ROOT.glob(pattern))}
    assert unused == set()


def test_pages_of_the_navigation_exist() -> None:
    class Loader(yaml.SafeLoader):
        """Passes over the tags of Python that MkDocs knows."""

    Loader.add_multi_constructor("", lambda *_: None)
    navigation = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]
    missing = {page for page in _pages(navigation) if not (ROOT / "docs" / page).is_file()}
    assert missing == set()


def _pages(navigation: Any) -> list[str]:  # noqa: ANN401 - nested lists and mappings
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for part in parts for page in _pages(part)]


@pytest.mark.parametrize("name", ["pytest_visualbias.nothing", "pytest_visualbias.errors.Nothing"])
def test_a_name_that_is_gone_is_seen(name: str) -> None:
    assert not exists(name)
