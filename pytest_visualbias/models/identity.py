"""Which weights and which code an entry means, without loading either.

Nothing here imports torch: a run whose embeddings are all cached needs no more than this.
"""

from __future__ import annotations

import ast
import dataclasses
import glob
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import Identity
from pytest_visualbias.models.outside import outside_root
from pytest_visualbias.spec.digests import digest_of_file, digest_of_mapping
from pytest_visualbias.spec.pointers import REMEDY, is_pointer
from pytest_visualbias.spec.schema import IN_MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.spec.schema import FactoryModel, InMemoryModel, TimmModel

__all__ = [
    "HUB_NAMES",
    "code_files",
    "identify_factory",
    "identify_in_memory",
    "identify_timm",
    "module_file",
]

LIBRARIES = ("pillow", "pytest-visualbias", "timm", "torch", "torchvision")
HUB_NAMES = ("hf-hub:", "hf_hub:", "local-dir:")


def identify_timm(entry: TimmModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a timm entry, one per checkpoint or seed.

    Raises
    ------
    EncoderError
        For a checkpoint that is not there.
    """
    facts = {
        "source": "timm",
        "name": entry.name,
        "arguments": json.dumps(entry.arguments, sort_keys=True),
        "preprocess": entry.preprocess,
        "transform": _transform_text(entry),
        "ignore": json.dumps(entry.ignore),
        **_place(entry),
    }
    is_pretrained = entry.pretrained is not False and entry.random_init is None
    found = _identities(entry, context, facts, loads_own_weights=is_pretrained)
    if entry.name.startswith(HUB_NAMES):
        # The architecture and the preprocessing stand in a file there, which may change.
        return tuple(dataclasses.replace(identity, is_whole=False) for identity in found)
    return found


def identify_factory(entry: FactoryModel, context: Context) -> tuple[Identity, ...]:
    """Return the identities of a factory entry, one per checkpoint or seed.

    The digest of the function's code covers its module and every module of the project that it
    imports, directly or not: an edited architecture must not be answered from a cache.

    Raises
    ------
    EncoderError
        For a checkpoint or a module that is not there.
    """
    module, _, _ = entry.call.partition(":")
    files = code_files(module_file(module, context), context)
    code: dict[str, str] = {}
    # Sorted, as two roots may have a file of the same name, and neither may hide the other.
    for name, digest in sorted(
        (str(path.relative_to(root)), digest_of_file(path)) for path, root in files.items()
    ):
        code[name] = code.get(name, "") + digest
    facts = {
        "source": "factory",
        "call": entry.call,
        "code": digest_of_mapping(code),
        "packages": json.dumps(_packages(files, context), sort_keys=True),
        "preprocess": entry.preprocess,
        "transform": _transform_text(entry),
        "ignore": json.dumps(entry.ignore),
        **_place(entry),
    }
    return _identities(entry, context, facts, loads_own_weights=entry.random_init is None)


def identify_in_memory(entry: InMemoryModel, context: Context) -> tuple[Identity, ...]:
    """Return the identity of a network that Python code holds; its weights are digested later.

    Raises
    ------
    EncoderError
        Where nothing is held under its key, as where a spec names this source itself.
    """
    if entry.key not in context.modules:
        raise EncoderError(
            f"no module is held under '{entry.key}'; Python code gives one with "
            "audit(SPEC, models={NAME: MODULE}), a spec names another source"
        )
    kind = type(context.modules[entry.key].module)
    facts = {
        "source": IN_MEMORY,
        "class": f"{kind.__module__}.{kind.__qualname__}",
        **{name: _version(name) for name in LIBRARIES},
    }
    return (Identity(label="in memory", facts=facts, is_whole=False, is_kept=False),)


def _identities(
    entry: TimmModel | FactoryModel,
    context: Context,
    facts: dict[str, str],
    *,
    loads_own_weights: bool,
) -> tuple[Identity, ...]:
    # What turns a file into vectors, besides the weights. Our own version stands for our code.
    facts = {**facts, **{name: _version(name) for name in LIBRARIES}}
    if entry.checkpoint is not None:
        paths = _checkpoint_paths(entry.checkpoint, context)
        names = [path.name for path in paths]
        return tuple(
            _checkpoint(
                path, facts, path.name if names.count(path.name) == 1 else str(path), context
            )
            for path in paths
        )
    if loads_own_weights:
        return (Identity(label="own weights", facts=facts, is_whole=False),)
    seeds = range(entry.random_init or 1)
    return tuple(
        Identity(label=f"seed {seed}", facts={**facts, "seed": str(seed)}, seed=seed)
        for seed in seeds
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _checkpoint(path: Path, facts: dict[str, str], label: str, context: Context) -> Identity:
    try:
        if is_pointer(path):
            raise EncoderError(f"{path} {REMEDY}")
        digest = context.digest(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise EncoderError(
            f"the checkpoint {path} cannot be read ({reason}); correct the path"
        ) from None
    return Identity(label=label, facts={**facts, "checkpoint": digest}, checkpoint=path)


def _checkpoint_paths(checkpoint: str | tuple[str, ...], context: Context) -> list[Path]:
    patterns = [checkpoint] if isinstance(checkpoint, str) else list(checkpoint)
    paths: list[Path] = []
    for pattern in patterns:
        path = context.folder / pattern
        # Path.exists raises about names that no file can have.
        if os.path.exists(path) or not glob.has_magic(pattern):  # noqa: PTH110
            paths.append(path)
            continue
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute patterns, too
        if not found:
            raise EncoderError(f"no checkpoint matches {path}; correct the pattern")
        paths += found
    return [*dict.fromkeys(paths)]


def _transform_text(entry: TimmModel | FactoryModel) -> str:
    transform = entry.transform
    return "" if transform is None else transform.model_dump_json(exclude_none=True)


def _place(entry: TimmModel | FactoryModel) -> dict[str, str]:
    """Return which weights of a checkpoint are meant, where the entry says so."""
    said = {"container": entry.container, "prefix": entry.prefix}
    return {key: text for key, text in said.items() if text is not None}


def module_file(module: str, context: Context) -> Path:
    """Return the file of a module of the project.

    Raises
    ------
    EncoderError
        Where there is none below the project, its ``src`` or the folder of the spec.
    """
    for root in _roots(context):
        if path := _module_path(module, root):
            return path
    places = ", ".join(str(root) for root in _roots(context))
    raise EncoderError(f"the module '{module}' was not found below {places}; correct 'call'")


def _roots(context: Context) -> tuple[Path, ...]:
    roots = (context.project, context.project / "src", context.folder)
    return tuple(dict.fromkeys(root.resolve() for root in roots))


def _module_path(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises about names that are too long
            return path
    return None


def code_files(start: Path, context: Context) -> dict[Path, Path]:
    """Return a file and the project's files that it imports, each with the root it lies below.

    Files that are imported from elsewhere and were not installed are as good as the project's.
    Imports are read from the text, nothing is run; dynamic imports are not seen.
    """
    found: dict[Path, Path] = {}
    roots = [*_roots(context)]
    waiting = [start]
    while waiting:
        path = waiting.pop()
        root = next((root for root in roots if path.is_relative_to(root)), None)
        if path in found or root is None:
            continue
        found[path] = root
        # Importing a.b runs the code of a, too.
        packages = (folder / "__init__.py" for folder in path.parents if folder != root)
        waiting += [at for at in packages if at.is_relative_to(root) and at.is_file()]
        modules = {*_imports(path, root)}
        tops = {module.partition(".")[0] for module in modules}
        roots += sorted({at for top in tops if (at := outside_root(top))} - {*roots})
        for module in modules:
            waiting += [at for base in roots if (at := _module_path(module, base))]
    return found


def _packages(files: Mapping[Path, Path], context: Context) -> dict[str, str]:
    """Return the versions of the packages from elsewhere that code of the project imports."""
    tops = {name.partition(".")[0] for path, root in files.items() for name in _imports(path, root)}
    tops -= {*sys.stdlib_module_names, *LIBRARIES}
    foreign = {top for top in tops if not any(_module_path(top, at) for at in _roots(context))}
    if not foreign:
        return {}
    providers = importlib.metadata.packages_distributions()
    names = {name for top in foreign for name in providers.get(top, ())}
    return {name: _version(name) for name in sorted(names)}


def _imports(path: Path, root: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise EncoderError(
            f"{path}:{error.lineno} is not Python ({error.msg}); correct it"
        ) from None
    except ValueError as error:  # Python 3.10's about null bytes
        raise EncoderError(f"{path} is not Python ({error}); correct it") from None
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
            yield from (".".join(pieces[:end]) for end in range(1, len(pieces) + 1) if name)
