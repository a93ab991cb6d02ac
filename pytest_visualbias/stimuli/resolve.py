"""Resolve concepts to their stimuli."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pytest_visualbias.errors import StimulusError, StorageError
from pytest_visualbias.spec.fields import correction
from pytest_visualbias.spec.hashing import digest_of_file, digest_of_list
from pytest_visualbias.spec.schema import ConceptFiles
from pytest_visualbias.spec.urls import Url, is_url
from pytest_visualbias.stimuli.mirror import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_visualbias.spec.schema import ConceptWords
    from pytest_visualbias.spec.test_kinds import BiasTest


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


def resolve_concept(
    name: str,
    concept: str | ConceptFiles,
    root: Path | Url,
    *,
    digest: Callable[[Path], str] = digest_of_file,
    mirror: Mirror | None = None,
) -> StimulusSet:
    """Find and digest the images of a concept; copy them first if they are at a URL."""
    files = concept_files(concept)
    try:
        base, paths, others = _locate(files, root, mirror)
        stimuli = tuple(_stimulus(path, base, digest(path)) for path in paths)
    except OSError as error:
        raise StimulusError(
            f"{error.filename} cannot be read ({error.strerror})",
            "correct the path or fetch the stimuli",
        ) from None
    except (NotImplementedError, ValueError) as error:
        # pathlib's, about absolute patterns and names that no file can have
        place = f"{root}/{files.path}"
        raise StimulusError(f"{place}: {error}", "correct 'path', 'pattern' or 'files'") from None
    return StimulusSet(concept=name, stimuli=stimuli, others=tuple(others))


def _locate(
    files: ConceptFiles, root: Path | Url, mirror: Mirror | None
) -> tuple[Path | None, Sequence[Path], Sequence[str]]:
    """Return the folder that names are relative to, the images, and the names of other files."""
    if is_url(files.path):
        raise StorageError(f"{Url(files.path)} is not a path", "write URLs as 'stimuli', the root")
    if isinstance(root, Url) and not Path(files.path).is_absolute():
        pattern, names = PurePosixPath(files.pattern or ""), files.files or ()
        if pattern.is_absolute() or ".." in pattern.parts:
            raise StorageError(f"'{pattern}' is not below {root / files.path}", "correct 'pattern'")
        if absolute := next((name for name in names if Path(name).is_absolute()), None):
            raise StorageError(f"'{absolute}' is not below {root}", "correct 'files'")
        selection = (mirror or Mirror()).select(
            root, files.path, files.model_dump_json(), lambda folder: _find_files(files, folder)
        )
        return selection.root, selection.paths, selection.others
    base = None if isinstance(root, Url) else root  # an absolute path is of this machine
    paths, others = _find_files(files, Path(files.path) if base is None else base / files.path)
    return base, paths, [*map(_display, others)]


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


def _stimulus(path: Path, base: Path | None, digest: str) -> Stimulus:
    is_below = base is not None and path.is_relative_to(base)
    relative = path.relative_to(base) if base is not None and is_below else path
    # Reports are UTF-8; the name of a file need not be.
    name = os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace")
    return Stimulus(name=name, digest=digest, identity=digest, path=path)
