"""Read vectors stored in a file."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import safetensors

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.fields import correction
from pytest_visualbias.spec.hashing import POINTER, REMEDY, is_lfs_pointer, require_regular_file
from pytest_visualbias.spec.schema import ConceptFiles, ConceptWords
from pytest_visualbias.stimuli.resolve import Stimulus, StimulusSet, concept_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIXES = (".npz", ".safetensors")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoredVectors:
    """The arrays of one file, with the names of their rows if stored."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    names: Mapping[str, list[str]]

    def select(
        self,
        concept: str,
        files: str | ConceptFiles | ConceptWords,
        prefix: str,
        *,
        are_classes: bool = False,
    ) -> tuple[StimulusSet, np.ndarray]:
        """Return the set of a concept and its vectors ``(n, dim)``."""
        words = files.text if isinstance(files, ConceptWords) else ()
        wanted = (
            ConceptFiles(path=concept) if isinstance(files, ConceptWords) else concept_files(files)
        )
        key = prefix + wanted.path
        if key not in self.arrays:
            near = did_you_mean(key, self.arrays)
            raise StimulusError(f"{self.path} has no set '{key}'", near)
        array = np.asarray(self.arrays[key])
        if array.ndim != 2 or array.dtype.kind != "f":  # noqa: PLR2004 - (n, dim)
            description = f"{array.dtype} {array.shape}"
            raise StimulusError(f"{self.path}: '{key}' is {description}", "store floats (n, dim)")
        names = self.names.get(key)
        if words:
            rows = self._word_rows(key, words, len(array))
            names = names if names is not None else list(words)
        else:
            rows = self._rows(key, wanted, len(array))
        stimuli = tuple(
            _stimulus(
                wanted.path,
                names[row] if names else f"row {row}",
                None if are_classes else array[row],
            )
            for row in rows
        )
        templates = files.templates if isinstance(files, ConceptWords) else ()
        stimulus_set = StimulusSet(concept=concept, stimuli=stimuli, templates=templates)
        return stimulus_set, array[rows]

    def _word_rows(self, key: str, words: tuple[str, ...], count: int) -> list[int]:
        if key in self.names:
            return self._rows(key, ConceptFiles(files=words), count)
        if count != len(words):
            raise StimulusError(
                f"{self.path}: '{key}' has {count} rows without names, and there are {len(words)} "
                "words",
                "store one for each, or their names in the metadata entry 'names'",
            )
        return list(range(count))

    def _rows(self, key: str, wanted: ConceptFiles, count: int) -> list[int]:
        names = self.names.get(key)
        if names is not None and len(names) != count:
            raise StimulusError(f"{self.path}: '{key}' has {count} rows but {len(names)} names")
        if names is not None and len({*names}) != count:
            name = next(name for name in names if names.count(name) > 1)
            raise StimulusError(f"{self.path}: '{key}' has the row '{name}' twice", "rename one")
        if wanted.files is None and wanted.pattern is None:
            order = names if names is not None else [f"{row:09}" for row in range(count)]
            return sorted(range(count), key=order.__getitem__)
        if names is None:
            raise StimulusError(
                f"{self.path}: '{key}' has no names of rows, so no files can be picked from it",
                "store it as safetensors with the metadata entry 'names'",
            )
        if wanted.files is None:
            pattern = str(wanted.pattern)
            rows = [row for row in range(count) if PurePosixPath(names[row]).match(pattern)]
            return sorted(rows, key=names.__getitem__)
        if unknown := [name for name in wanted.files if name not in names]:
            near = did_you_mean(unknown[0], names)
            raise StimulusError(f"{self.path}: '{key}' has no row '{unknown[0]}'", near)
        return [names.index(name) for name in wanted.files]


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _stimulus(path: str, name: str, row: np.ndarray | None) -> Stimulus:
    # Equal vectors are the nearest thing to equal images that a file of vectors can tell.
    content = f"{path}/{name}".encode() if row is None else np.ascontiguousarray(row).tobytes()
    digest = hashlib.sha256(content).hexdigest()
    return Stimulus(name=f"{path}/{name}", digest=digest, identity=f"{path}/{name}")


def open_vectors(path: Path) -> StoredVectors:
    """Read a safetensors or npz file of vectors."""
    with contextlib.suppress(OSError):  # said below
        if path.suffix in SUFFIXES and is_lfs_pointer(path):
            raise StimulusError(f"{path} {POINTER}", REMEDY)
    try:
        if path.suffix in SUFFIXES:
            require_regular_file(path)
        if path.suffix == ".npz":
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return StoredVectors(path=path, arrays=dict(stored), names={})
        if path.suffix == ".safetensors":
            return _safetensors(path)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = correction(path) if isinstance(error, FileNotFoundError) else "correct the path"
        raise StimulusError(f"{path} cannot be read ({reason})", remedy) from None
    except Exception as error:  # noqa: BLE001 - a damaged archive raises whatever it meets
        if "Object arrays" in str(error):  # numpy's word for what only a pickle could restore
            problem = "holds Python objects, and was not loaded: that could run code; store floats"
            raise StimulusError(f"{path} {problem} (n, dim)") from None
        reason = str(error) or type(error).__name__
        raise StimulusError(f"{path} is damaged ({reason})", "make it again") from None
    raise StimulusError(f"{path} is neither .safetensors nor .npz", "convert it")


def _safetensors(path: Path) -> StoredVectors:
    with safetensors.safe_open(path, framework="numpy") as stored:
        arrays = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - no mapping
        metadata = stored.metadata() or {}
    names = json.loads(metadata.get("names", "{}"))
    if not (isinstance(names, dict) and all(map(_is_list_of_text, names.values()))):
        raise ValueError("its 'names' are not lists of names by set")
    return StoredVectors(path=path, arrays=arrays, names=names)
