"""Load a checkpoint into a network, strictly."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoint_keys import (
    COUNTER,
    ContainerChoice,
    choose_place,
    describe_place,
    find_places,
    group_equal_weights,
    locate_weights,
    naming_schemes,
    remove_wrappers,
    unwrap_name,
)
from pytest_visualbias.models.checkpoints import (
    OTHER_ARCHITECTURE,
    MismatchError,
    Mismatches,
    StateDict,
    classes_differ,
    find_weights,
    read_checkpoint,
)
from pytest_visualbias.spec.error_messages import format_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.models.checkpoint_keys import Loadable, WeightsLocation
    from pytest_visualbias.spec.model_entries import NetworkEntry

# Of what was left out, in a report.
MAX_GROUPS = 20

# What projects train beside a backbone, inside of the same module, and no backbone has: SwAV's and
# DeepCluster's heads, MAE's decoder, and the vector that stands for a hidden patch.
HEADS = ("projection_head.", "prototypes.", "decoder_", "mask_token")

# What a network computes by itself may have been saved in fewer bits.
TABLE_TOLERANCE = 1e-2

# Of what a network says about weights, in a message.
MAX_REASON = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """How a checkpoint was loaded into a network."""

    container: str
    prefix: str
    left_out: tuple[str, ...]
    no_head: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightSelection:
    """Which weights of a checkpoint to load, and which ones a network may lack or ignore."""

    path: Path
    head: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    container: str | None = None
    prefix: str | None = None


def load_network(
    network: Loadable,
    entry: NetworkEntry,
    path: Path | None,
    *,
    head: tuple[str, ...] = (),
    checkpoint: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], str]:
    """Load the checkpoint of an entry, if it has one."""
    if path is None:
        return {}, ""
    selection = WeightSelection(
        path=path, head=head, ignore=entry.ignore, container=entry.container, prefix=entry.prefix
    )
    if checkpoint is None:
        checkpoint = read_checkpoint(path)
    fitted = fit_weights(network, checkpoint, selection)
    return dict(fitted.facts), fitted.no_head


def fit_weights(
    network: Loadable, checkpoint: Mapping[str, Any], selection: WeightSelection
) -> FitResult:
    """Load a complete checkpoint into a network with its own `load_state_dict`."""
    path, container = selection.path, selection.container
    wanted = network.state_dict()
    containers = find_weights(checkpoint)
    if not containers:
        raise EncoderError(f"the checkpoint {path} holds no tensors", "save a state dict")
    if container is not None and container not in containers:
        raise EncoderError(
            f"the checkpoint {path} has no weights under '{container}', but under "
            f"{_quote(list(containers))}",
            "correct 'container'",
        )
    candidates = containers if container is None else {container: containers[container]}
    loading = _Loading(network=network, wanted=wanted, selection=selection)
    chosen = _choose_place(loading, candidates)
    place = chosen.place
    misfits, no_head = loading.load(place)
    if misfits:
        where = f" ({describe_place(place)})" if place.container or place.prefix else ""
        problem, remedy = misfits.explained()
        raise MismatchError(
            f"the checkpoint {path} does not fit the network{where}: {problem}",
            remedy,
            missing=misfits.missing,
            classifier=misfits.classifier,
        )
    inside = [*place.extra, *(place.named(selection.head) if no_head else ())]
    left_out = (*(place.prefix + name for name in inside), *place.outside)
    others = {key: len(names) for key, names in containers.items() if key != place.container}
    return FitResult(
        container=place.container,
        prefix=place.prefix,
        left_out=left_out,
        no_head=no_head,
        facts=_facts(chosen, left_out, (*place.naming.head, *selection.ignore, *HEADS), others),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loading:
    """A network to load weights into, and the weights that may be missing."""

    network: Loadable
    wanted: Mapping[str, torch.Tensor]
    selection: WeightSelection

    @property
    def needed(self) -> dict[str, torch.Tensor]:
        """The weights that a checkpoint must have."""
        return {
            name: value
            for name, value in self.wanted.items()
            if not name.startswith(self.selection.head) and not name.endswith(COUNTER)
        }

    def load(self, place: WeightsLocation) -> tuple[Mismatches, str]:
        """Load the weights at a place; return the mismatches, and why there is no classifier."""
        no_head = self._no_head(place)
        state = StateDict(
            (name, value) for name, value in place.state.items() if self._is_read(name, place)
        )
        state.metadata = place.state.metadata
        if no_head:
            for name in self._head_names():
                state.pop(name, None)
        return self._loaded(state, no_head), no_head

    def _loaded(self, state: StateDict, no_head: str) -> Mismatches:
        present = [name for name in self.wanted if name in state and COUNTER not in name]
        kinds = [name for name in present if _is_other_kind(state[name], self.wanted[name])]
        missing = [name for name in self.needed if name not in state]
        unknown = [name for name in state if name not in self.wanted]
        if kinds:
            return self._misfits(state, missing, unknown, kinds=kinds)
        try:
            state_dict = self.network.load_state_dict(state, strict=False)
        except (RuntimeError, ValueError) as error:  # ValueError: of a version that it cannot read
            shapes = [name for name in present if state[name].shape != self.wanted[name].shape]
            reason = " ".join(str(error).split())[:MAX_REASON]
            return self._misfits(state, missing, unknown, shapes=shapes, refusal=reason)
        same = _tied_names(self.network)
        absent = self._head_names() if no_head else []
        missing = [
            name
            for name in state_dict.missing_keys
            if not name.endswith(COUNTER)
            and name not in absent
            and not any(other in state for other in same.get(name, ()))
        ]
        unread = list(state_dict.unexpected_keys)
        unknown = [name for name in unread if not _is_computed(self.network, name, state[name])]
        # What a module renamed, it took without regard to what kind of values it is.
        renamed = [name for name in state if name not in self.wanted and name not in unread]
        kinds = [name for name in renamed if _is_quantised(state[name])]
        tied = [
            name
            for name, others in same.items()
            if name in state
            and any(
                other in state and not torch.equal(state[name], state[other]) for other in others
            )
        ]
        return self._misfits(state, missing, unknown, kinds=kinds, tied=tied)

    def _misfits(
        self, state: StateDict, missing: list[str], unknown: list[str], **more: Any
    ) -> Mismatches:
        return Mismatches(wanted=self.wanted, state=state, missing=missing, unknown=unknown, **more)

    def _is_read(self, name: str, place: WeightsLocation) -> bool:
        known = (*place.naming.head, *HEADS)
        return name in self.wanted or not (
            name.startswith(known) or is_ignored(name, self.selection.ignore)
        )

    def _head_names(self) -> list[str]:
        return [name for name in self.wanted if name.startswith(self.selection.head)]

    def _no_head(self, place: WeightsLocation) -> str:
        """Return why the classifier cannot be loaded from a place, or nothing."""
        names = self._head_names()
        if not names:
            return ""
        if any(is_ignored(name, self.selection.ignore) for name in names):
            return "'ignore' leaves the classifier out; remove it there"
        remedy = "give a checkpoint that has one, or test embeddings at 'pooled'"
        lacking = [name for name in names if name not in place.state and COUNTER not in name]
        if lacking:
            return f"the checkpoint has no classifier ({format_names(lacking)}); {remedy}"
        heads = tuple(
            start for start in self.selection.head if any(n.startswith(start) for n in names)
        )
        heads = place.naming.head if place.naming.origin else heads
        further = [name for name in place.extra if name.startswith(heads)]
        shapes = [name for name in names if place.state[name].shape != self.wanted[name].shape]
        if shapes and (classes := classes_differ(shapes, self.wanted, place.state)):
            saved, expected = classes
            return (
                f"the checkpoint's classifier has {saved} classes, the network's {expected} "
                f"({shapes[0]}); write 'arguments: {{num_classes: {saved}}}', or test embeddings "
                "at 'pooled'"
            )
        if other := shapes or further:
            return f"the checkpoint has another classifier ({format_names(other)}); {remedy}"
        return ""


def _choose_place(loading: _Loading, containers: Mapping[str, StateDict]) -> ContainerChoice:
    """Return the place to load: one that fits, or the best one for an error message."""
    path, container = loading.selection.path, loading.selection.container
    prefix = loading.selection.prefix
    if prefix:
        prefix = prefix.rstrip(".") + "."
    needed = loading.needed
    names = naming_schemes(loading.wanted, loading.selection.head)
    places = find_places(containers, names, prefix=prefix)
    if not any(place.is_whole(needed) for place in places):
        bare = remove_wrappers(containers, loading.wanted, loading.selection.head)
        start = None if prefix is None else unwrap_name(prefix)
        inner = find_places(bare[0], (bare[1],), prefix=start) if bare is not None else []
        if _best_fit(inner, needed) > _best_fit(places, needed):
            places = inner
    whole = [place for place in places if place.is_whole(needed)]
    if not whole:
        # Its modules may read what older versions saved: only loading shows whether they do.
        tried = places or [
            locate_weights(key, weights, prefix or "", names[0])
            for key, weights in containers.items()
        ]
        whole = [place for place in tried if not loading.load(place)[0]]
    if whole:
        compared = {*needed, *(name for place in whole for name in place.state)}
        if all(place.is_whole(needed) for place in whole):
            compared = {*needed}
        groups = group_equal_weights(whole, compared)
        return choose_place(groups, path=path, container=container, prefix=prefix)
    if not places:
        elsewhere = [place.prefix for place in find_places(containers, names)]
        raise _foreign_error(containers, loading.wanted, path, elsewhere, prefix)
    return ContainerChoice(place=max(places, key=lambda place: place.fits(needed)))


def _best_fit(places: Iterable[WeightsLocation], needed: Mapping[str, torch.Tensor]) -> int:
    return max((place.fits(needed) for place in places), default=0)


def _foreign_error(
    containers: Mapping[str, StateDict],
    wanted: Mapping[str, torch.Tensor],
    path: Path,
    elsewhere: Sequence[str],
    prefix: str | None,
) -> EncoderError:
    """Return the error for a checkpoint without any name of the network."""
    if prefix is not None and elsewhere:
        return EncoderError(
            f"the checkpoint {path} has no weights of the network behind '{prefix}', but behind "
            f"{_quote(elsewhere)}",
            "correct 'prefix'",
        )
    largest = max(containers.values(), key=len)
    return MismatchError(
        f"the checkpoint {path} does not fit the network: none of its names "
        f"({format_names(sorted(largest))}) is among the network's ({format_names(list(wanted))})",
        f"use the source that saved it, or {OTHER_ARCHITECTURE}",
        missing=list(wanted),
    )


def _tied_names(network: Loadable) -> dict[str, list[str]]:
    """Return the other names of every weight that has several."""
    if not isinstance(network, torch.nn.Module):
        return {}
    names: dict[int, list[str]] = {}
    for name, value in network.state_dict(keep_vars=True).items():
        names.setdefault(id(value), []).append(name)
    return {
        name: [other for other in same if other != name]
        for same in names.values()
        for name in same
        if len(same) > 1
    }


def _is_computed(network: Loadable, name: str, value: torch.Tensor) -> bool:
    """Return whether a network computes a value itself, equal to the checkpoint's."""
    if not isinstance(network, torch.nn.Module):
        return False
    tables = dict(network.named_buffers(remove_duplicate=False))
    table = tables.get(name)
    if table is None or table.shape != value.shape:
        return False
    return table.is_meta or torch.allclose(
        table.cpu().double(), value.cpu().double(), rtol=TABLE_TOLERANCE
    )


def _is_quantised(value: torch.Tensor) -> bool:
    """Return whether values are integers or have eight bits."""
    return not value.is_floating_point() or value.itemsize == 1


def _is_other_kind(value: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Return whether torch would convert values without a warning."""
    if wanted.is_floating_point():
        return _is_quantised(value)
    if wanted.is_complex():
        return not value.is_complex()
    is_cut = value.is_floating_point() and not torch.equal(value, value.round())
    return value.is_complex() or is_cut


def is_ignored(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches a pattern of `ignore`."""
    return any(fnmatch.fnmatchcase(name, f"{pattern}*") for pattern in patterns)


def _facts(
    chosen: ContainerChoice,
    left_out: Sequence[str],
    allowed: tuple[str, ...],
    others: Mapping[str, int],
) -> dict[str, Any]:
    """Return the facts about a checkpoint for the report."""
    place = chosen.place
    groups: dict[str, list[str]] = {}
    for name in left_out:
        groups.setdefault(_group(name, place.prefix, allowed), []).append(name)
    lines = [
        f"{group} ({len(names)} weights)" if len(names) > 1 else names[0]
        for group, names in groups.items()
    ]
    lines += [f"{key}/ (weights: {count})" for key, count in others.items() if key]
    notes = {"names": place.naming.origin, "chosen": chosen.reason}
    more = [f"and {len(lines) - MAX_GROUPS} more"] if len(lines) > MAX_GROUPS else []
    return {
        "container": place.container,
        "prefix": place.prefix,
        "left_out": [*lines[:MAX_GROUPS], *more],
        **{key: text for key, text in notes.items() if text},
    }


def _group(name: str, prefix: str, allowed: tuple[str, ...]) -> str:
    """Return the group under which a left-out name is reported."""
    if name.startswith(prefix):
        rest = name.removeprefix(prefix)
        return prefix + next((start for start in allowed if is_ignored(rest, (start,))), rest)
    parts = name.split(".")
    pairs = zip(parts[:-1], prefix.split("."), strict=False)
    same = next((i for i, (part, other) in enumerate(pairs) if part != other), len(parts) - 1)
    return ".".join(parts[: same + 1]) + "."


def _quote(names: Sequence[str]) -> str:
    return format_names([f"'{name}'" for name in dict.fromkeys(names)])
