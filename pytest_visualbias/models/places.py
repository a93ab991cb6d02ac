"""Where in a checkpoint the weights of a network lie: under which key, behind which prefix.

Both are found by the network's own names. A place is whole when every weight of the network is
there in its shape; only whole places are ever chosen between.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_visualbias.models.namings import COUNTER, Naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["Loadable", "Place", "find_places", "required", "whole_places"]


class Loadable(Protocol):
    """What takes weights by name, as a module does."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""
        ...  # pragma: no cover

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take weights of the same names."""
        ...  # pragma: no cover


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """One place at which weights of a network lie.

    Attributes
    ----------
    container : str
        The keys under which the names lie, joined by "/"; "" where they lie flat.
    prefix : str
        What stands before the names.
    naming : Naming
        How the weights are called there.
    weights : mapping of str to torch.Tensor
        By the network's names.
    extra : tuple of str
        Names behind the prefix that the network does not have, without the prefix.
    outside : tuple of str
        Names of the container that do not start with the prefix.
    """

    container: str
    prefix: str
    naming: Naming
    weights: Mapping[str, torch.Tensor]
    extra: tuple[str, ...]
    outside: tuple[str, ...]

    @property
    def share(self) -> float:
        """Which share of the container's names lies behind the prefix."""
        inside = len(self.weights) + len(self.extra)
        return inside / (inside + len(self.outside))

    def fits(self, wanted: Mapping[str, torch.Tensor]) -> int:
        """Return how many weights of the network are here in their shapes."""
        return sum(
            name in self.weights and self.weights[name].shape == wanted[name].shape
            for name in required(wanted)
        )

    def is_whole(self, wanted: Mapping[str, torch.Tensor]) -> bool:
        """Return whether every weight of the network is here, in its shape."""
        return self.fits(wanted) == len(required(wanted)) > 0


def required(wanted: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the names that a checkpoint must have."""
    return [name for name in wanted if not name.endswith(COUNTER)]


def find_places(
    containers: Mapping[str, Mapping[str, torch.Tensor]],
    names: tuple[Naming, ...],
    *,
    prefix: str | None = None,
) -> list[Place]:
    """Return every place with all names of the network, else those with the most of them.

    Parameters
    ----------
    containers : mapping of str to mapping
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
                (count, _place(container, weights, start, naming))
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


def _place(
    container: str, weights: Mapping[str, torch.Tensor], prefix: str, naming: Naming
) -> Place:
    inside = {name.removeprefix(prefix): name for name in weights if name.startswith(prefix)}
    found: dict[str, torch.Tensor] = {}
    for there, name in naming.names.items():
        if there in inside:
            value = weights[inside[there]]
            found[name] = value.flatten() if name in naming.flat else value
    return Place(
        container=container,
        prefix=prefix,
        naming=naming,
        weights=found,
        extra=tuple(name for name in inside if name not in naming.names),
        outside=tuple(name for name in weights if not name.startswith(prefix)),
    )


def whole_places(places: list[Place], wanted: Mapping[str, torch.Tensor]) -> list[list[Place]]:
    """Return the places where all of a network lies, those of the same weights together.

    Between places of the same weights nobody needs to choose: frameworks often save a backbone
    once by itself and once more inside of what it was trained in.
    """
    groups: list[list[Place]] = []
    for place in places:
        if not place.is_whole(wanted):
            continue
        for group in groups:
            if _is_same(place, group[0], wanted):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups


def _is_same(one: Place, other: Place, wanted: Mapping[str, torch.Tensor]) -> bool:
    return all(bool((one.weights[name] == other.weights[name]).all()) for name in required(wanted))
