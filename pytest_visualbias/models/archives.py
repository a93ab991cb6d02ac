"""Whether a file of torch.export can be loaded without running what somebody wrote into it.

Torch unpickles parts of such a file, loads compiled libraries from it, and evaluates the
expressions of its shapes as Python. Only files with none of that are handed to it.
"""

from __future__ import annotations

import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["check_archive"]

# Behind the name of the archive: the graph, tensors, and what says how they lie.
MEMBERS = re.compile(
    r"[^/]+/(archive_format|archive_version|version|byteorder|\.format_version"
    r"|\.storage_alignment|\.data/[\w.]+|models/[^/]+\.json"
    r"|data/weights/(weight_\d+|[^/]+_config\.json)"
    r"|data/constants/(tensor_\d+|[^/]+_config\.json)"
    r"|data/sample_inputs/[^/]+\.pt|extra/[^/]+)"
)
EXPRESSION = "expr_str"
# Sizes by their letters, numbers, and the functions that torch writes of them.
WORDS = re.compile(r"[A-Za-z_]\w*")
KNOWN = re.compile(
    r"[suz]\d+|Max|Min|Mod|PythonMod|Pow|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|FloatTrueDiv"
    r"|TruncToInt|CeilToInt|FloorToInt|ModularIndexing|Abs|Add|Mul|Eq|Ne|Le|Lt|Ge|Gt|And|Or|Not"
    r"|Where|Identity|Symbol|Integer|Rational|True|False|oo|int_oo|integer|positive|nonnegative"
)
LETTERS = re.compile(r"[\w\s+\-*/%(),.<>=!&|~']*")


def check_archive(path: Path) -> None:
    """Refuse a file that is no exported program, or one that is more than tensors and a graph.

    Raises
    ------
    EncoderError
        With what was found in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if not MEMBERS.fullmatch(name):
                    raise _more_than_a_graph(path, f"'{name}'")
                if name.endswith(".json") and "/models/" in name:
                    _check_graph(path, json.loads(archive.read(name)))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EncoderError(
            f"{path} is no program of torch.export, or is damaged ({reason}); copy or save it again"
        ) from None


def _check_graph(path: Path, graph: Any) -> None:
    for text in _expressions(graph):
        is_plain = LETTERS.fullmatch(text) and "__" not in text and not re.search(r"\.\D", text)
        words = WORDS.findall(text)
        if not is_plain or not all(KNOWN.fullmatch(word) for word in words):
            raise _more_than_a_graph(path, f"the size '{text}'")


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == EXPRESSION and isinstance(inner, str):
                yield inner
            else:
                yield from _expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _expressions(inner)


def _more_than_a_graph(path: Path, what: str) -> EncoderError:
    return EncoderError(
        f"{path} holds {what}, more than a graph and tensors, and was not loaded: that could run "
        "code; export the network alone, with the version of torch that is installed here"
    )
