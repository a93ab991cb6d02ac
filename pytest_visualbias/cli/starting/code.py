"""Find networks in a repository's Python files without importing them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = 2**20
MAKES = "create_model"
ARCHITECTURE = re.compile(r"[A-Za-z][\w.]*")
RETURNS = ("Module", "nn.Module", "torch.nn.Module")
NAMED = ("build_model", "create_model", "make_model", "get_model", "build_network", "make_network")
ROOTS = ("src/",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mention:
    """A name in a call of timm's ``create_model``, and its place."""

    name: str
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Factory:
    """A function without required arguments that seems to return a network."""

    call: str
    place: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeFindings:
    """Networks that one file mentions or builds."""

    mentions: tuple[Mention, ...] = ()
    factories: tuple[Factory, ...] = ()


def read_code(folder: Path, module: str) -> CodeFindings:
    """Return the networks in a file; empty if it is not Python or very long."""
    path = folder / module
    try:
        if path.stat().st_size > SMALL:
            return CodeFindings()
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return CodeFindings()
    return CodeFindings(
        mentions=tuple(_mentions(tree, module)), factories=tuple(_factories(tree, module))
    )


def _mentions(tree: ast.Module, module: str) -> Iterator[Mention]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node).endswith(MAKES):
            values = [*node.args[:1], *(keyword.value for keyword in node.keywords)]
            for value in values:
                text = value.value if isinstance(value, ast.Constant) else None
                if isinstance(text, str) and ARCHITECTURE.fullmatch(text):
                    yield Mention(name=text, place=f"{module}:{node.lineno}")


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""


def _factories(tree: ast.Module, module: str) -> Iterator[Factory]:
    name = _importable(module)
    if name is None:
        return
    classes = tuple(
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) in RETURNS for base in node.bases)
    )
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or _needs_arguments(node.args):
            continue
        returns = ast.unparse(node.returns).strip("'\"") if node.returns is not None else ""
        if returns in (*RETURNS, *classes) or (
            node.name in NAMED and not node.name.startswith("_")
        ):
            yield Factory(call=f"{name}:{node.name}", place=f"{module}:{node.lineno}")


def _needs_arguments(arguments: ast.arguments) -> bool:
    positional = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return positional > 0 or any(default is None for default in arguments.kw_defaults)


def _importable(module: str) -> str | None:
    """Return the module name of a file, relative to the repository or its ``src``."""
    for root in ROOTS:
        module = module.removeprefix(root)
    parts = module.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts = parts[:-1]
    is_test = parts[:1] == ["tests"] or any(part.startswith("test_") for part in parts)
    if not parts or is_test or not all(part.isidentifier() for part in parts):
        return None
    return ".".join(parts)
