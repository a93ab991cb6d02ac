"""Read names and shapes of weights from file headers, without loading them."""

from __future__ import annotations

import functools
import importlib.util
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.identity import HUB_NAMES
from pytest_visualbias.models.weight_files import find_weight_files, is_multi_file
from pytest_visualbias.spec.hashing import TEXT, is_text
from pytest_visualbias.spec.model_entries import NetworkEntry, ProgramModel, TimmModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_visualbias.models.encoder import Identity
    from pytest_visualbias.spec.model_entries import ModelEntry

AGAIN = "copy or save it again"
ONCE = "keep one of them"

# What torch writes: an archive, or a pickle as before 1.6; and the archives of its first versions.
ARCHIVE, PICKLE, TAR = b"PK", b"\x80", b"ustar"
TAR_AT = 257
REGISTERED = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)


def find_flaws(entry: ModelEntry, identities: Iterable[Identity]) -> Iterator[str]:
    """Yield what is wrong with the checkpoints and the name of an entry."""
    look = _header_check(entry)
    for identity in identities:
        path = identity.checkpoint
        # Where the weights are in several files, the digest has read them all.
        if path is None or look is None or is_multi_file(path):
            continue
        if (flaw := look(path)) is not None:
            yield flaw
    if isinstance(entry, TimmModel) and (unknown := _explain_unknown(entry.name)) is not None:
        yield unknown


def describe_weights(path: Path) -> frozenset[str]:
    """Return the names, shapes and dtypes of a checkpoint's weights without reading them."""
    return frozenset(text for file in find_weight_files(path) for text in _contents(file))


def _contents(file: Path) -> Iterator[str]:
    if file.suffix != ".safetensors":
        # By name, as for encoders: torch comes along.
        yield from importlib.import_module(
            "pytest_visualbias.models.checkpoints"
        ).describe_contents(file)
        return
    with safetensors.safe_open(file, framework="numpy") as stored:
        for name in stored.keys():  # noqa: SIM118 - no mapping
            tensor = stored.get_slice(name)
            yield f"{name} {tensor.get_shape()} {tensor.get_dtype()}"


def find_duplicates(identities: Iterable[Identity]) -> Iterator[str]:
    """Yield a message about trials with identical checkpoints."""
    labels: dict[str, list[str]] = {}
    for identity in identities:
        if "checkpoint" in identity.facts:
            labels.setdefault(identity.facts["checkpoint"], []).append(identity.label)
    for same in labels.values():
        if len(same) > 1:
            yield f"{' and '.join(same)} are the same file, which counts {len(same)} times; {ONCE}"


def _header_check(entry: ModelEntry) -> Callable[[Path], str | None] | None:
    if isinstance(entry, NetworkEntry):
        return find_flaw
    is_archive = isinstance(entry, ProgramModel) and entry.source in ("torchscript", "export")
    return _flaw_of_program if is_archive else None


def _flaw_of_program(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path):
            return None
    except OSError as error:
        reason = error.strerror or str(error)
        return f"the program {path} cannot be read ({reason}); correct the path"
    except zipfile.BadZipFile:
        return f"the program {path} is damaged, or none that torch saves; {AGAIN}"


def find_flaw(path: Path) -> str | None:
    """Return what is wrong with a file of weights, judged by its header and end."""
    try:
        if is_text(path):
            return f"the checkpoint {path} {TEXT}"
        if path.suffix == ".safetensors":
            return _flaw_of_safetensors(path)
        return _flaw_of_torch(path)
    except OSError as error:
        reason = error.strerror or str(error)
        return f"the checkpoint {path} cannot be read ({reason}); correct the path"
    except (safetensors.SafetensorError, zipfile.BadZipFile) as error:
        return f"the checkpoint {path} is damaged or incomplete ({error}); {AGAIN}"


def _flaw_of_safetensors(path: Path) -> str | None:
    # Numpy's, which takes no part here: only the header is read, and held against the size.
    with safetensors.safe_open(path, framework="numpy") as stored:
        names = stored.keys()
    return None if names else f"the checkpoint {path} holds no tensors; save the weights again"


def _flaw_of_torch(path: Path) -> str | None:
    with path.open("rb") as stream:
        start = stream.read(TAR_AT + len(TAR))
    if not start:
        return f"the checkpoint {path} is empty; {AGAIN}"
    if start.startswith(ARCHIVE):
        with zipfile.ZipFile(path) as archive:
            has_data = any(Path(name).name == "data.pkl" for name in archive.namelist())
        problem = "is an archive, but none that torch saves"
        return (
            None if has_data else f"the checkpoint {path} {problem}; name the file of the weights"
        )
    if start.startswith(PICKLE) or start.endswith(TAR):
        return None
    if start[8:9] == b"{":
        return f"the checkpoint {path} looks like safetensors; call it *.safetensors"
    return (
        f"the checkpoint {path} is nothing that torch saves (it begins with {start[:12]!r}); "
        "name the file of the weights"
    )


def _explain_unknown(name: str) -> str | None:
    """Return the message about a name that timm does not know."""
    base, _, tag = name.partition(".")
    text = _timm_text()
    if name.startswith(HUB_NAMES) or not text:
        return None
    if base in REGISTERED.findall(text) and (not tag or f"'{name}'" in text):
        return None
    try:
        # By name, as for encoders: torch comes along.
        importlib.import_module("pytest_visualbias.models.timm").check_name(name)
    except ImportError:
        return None  # said when the model is loaded
    except EncoderError as error:
        return str(error)
    return None


@functools.lru_cache(maxsize=1)
def _timm_text() -> str:
    """Return the source text of timm's models; nothing if timm is not installed."""
    spec = importlib.util.find_spec("timm")
    places = spec.submodule_search_locations if spec is not None else None
    files = (path for place in places or () for path in sorted(Path(place, "models").glob("*.py")))
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
