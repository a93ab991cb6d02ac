"""Choose the models of a first spec from the checkpoints of a repository."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.spec.error_messages import shorten
from pytest_visualbias.spec.fields import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_visualbias.cli.starting.looking import Checkpoint, Repository

STAND_IN = "stand-in"

# A placeholder that no timm architecture has; the run reports it.
UNKNOWN = "NAME_OF_ITS_ARCHITECTURE"
BEFORE = re.compile(r"(?:^|[^a-z])(?:pre-?_?train\w*|before|base|init\w*|imagenet\w*)(?:[^a-z]|$)")

# Much smaller checkpoints hold something else, such as a head or statistics.
SHARE = 0.1

# Recognising a checkpoint takes seconds.
MOST_TRIED = 3
SIZE = 224


class _Recognised(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def container(self) -> str | None: ...


class Recogniser(Protocol):
    """A function that recognises the timm architecture of a checkpoint."""

    def __call__(
        self, path: Path, *, named: Iterable[str] = (), guess: bool = True
    ) -> _Recognised | None:
        """Return the architecture, or None."""
        ...  # pragma: no cover


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChoice:
    """A model of the spec: its name, its YAML line, and the reason for it."""

    name: str
    text: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The models of a first spec."""

    entries: tuple[ModelChoice, ...]
    architecture: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    needs: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def has_before(self) -> bool:
        """Whether growth can be measured."""
        return any(entry.name == "before" for entry in self.entries)


def choose_models(repository: Repository, recognise: Recogniser) -> Selection:
    """Choose the newest checkpoint as 'after', and one named like a base model as 'before'."""
    largest = max((file.size for file in repository.checkpoints if not file.is_pointer), default=0)
    likely = [
        file for file in repository.checkpoints if file.is_pointer or file.size >= SHARE * largest
    ]
    earlier = [file for file in likely if BEFORE.search(Path(file.path).name.lower())]
    later = [file for file in likely if file not in earlier]
    if not later:
        return _of_before_only(repository, earlier, recognise) if earlier else _stand_in(repository)
    after, network, why, damaged = _newest(repository, later, recognise)
    if network is None:
        return dataclasses.replace(_unrecognised(repository, after, why), left_out=damaged)
    before = _before(repository, earlier, network, recognise)
    text = _timm(network.name, after, network.container)
    entry = ModelChoice(
        name="after", text=text, why=f"its weights fit timm's {network.name}{_also(network)}"
    )
    return Selection(
        entries=(*([before[0]] if before else []), entry),
        architecture=network.name,
        checkpoints=(after, *([before[1]] if before else [])),
        left_out=damaged,
    )


def _newest(
    repository: Repository, later: Sequence[Checkpoint], recognise: Recogniser
) -> tuple[Checkpoint, _Recognised | None, str, tuple[str, ...]]:
    """Return the newest readable checkpoint, its architecture, and why newer ones fail."""
    damaged: list[str] = []
    for checkpoint in later[:MOST_TRIED]:
        try:
            return checkpoint, *_recognised(repository, checkpoint, recognise), tuple(damaged)
        except EncoderError as error:
            damaged.append(shorten(str(error), repository.folder, repository.folder))
    return later[0], None, damaged[0], ()


def _of_before_only(
    repository: Repository, earlier: Sequence[Checkpoint], recognise: Recogniser
) -> Selection:
    """Gate a checkpoint named like a base model if there is no other."""
    checkpoint = earlier[0]
    _, network, why, _ = _newest(repository, [checkpoint], recognise)
    if network is None:
        return _unrecognised(repository, checkpoint, why)
    text = _timm(network.name, checkpoint, network.container)
    entry = ModelChoice(
        name="after", text=text, why=f"its weights fit timm's {network.name}{_also(network)}"
    )
    return Selection(entries=(entry,), architecture=network.name, checkpoints=(checkpoint,))


def _recognised(
    repository: Repository, checkpoint: Checkpoint, recognise: Recogniser
) -> tuple[_Recognised | None, str]:
    """Return the architecture of a checkpoint, or why it is unknown."""
    if checkpoint.is_pointer:
        return None, "it is a Git LFS pointer here; run 'git lfs pull' and 'visualbias init' again"
    named = [mention.name for mention in repository.mentions]
    network = recognise(repository.folder / checkpoint.path, named=named)
    return (
        network,
        "" if network is not None else "no architecture of timm that was tried fits it",
    )


def _before(
    repository: Repository,
    earlier: Sequence[Checkpoint],
    recognised: _Recognised,
    recognise: Recogniser,
) -> tuple[ModelChoice, Checkpoint] | None:
    """Return the first checkpoint named like a base model with the same architecture."""
    for checkpoint in earlier:
        if checkpoint.is_pointer:
            continue
        try:
            same = recognise(
                repository.folder / checkpoint.path, named=[recognised.name], guess=False
            )
        except EncoderError:
            continue
        if same is not None:
            text = _timm(same.name, checkpoint, same.container)
            why = f"by its name the model before; its weights fit timm's {same.name}{_also(same)}"
            return ModelChoice(name="before", text=text, why=why), checkpoint
    return None


def _also(recognised: _Recognised) -> str:
    if recognised.container is None:
        return ""
    return f"; the file holds several sets of them, and these lie under '{recognised.container}'"


def _timm(name: str, checkpoint: Checkpoint, container: str | None = None) -> str:
    where = "" if container is None else f", container: {quoted(container)}"
    path = quoted(f"../{checkpoint.path}")
    return f"{{source: timm, name: {quoted(name)}, checkpoint: {path}{where}}}"


def _unrecognised(repository: Repository, checkpoint: Checkpoint, why: str) -> Selection:
    path = quoted(f"../{checkpoint.path}")
    if repository.factories:
        # A factory named in the checkpoint's path is likelier than the first.
        names = {
            factory.call.rpartition(":")[2].lower(): factory
            for factory in reversed(repository.factories)
        }
        named = [factory for name, factory in names.items() if name in checkpoint.path.lower()]
        factory = (*named, *repository.factories)[0]
        text = (
            f"{{source: factory, call: {quoted(factory.call)}, checkpoint: {path}, "
            f"transform: {{size: {SIZE}}}}}"
        )
        reason = f"{why}; {factory.place} seems to return the network"
        needs = (
            f"write under 'transform' how images are prepared for the network; {SIZE} pixels with "
            "ImageNet's mean and deviation are a guess"
        )
    elif checkpoint.is_pointer and repository.mentions:
        mention = repository.mentions[0]
        text = _timm(mention.name, checkpoint)
        reason = f"{why}; {mention.place} names timm's {mention.name}"
        needs = "see whether that is the architecture of the checkpoint; the run says if not"
    else:
        text = _timm(UNKNOWN, checkpoint)
        reason = why
        needs = (
            f"put the name of timm's architecture in the place of {UNKNOWN}, or a 'factory' of "
            "yours: until then the run ends with an error that says so"
        )
    entry = ModelChoice(name="after", text=text, why=reason)
    return Selection(entries=(entry,), checkpoints=(checkpoint,), needs=needs)


def _stand_in(repository: Repository) -> Selection:
    """Return a stand-in model that runs without a checkpoint."""
    entry = ModelChoice(
        name=STAND_IN,
        text="{source: timm, name: test_resnet, pretrained: false}",
        why="no checkpoint was found; this is a tiny untrained network, which nothing gates",
    )
    named = repository.mentions[0].name if repository.mentions else UNKNOWN
    line = f"after: {{source: timm, name: {named}, checkpoint: ../PATH_OF_YOUR_CHECKPOINT}}"
    needs = f"put your model in the place of '{STAND_IN}', such as {line}"
    return Selection(entries=(entry,), architecture="" if named == UNKNOWN else named, needs=needs)
