"""Where in a checkpoint the weights of a network lie: under which key, behind which prefix.

Both are found by the network's own names. A place is whole when every weight of the network is
there in its shape; only whole places are ever chosen between.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_visualbias.models.checkpoints import StateDict
from pytest_visualbias.models.namings import COUNTER, Naming

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import torch

__all__ = [
    "Loadable",
    "Place",
    "find_places",
    "place_at",
    "same_weights",
    "unwrapped",
    "without_wrappers",
]

# torch.compile, DataParallel, FSDP and activation checkpointing, of a network or of its layers.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


class Loadable(Protocol):
    """What takes weights by name, as a module does."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""
        ...  # pragma: no cover

    def load_state_dict(self, state_dict: Mapping[str, Any], *, strict: bool) -> Any:
        """Take weights of the same names, and return those that are missing or unknown."""
        ...  # pragma: no cover


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """A place in a checkpoint at which weights of a network lie.

    Attributes
    ----------
    container : str
        The keys under which the names lie, joined by "/"; "" where they lie flat.
    prefix : str
        What stands before the names.
    naming : Naming
        How the weights are called there.
    state : StateDict
        Everything behind the prefix: by the network's names where it has them, else by those of
        the checkpoint without the prefix.
    outside : tuple of str
        Names of the container that do not start with the prefix.
    """

    container: str
    prefix: str
    naming: Naming
    state: StateDict
    outside: tuple[str, ...]

    @property
    def extra(self) -> list[str]:
        """The names behind the prefix that the network does not have, without the prefix."""
        known = set(self.naming.names.values())
        return [name for name in self.state if name not in known]

    def named(self, starts: tuple[str, ...]) -> list[str]:
        """Return the names in the checkpoint of weights of the network that start so."""
        return [
            there
            for there, name in self.naming.names.items()
            if name in self.state and name.startswith(starts)
        ]

    @property
    def share(self) -> float:
        """Which share of the container's names lies behind the prefix."""
        return len(self.state) / (len(self.state) + len(self.outside))

    def fits(self, needed: Mapping[str, torch.Tensor]) -> int:
        """Return how many weights of the network are here in their shapes."""
        return sum(
            name in self.state and self.state[name].shape == value.shape
            for name, value in needed.items()
        )

    def is_whole(self, needed: Mapping[str, torch.Tensor]) -> bool:
        """Return whether every weight of the network is here, in its shape."""
        return self.fits(needed) == len(needed) > 0


def find_places(
    containers: Mapping[str, StateDict],
    names: tuple[Naming, ...],
    *,
    prefix: str | None = None,
) -> list[Place]:
    """Return every place with all names of the network, else those with the most of them.

    Parameters
    ----------
    containers : mapping of str to StateDict
        Weights by name, by the keys under which they lie.
    names : tuple of Naming
        In the order of preference.
    prefix : str, optional
        The only one to look behind.
    """
    counted: list[tuple[int, Place]] = []
    for naming in names:
        needed = {there for there, name in naming.names.items() if not name.endswith(COUNTER)}
        for container, weights in containers.items():
            found = _prefixes(weights, needed)
            if prefix is not None:
                found = Counter({prefix: found[prefix]} if found[prefix] else {})
            most = max(found.values(), default=0)
            counted += [
                (count, place_at(container, weights, start, naming))
                for start, count in found.items()
                if count == most
            ]
    most = max((count for count, _ in counted), default=0)
    return [place for count, place in counted if count == most]


def _prefixes(weights: Mapping[str, torch.Tensor], needed: set[str]) -> Counter[str]:
    """Return what stands before names of the network, and before how many of them."""
    found: Counter[str] = Counter()
    for name in weights:
        cuts = [0, *(index + 1 for index, letter in enumerate(name) if letter == ".")]
        found.update(name[:cut] for cut in cuts if name[cut:] in needed)
    return found


def place_at(container: str, weights: StateDict, prefix: str, naming: Naming) -> Place:
    """Return what lies behind a prefix of a container."""
    state = StateDict()
    for whole, value in weights.items():
        if whole.startswith(prefix):
            there = whole.removeprefix(prefix)
            name = naming.names.get(there, there)
            state[name] = value.flatten() if name in naming.flat else value
    if weights.metadata is not None:
        start = prefix.removesuffix(".")
        state.metadata = {
            key.removeprefix(start).removeprefix("."): versions
            for key, versions in weights.metadata.items()
            if f"{key}.".startswith(prefix)
        }
    return Place(
        container=container,
        prefix=prefix,
        naming=naming,
        state=state,
        outside=tuple(name for name in weights if not name.startswith(prefix)),
    )


def same_weights(places: Iterable[Place], names: Collection[str]) -> list[list[Place]]:
    """Return places, those of the same weights together.

    Between places of the same weights nobody needs to choose: frameworks often save a backbone
    once by itself and once more inside of what it was trained in.

    Parameters
    ----------
    places : iterable of Place
        Each of which fits the network.
    names : collection of str
        The weights that are compared.
    """
    groups: list[list[Place]] = []
    for place in places:
        for group in groups:
            if _is_same(place.state, group[0].state, names):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _is_same(first: StateDict, second: StateDict, names: Collection[str]) -> bool:
    return all(
        name in first and name in second and _equal(first[name], second[name])
        for name in names
        if name in first or name in second
    )


def _equal(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape == second.shape and bool((first == second).all())


def without_wrappers(
    containers: Mapping[str, StateDict], wanted: Collection[str], head: tuple[str, ...]
) -> tuple[dict[str, StateDict], Naming] | None:
    """Return weights without the names that wrappers of modules add, and the network's names so.

    Returns None where no name has any, or where two names are the same without them.
    """
    bare = {unwrapped(name): name for name in wanted}
    if len(bare) < len(wanted):
        return None
    found: dict[str, StateDict] = {}
    for container, weights in containers.items():
        short = StateDict((unwrapped(name), value) for name, value in weights.items())
        found[container] = short if len(short) == len(weights) else weights
        if weights.metadata is not None:
            short.metadata = {unwrapped(name): each for name, each in weights.metadata.items()}
    if all(found[key].keys() == containers[key].keys() for key in containers):
        return None
    return found, Naming(origin="", names=bare, head=tuple(map(unwrapped, head)))


def unwrapped(name: str) -> str:
    """Return a name without what compiling, sharding and checkpointing put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)
