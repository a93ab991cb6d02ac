"""Measure the structure of the package, and fail where a measure exceeds its limit.

The limits may only go down, except in a commit that adds a feature and says why. Run with
``--write`` to lower them to what is measured.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grimp

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pytest_visualbias"
LIMITS = Path(__file__).with_name("architecture.json")

LONG_FUNCTION = 40  # lines of its body, without the docstring
MANY_PARAMETERS = 6
LONG_MODULE = 450
STEP = 250  # to which limits of lines are rounded up
UNCLEAR_NAMES = frozenset({"found", "most", "of", "one", "own", "said", "there", "told"})
NOT_ENTRIES = frozenset({"__init__.py", "__main__.py"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """A source file of the package."""

    path: Path
    tree: ast.Module

    @property
    def functions(self) -> list[Function]:
        """Its functions and methods."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @property
    def classes(self) -> list[ast.ClassDef]:
        """Its public classes."""
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]
        return [node for node in nodes if not node.name.startswith("_")]


def main() -> int:
    """Print every measure beside its limit; return 1 if one exceeds it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="lower the limits to what is measured")
    write = parser.parse_args().write
    measures = measured()
    limits: dict[str, int] = json.loads(LIMITS.read_text(encoding="utf-8"))
    if write:
        lowered = {name: rounded(name, value) for name, value in measures.items()}
        limits = {name: min(limits.get(name, value), value) for name, value in lowered.items()}
        LIMITS.write_text(json.dumps(limits, indent=2) + "\n", encoding="utf-8")
    exceeded = [name for name, value in measures.items() if value > limits[name]]
    width = max(map(len, measures))
    for name, value in measures.items():
        mark = "  exceeds its limit" if name in exceeded else ""
        print(f"{name:<{width}}  {value:>6}  limit {limits[name]:>6}{mark}")
    return 1 if exceeded else 0


def rounded(name: str, value: int) -> int:
    """Return a limit for a measure: counts of lines leave room for a small mend."""
    return math.ceil(value / STEP) * STEP if name.startswith("lines") else value


def measured() -> dict[str, int]:
    """Return the measures of the package."""
    modules = [
        Module(path=path, tree=ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    functions = [function for module in modules for function in module.functions]
    lines = {module.path: len(module.path.read_text("utf-8").splitlines()) for module in modules}
    return {
        "modules": len(modules),
        "lines": sum(lines.values()),
        "lines of code": sum(code_lines(module) for module in modules),
        "import cycles": import_cycles(),
        "top-level entries": len(top_level(modules)),
        f"functions over {LONG_FUNCTION} lines": sum(
            body_lines(function) > LONG_FUNCTION for function in functions
        ),
        f"functions with over {MANY_PARAMETERS} parameters": sum(
            parameters(function) > MANY_PARAMETERS for function in functions
        ),
        f"modules over {LONG_MODULE} lines": sum(count > LONG_MODULE for count in lines.values()),
        "unclear local names": sum(unclear_names(function) for function in functions),
        "module names used twice": repeated(
            module.path.stem for module in modules if module.path.parent.name != "cli"
        ),
        "class names used twice": repeated(
            node.name for module in modules for node in module.classes
        ),
    }


def top_level(modules: list[Module]) -> set[str]:
    """Return the packages and modules at the top level; a folder without modules is none."""
    return {module.path.relative_to(PACKAGE).parts[0] for module in modules} - NOT_ENTRIES


def import_cycles() -> int:
    """Return how many imports would have to go for no cycle to be left, in any package."""
    graph = grimp.build_graph("pytest_visualbias", exclude_type_checking_imports=False)
    packages = [name for name in graph.modules if graph.find_children(name)]
    return sum(len(graph.nominate_cycle_breakers(package)) for package in packages)


def code_lines(module: Module) -> int:
    """Return the lines of a module that are neither blank, comment nor docstring."""
    with module.path.open("rb") as file:
        kinds = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING}
        kinds |= {tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
        lines = {
            line
            for token in tokenize.tokenize(file.readline)
            if token.type not in kinds
            for line in range(token.start[0], token.end[0] + 1)
        }
    return len(lines - set(docstring_lines(module.tree)))


def docstring_lines(tree: ast.Module) -> Iterator[int]:
    """Yield the line numbers of docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node):
            first = node.body[0]
            yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def body_lines(function: Function) -> int:
    """Return the lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(function: Function) -> int:
    """Return how many parameters a function has, without `self` and `cls`."""
    arguments = function.args
    names = [
        parameter.arg
        for parameter in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    ]
    return len([name for name in names if name not in {"self", "cls"}])


def unclear_names(function: Function) -> int:
    """Return how many names without a meaning of their own a function binds."""
    arguments = function.args
    bound = {parameter.arg for parameter in (*arguments.args, *arguments.kwonlyargs)}
    bound |= {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return len(bound & UNCLEAR_NAMES)


def repeated(names: Iterator[str]) -> int:
    """Return how many names occur more than once."""
    return sum(count > 1 for name, count in Counter(names).items() if name != "__init__")


if __name__ == "__main__":
    sys.exit(main())
