"""From a concept to its stimuli: ordered files or words, with digests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StimulusError
from pytest_visualbias.spec.absent import correction
from pytest_visualbias.spec.digests import digest_of_file, digest_of_list
from pytest_visualbias.spec.schema import ConceptFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from pytest_visualbias.spec.schema import ConceptWords

__all__ = [
    "IMAGE_SUFFIXES",
    "Stimulus",
    "StimulusSet",
    "chosen_files",
    "concept_files",
    "resolve_concept",
    "resolve_words",
]

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
# What file managers leave behind says nothing about a set.
CLUTTER = frozenset({"desktop.ini", "thumbs.db"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Stimulus:
    """One image, one word, or one row of stored vectors.

    Attributes
    ----------
    name : str
        As shown to people, relative to the root of the stimuli; of a word, the word.
    digest : str
        Of its content: equal for equal images, whatever their names.
    identity : str
        What it is compared by between two models: its digest, or its name among stored vectors.
    path : Path or None
        The file, where it is an image.
    prompts : tuple of str
        What a model reads, where it is a word: the word in each template.
    members : int
        How many images it is the mean of, where it is a group; 0 of one image.
    """

    name: str
    digest: str
    identity: str
    path: Path | None = None
    prompts: tuple[str, ...] = ()
    members: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StimulusSet:
    """The stimuli of a concept, in a fixed order.

    Attributes
    ----------
    concept : str
        Its name in the spec.
    stimuli : tuple of Stimulus
        In the order of their names, or as listed.
    others : tuple of str
        Names of files beside them that are not images, and of folders (with a slash).
    templates : tuple of str
        What words stand in; empty of images.
    """

    concept: str
    stimuli: tuple[Stimulus, ...]
    others: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stimuli)

    @property
    def digest(self) -> str:
        """Digest of the identities in their order."""
        return digest_of_list(stimulus.identity for stimulus in self.stimuli)

    @property
    def noun(self) -> str:
        """What one of them is called."""
        return "word" if self.templates else "image"


def concept_files(concept: str | ConceptFiles) -> ConceptFiles:
    """Return the long form of a concept."""
    return ConceptFiles(path=concept) if isinstance(concept, str) else concept


def chosen_files(files: ConceptFiles, folder: Path) -> list[Path]:
    """Return the files in a folder that a concept means, as `resolve_concept` finds them."""
    return _find(files, folder)[0]


def resolve_concept(
    name: str,
    concept: str | ConceptFiles,
    root: Path,
    *,
    digest: Callable[[Path], str] = digest_of_file,
) -> StimulusSet:
    """Find and digest the images of a concept.

    Parameters
    ----------
    name : str
        The concept.
    concept : str or ConceptFiles
        Where the spec says they are.
    root : Path
        What its path is relative to.
    digest : callable
        Returns the sha256 of a file.

    Returns
    -------
    StimulusSet
        Empty where a folder or a pattern holds no image.

    Raises
    ------
    StimulusError
        For a folder or file that is missing or unreadable.
    """
    files = concept_files(concept)
    folder = root / files.path
    try:
        paths, others = _find(files, folder)
        stimuli = tuple(_stimulus(path, root, digest(path)) for path in paths)
    except OSError as error:
        raise StimulusError(
            f"{error.filename} cannot be read ({error.strerror}); "
            f"correct the path or fetch the stimuli"
        ) from None
    except (NotImplementedError, ValueError) as error:
        # pathlib's, about absolute patterns and names that no file can have
        raise StimulusError(f"{folder}: {error}; correct 'path', 'pattern' or 'files'") from None
    return StimulusSet(concept=name, stimuli=stimuli, others=tuple(_shown(path) for path in others))


def resolve_words(name: str, concept: ConceptWords) -> StimulusSet:
    """Return the words of a concept, in the order of the spec.

    Words are the same stimulus where a model reads the same for them.
    """
    stimuli = []
    for word in concept.text:
        prompts = concept.prompts(word)
        digest = digest_of_list(["text", *prompts])
        stimuli.append(Stimulus(name=word, digest=digest, identity=digest, prompts=prompts))
    return StimulusSet(concept=name, stimuli=tuple(stimuli), templates=concept.templates)


def _find(files: ConceptFiles, folder: Path) -> tuple[list[Path], list[Path]]:
    if files.files is not None:
        return [folder / name for name in files.files], []
    if not folder.is_dir():
        if folder.exists():
            raise StimulusError(f"the folder {folder} is not a folder; correct the path")
        remedy = correction(folder).replace(
            "correct the path", "correct the path or fetch the stimuli"
        )
        raise StimulusError(f"the folder {folder} does not exist; {remedy}")
    if files.pattern is not None:
        found = [path for path in folder.glob(files.pattern) if _is_file(path)]
    else:
        found = list(folder.iterdir())
    visible = [path for path in _by_name(found) if not _is_clutter(path.relative_to(folder))]
    images = [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES and _is_file(path)]
    chosen = {*images}
    return images, [path for path in visible if path not in chosen]


def _shown(path: Path) -> str:
    return f"{path.name}/" if path.is_dir() else path.name


def _by_name(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.as_posix())


def _is_file(path: Path) -> bool:
    # A link to nothing is an image that is missing, not one that was never there.
    return path.is_file() or (path.is_symlink() and not path.exists())


def _is_clutter(path: Path) -> bool:
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    return hidden or path.name.lower() in CLUTTER


def _stimulus(path: Path, root: Path, digest: str) -> Stimulus:
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    # Reports are UTF-8; the name of a file need not be.
    name = os.fsencode(shown.as_posix()).decode("utf-8", "backslashreplace")
    return Stimulus(name=name, digest=digest, identity=digest, path=path)
