"""Find the source files of a network's code, and compute their digest."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.hashing import digest_of_file, digest_of_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.machinery import ModuleSpec

# What lies there was installed, and changes with its version.
INSTALLED = frozenset({"dist-packages", "site-packages"})


def uninstalled_root(top: str) -> Path | None:
    """Return the folder of a top-level module that is not installed as a package."""
    if not top or top in sys.stdlib_module_names:
        return None
    try:
        spec = _find_spec(top)
    except (AttributeError, ImportError, ValueError):  # of finders
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    origin = folders[0] if folders else spec.origin
    if origin is None or not Path(origin).exists():  # built in, or frozen
        return None
    path = Path(origin).resolve()
    return None if INSTALLED & {*path.parts} else path.parent


def _find_spec(top: str) -> ModuleSpec | None:
    """Return where a module would be imported from now."""
    # importlib.util.find_spec would answer from what another model's code has brought in.
    specs = (finder.find_spec(top, None) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


LIBRARIES = ("pillow", "pytest-visualbias", "timm", "torch", "torchvision")


class Folders(Protocol):
    """Folders that may hold the code of a project."""

    @property
    def project(self) -> Path:
        """The root of the project."""

    @property
    def folder(self) -> Path:
        """The folder of the spec."""


def version_of(package: str) -> str:
    """Return the version of an installed package, or an empty text."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def module_file(module: str, context: Folders) -> Path:
    """Return the file of a module of the project."""
    for root in _roots(context):
        if path := module_path(module, root):
            return path
    places = ", ".join(str(root) for root in _roots(context))
    raise EncoderError(f"the module '{module}' was not found below {places}", "correct 'call'")


def _roots(context: Folders) -> tuple[Path, ...]:
    roots = (context.project, context.project / "src", context.folder)
    return tuple(dict.fromkeys(root.resolve() for root in roots))


def module_path(module: str, root: Path) -> Path | None:
    """Return the file of a module below a folder, or None."""
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises about names that are too long
            return path
    return None


def code_files(start: Path, context: Folders) -> dict[Path, Path]:
    """Return a file and the project files that it imports, each with its root."""
    files: dict[Path, Path] = {}
    roots = [*_roots(context)]
    waiting = [start]
    while waiting:
        path = waiting.pop()
        root = next((root for root in roots if path.is_relative_to(root)), None)
        if path in files or root is None:
            continue
        files[path] = root
        # Importing a.b runs the code of a, too.
        packages = (folder / "__init__.py" for folder in path.parents if folder != root)
        waiting += [at for at in packages if at.is_relative_to(root) and at.is_file()]
        modules = _imports(path, root)
        tops = {module.partition(".")[0] for module in modules}
        roots += sorted({at for top in tops if (at := uninstalled_root(top))} - {*roots})
        for module in modules:
            waiting += [at for base in roots if (at := module_path(module, base))]
    return files


def digest_of_code(files: Mapping[Path, Path]) -> str:
    """Return the digest of code files, by their names below their roots."""
    code: dict[str, str] = {}
    # Sorted, as two roots may have a file of the same name, and neither may hide the other.
    for name, digest in sorted(
        (str(path.relative_to(root)), digest_of_file(path)) for path, root in files.items()
    ):
        code[name] = code.get(name, "") + digest
    return digest_of_mapping(code)


def packages_of(files: Mapping[Path, Path], context: Folders) -> dict[str, str]:
    """Return the versions of third-party packages that project code imports."""
    tops = {name.partition(".")[0] for path, root in files.items() for name in _imports(path, root)}
    tops -= {*sys.stdlib_module_names, *LIBRARIES}
    foreign = {top for top in tops if not any(module_path(top, at) for at in _roots(context))}
    if not foreign:
        return {}
    providers = importlib.metadata.packages_distributions()
    names = {name for top in foreign for name in providers.get(top, ())}
    return {name: version_of(name) for name in sorted(names)}


def _imports(path: Path, root: Path) -> frozenset[str]:
    """Return the modules that a file imports, parsed again only if the file changed."""
    state = path.stat()
    return _parse_imports(path, root, (state.st_mtime_ns, state.st_size, state.st_ino))


@functools.cache
def _parse_imports(path: Path, root: Path, _state: tuple[int, ...]) -> frozenset[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise EncoderError(
            f"{path}:{error.lineno} is not Python ({error.msg})", "correct it"
        ) from None
    except ValueError as error:  # Python 3.10's about null bytes
        raise EncoderError(f"{path} is not Python ({error})", "correct it") from None
    modules: set[str] = set()
    parts = path.relative_to(root).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(parts[: -node.level]) if node.level else ""
            base = ".".join(filter(None, [package, node.module or ""]))
            names = [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
        else:
            continue
        for name in names:
            pieces = name.split(".")
            # Importing a.b runs the code of a, too.
            modules |= {".".join(pieces[:end]) for end in range(1, len(pieces) + 1) if name}
    return frozenset(modules)
