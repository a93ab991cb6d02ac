"""Resolve concepts to their stimuli."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StimulusError, StorageError
from pytest_visualbias.spec.fields import correction
from pytest_visualbias.spec.hashing import digest_of_file, digest_of_list
from pytest_visualbias.spec.schema import ConceptFiles
from pytest_visualbias.spec.urls import Url, is_url
from pytest_visualbias.stimuli.remote.trees import Part, bring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_visualbias.spec.schema import ConceptWords
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.stimuli.remote.mirror import Mirror


def counted_stimuli(test: BiasTest, sets: Mapping[str, StimulusSet]) -> dict[str, StimulusSet]:
    """Return the images of each role that the rate counts."""
    prediction = test.prediction
    if prediction is None:
        return dict(sets)
    return {role: _filter(stimuli, prediction.counts) for role, stimuli in sets.items()}


def split_by_label(
    test: BiasTest, sets: Mapping[str, StimulusSet]
) -> tuple[list[StimulusSet], list[StimulusSet]]:
    """Return the images of the class and the others, without empty sets."""
    prediction = test.prediction
    if prediction is None or not prediction.labels:
        return [], []
    inside = [_filter(stimuli, prediction.is_positive) for stimuli in sets.values()]
    outside = [
        _filter(stimuli, lambda name: not prediction.is_positive(name)) for stimuli in sets.values()
    ]
    return [*filter(len, inside)], [*filter(len, outside)]


def _filter(stimuli: StimulusSet, is_chosen: Callable[[str], bool]) -> StimulusSet:
    chosen = tuple(stimulus for stimulus in stimuli.stimuli if is_chosen(stimulus.name))
    return dataclasses.replace(stimuli, stimuli=chosen)


def unlabelled(test: BiasTest, sets: Mapping[str, StimulusSet]) -> Iterator[tuple[str, str]]:
    """Yield role and message for sets without the images that a rate needs."""
    prediction = test.prediction
    if prediction is None or not prediction.labels:
        return
    folders = " or ".join(f"'{label}'" for label in prediction.labels)
    names = [stimulus.name for stimuli in sets.values() for stimulus in stimuli.stimuli]
    if not any(map(prediction.is_positive, names)):
        message = f"no image lies in a folder {folders}; correct 'label', or the sets"
        yield "label", message
        return
    for role, stimuli in counted_stimuli(test, sets).items():
        if not len(stimuli):
            lies = "lies in" if prediction.rate == "tpr" else "lies outside"
            message = (
                f"no image of '{stimuli.concept}' {lies} a folder {folders}, so it has no "
                f"{prediction.what}; add images or correct 'label'"
            )
            yield role, message


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
    """One image, one word, or one row of stored vectors."""

    name: str
    digest: str
    identity: str
    path: Path | None = None
    prompts: tuple[str, ...] = ()
    members: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StimulusSet:
    """The stimuli of a concept, in a fixed order."""

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
        """The word for one stimulus of the set."""
        return "word" if self.templates else "image"


def concept_files(concept: str | ConceptFiles) -> ConceptFiles:
    """Return a concept as `ConceptFiles`."""
    return ConceptFiles(path=concept) if isinstance(concept, str) else concept


def select_files(files: ConceptFiles, folder: Path) -> list[Path]:
    """Return the files of a concept in a folder."""
    return _find_files(files, folder)[0]


def resolve_concept(
    name: str,
    concept: str | ConceptFiles,
    root: Path,
    *,
    digest: Callable[[Path], str] = digest_of_file,
) -> StimulusSet:
    """Find and digest the images of a concept."""
    files = concept_files(concept)
    folder = root / files.path
    try:
        paths, others = _find_files(files, folder)
        stimuli = tuple(_stimulus(path, root, digest(path)) for path in paths)
    except OSError as error:
        raise StimulusError(
            f"{error.filename} cannot be read ({error.strerror})",
            "correct the path or fetch the stimuli",
        ) from None
    except (NotImplementedError, ValueError) as error:
        # pathlib's, about absolute patterns and names that no file can have
        raise StimulusError(f"{folder}: {error}", "correct 'path', 'pattern' or 'files'") from None
    return StimulusSet(concept=name, stimuli=stimuli, others=tuple(map(_display, others)))


def resolve_words(name: str, concept: ConceptWords) -> StimulusSet:
    """Return the words of a concept, in the order of the spec."""
    stimuli = []
    for word in concept.text:
        prompts = concept.prompts(word)
        digest = digest_of_list(["text", *prompts])
        stimuli.append(Stimulus(name=word, digest=digest, identity=digest, prompts=prompts))
    return StimulusSet(concept=name, stimuli=tuple(stimuli), templates=concept.templates)


def _find_files(files: ConceptFiles, folder: Path) -> tuple[list[Path], list[Path]]:
    if files.files is not None:
        return [folder / name for name in files.files], []
    if not folder.is_dir():
        if folder.exists():
            raise StimulusError(f"the folder {folder} is not a folder", "correct the path")
        remedy = correction(folder, "correct the path or fetch the stimuli")
        raise StimulusError(f"the folder {folder} does not exist", remedy)
    if files.pattern is not None:
        paths = [path for path in folder.glob(files.pattern) if _is_file(path)]
    else:
        paths = list(folder.iterdir())
    visible = [path for path in _by_name(paths) if not _is_clutter(path.relative_to(folder))]
    images = [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES and _is_file(path)]
    chosen = {*images}
    return images, [path for path in visible if path not in chosen]


def _display(path: Path) -> str:
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
    relative = path.relative_to(root) if path.is_relative_to(root) else path
    # Reports are UTF-8; the name of a file need not be.
    name = os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace")
    return Stimulus(name=name, digest=digest, identity=digest, path=path)


def fetch_concept(concept: str | ConceptFiles, root: Path | Url, mirror: Mirror) -> Path:
    """Return the local folder of a concept's images, downloaded if needed."""
    files = concept_files(concept)
    if is_url(files.path):
        raise StorageError(f"{Url(files.path)} is no path", "write URLs as 'stimuli', the root")
    if not isinstance(root, Url):
        return root
    if Path(files.path).is_absolute():
        return mirror.home(root)  # the path is of this machine, whatever the root
    pattern = files.pattern or ""
    if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
        raise StorageError(f"'{pattern}' leads out of {root / files.path}", "correct the pattern")
    if absolute := next((file for file in files.files or () if Path(file).is_absolute()), None):
        raise StorageError(f"'{absolute}' does not lie below {root}", "correct 'files'")
    chosen = functools.partial(_chosen_files, files)
    part = Part(path=files.path, names=files.files, pattern=pattern, chosen=chosen)
    return bring(mirror, root, part)


def _chosen_files(files: ConceptFiles, folder: Path) -> list[Path]:
    # What is wrong with a pattern or a folder is said when the set is resolved.
    with contextlib.suppress(NotImplementedError, StimulusError, ValueError):
        return select_files(files, folder)
    return []
