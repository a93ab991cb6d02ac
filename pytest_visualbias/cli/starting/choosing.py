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

# No architecture of timm is called so: the run says so, and what to write is beside it.
UNKNOWN = "NAME_OF_ITS_ARCHITECTURE"
BEFORE = re.compile(r"(?:^|[^a-z])(?:pre-?_?train\w*|before|base|init\w*|imagenet\w*)(?:[^a-z]|$)")

# A checkpoint much smaller than the largest is of something else: a head, statistics.
SHARE = 0.1

# To recognise one takes seconds.
MOST_TRIED = 3
SIZE = 224


class _Recognised(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def container(self) -> str | None: ...


class Recogniser(Protocol):
    """Says which architecture of timm a checkpoint is of, as `models.recognition` does."""

    def __call__(
        self, path: Path, *, named: Iterable[str] = (), guess: bool = True
    ) -> _Recognised | None:
        """Return it, or None."""
        ...  # pragma: no cover


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A model of the spec: its name, its YAML in one line, and why it is that."""

    name: str
    text: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The models of a first spec."""

    entries: tuple[Entry, ...]
    architecture: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    needs: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def has_before(self) -> bool:
        """Whether growth can be measured."""
        return any(entry.name == "before" for entry in self.entries)


def choose(seen: Repository, recognise: Recogniser) -> Chosen:
    """Choose the newest checkpoint as the model after, and one that is called so as that before."""
    largest = max((file.size for file in seen.checkpoints if not file.is_pointer), default=0)
    likely = [file for file in seen.checkpoints if file.is_pointer or file.size >= SHARE * largest]
    earlier = [file for file in likely if BEFORE.search(Path(file.path).name.lower())]
    later = [file for file in likely if file not in earlier]
    if not later:
        return _of_before_only(seen, earlier, recognise) if earlier else _stand_in(seen)
    after, network, why, damaged = _newest(seen, later, recognise)
    if network is None:
        return dataclasses.replace(_unrecognised(seen, after, why), left_out=damaged)
    before = _before(seen, earlier, network, recognise)
    text = _timm(network.name, after, network.container)
    entry = Entry(
        name="after", text=text, why=f"its weights fit timm's {network.name}{_also(network)}"
    )
    return Chosen(
        entries=(*([before[0]] if before else []), entry),
        architecture=network.name,
        checkpoints=(after, *([before[1]] if before else [])),
        left_out=damaged,
    )


def _newest(
    seen: Repository, later: Sequence[Checkpoint], recognise: Recogniser
) -> tuple[Checkpoint, _Recognised | None, str, tuple[str, ...]]:
    """Return the newest readable checkpoint, its architecture, and why newer ones fail."""
    damaged: list[str] = []
    for checkpoint in later[:MOST_TRIED]:
        try:
            return checkpoint, *_recognised(seen, checkpoint, recognise), tuple(damaged)
        except EncoderError as error:
            damaged.append(shorten(str(error), seen.folder, seen.folder))
    return later[0], None, damaged[0], ()


def _of_before_only(
    seen: Repository, earlier: Sequence[Checkpoint], recognise: Recogniser
) -> Chosen:
    """Gate a checkpoint that is called like one before, where there is no other."""
    checkpoint = earlier[0]
    _, network, why, _ = _newest(seen, [checkpoint], recognise)
    if network is None:
        return _unrecognised(seen, checkpoint, why)
    text = _timm(network.name, checkpoint, network.container)
    entry = Entry(
        name="after", text=text, why=f"its weights fit timm's {network.name}{_also(network)}"
    )
    return Chosen(entries=(entry,), architecture=network.name, checkpoints=(checkpoint,))


def _recognised(
    seen: Repository, checkpoint: Checkpoint, recognise: Recogniser
) -> tuple[_Recognised | None, str]:
    """Return what a checkpoint is of, or why that is not known."""
    if checkpoint.is_pointer:
        return None, "it is a Git LFS pointer here; run 'git lfs pull' and 'visualbias init' again"
    named = [mention.name for mention in seen.mentions]
    network = recognise(seen.folder / checkpoint.path, named=named)
    return (
        network,
        "" if network is not None else "no architecture of timm that was tried fits it",
    )


def _before(
    seen: Repository, earlier: Sequence[Checkpoint], recognised: _Recognised, recognise: Recogniser
) -> tuple[Entry, Checkpoint] | None:
    """Return the first checkpoint that is called like one before, and is of the same network."""
    for checkpoint in earlier:
        if checkpoint.is_pointer:
            continue
        try:
            same = recognise(seen.folder / checkpoint.path, named=[recognised.name], guess=False)
        except EncoderError:
            continue
        if same is not None:
            text = _timm(same.name, checkpoint, same.container)
            why = f"by its name the model before; its weights fit timm's {same.name}{_also(same)}"
            return Entry(name="before", text=text, why=why), checkpoint
    return None


def _also(recognised: _Recognised) -> str:
    if recognised.container is None:
        return ""
    return f"; the file holds several sets of them, and these lie under '{recognised.container}'"


def _timm(name: str, checkpoint: Checkpoint, container: str | None = None) -> str:
    where = "" if container is None else f", container: {quoted(container)}"
    path = quoted(f"../{checkpoint.path}")
    return f"{{source: timm, name: {quoted(name)}, checkpoint: {path}{where}}}"


def _unrecognised(seen: Repository, checkpoint: Checkpoint, why: str) -> Chosen:
    path = quoted(f"../{checkpoint.path}")
    if seen.factories:
        # One that the path of the checkpoint names is likelier than the first.
        names = {
            factory.call.rpartition(":")[2].lower(): factory for factory in reversed(seen.factories)
        }
        spoken = [factory for name, factory in names.items() if name in checkpoint.path.lower()]
        factory = (*spoken, *seen.factories)[0]
        text = (
            f"{{source: factory, call: {quoted(factory.call)}, checkpoint: {path}, "
            f"transform: {{size: {SIZE}}}}}"
        )
        reason = f"{why}; {factory.place} seems to return the network"
        needs = (
            f"write under 'transform' how images are prepared for the network; {SIZE} pixels with "
            "ImageNet's mean and deviation are a guess"
        )
    elif checkpoint.is_pointer and seen.mentions:
        mention = seen.mentions[0]
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
    entry = Entry(name="after", text=text, why=reason)
    return Chosen(entries=(entry,), checkpoints=(checkpoint,), needs=needs)


def _stand_in(seen: Repository) -> Chosen:
    """Without a checkpoint, something that runs anywhere, and is called what it is."""
    entry = Entry(
        name=STAND_IN,
        text="{source: timm, name: test_resnet, pretrained: false}",
        why="no checkpoint was found; this is a tiny untrained network, which nothing gates",
    )
    named = seen.mentions[0].name if seen.mentions else UNKNOWN
    line = f"after: {{source: timm, name: {named}, checkpoint: ../PATH_OF_YOUR_CHECKPOINT}}"
    needs = f"put your model in the place of '{STAND_IN}', such as {line}"
    return Chosen(entries=(entry,), architecture="" if named == UNKNOWN else named, needs=needs)
