"""Fitting a checkpoint to a network without leaving anything random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint, weights_of
from pytest_visualbias.models.choosing import Choice, choose, described, listed
from pytest_visualbias.models.namings import namings
from pytest_visualbias.models.places import find_places, required, whole_places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from pytest_visualbias.models.places import Loadable, Place
    from pytest_visualbias.spec.schema import Network

__all__ = ["OTHER_ARCHITECTURE", "Fit", "fit", "load"]

OTHER_ARCHITECTURE = "name the architecture that it was trained with"
# Of what was left out, in a report.
GROUPS = 20
# What projects train beside a backbone, inside of the same module, and no backbone has: SwAV's and
# DeepCluster's heads, MAE's decoder, and the vector that stands for a hidden patch.
HEADS = ("projection_head.", "prototypes.", "decoder_", "mask_token")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How a checkpoint was fitted to a network.

    Attributes
    ----------
    container : str
        The keys under which the weights lay, joined by "/", or "" where they lay flat.
    prefix : str
        What was taken off the names.
    left_out : tuple of str
        Names of the container that the network does not have: its head, what was ignored, and
        what did not have the prefix.
    facts : mapping
        All this for the report, names by groups.
    """

    container: str
    prefix: str
    left_out: tuple[str, ...]
    facts: Mapping[str, Any]


def load(
    network: Loadable,
    entry: Network,
    path: Path | None,
    *,
    head: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Load the checkpoint of an entry, where it has one, and return facts for the report.

    Raises
    ------
    EncoderError
        For a checkpoint that cannot be read or does not fit.
    """
    if path is None:
        return {}
    fitted = fit(
        network,
        read_checkpoint(path),
        path=path,
        head=head,
        ignore=entry.ignore,
        container=entry.container,
        prefix=entry.prefix,
    )
    return dict(fitted.facts)


def fit(
    network: Loadable,
    checkpoint: Mapping[str, Any],
    *,
    path: Path,
    head: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    container: str | None = None,
    prefix: str | None = None,
) -> Fit:
    """Load a checkpoint into a network, all of it.

    Every weight of the network must come from one place of the checkpoint, in its shape; every
    weight at that place must belong to the network, be a head that is known as one, or start with
    an ignored prefix.

    Parameters
    ----------
    network : Loadable
        A module, or what loads a part of one. Changed in place.
    checkpoint : mapping
        As read.
    path : Path
        For messages.
    head : tuple of str
        Prefixes of the classifier, which embeddings do not need.
    ignore : tuple of str
        Prefixes that the spec says to leave out.
    container, prefix : str, optional
        The place that the spec says to read.

    Raises
    ------
    EncoderError
        Naming the keys that are missing, unknown or of another shape, or the places between which
        the spec has to choose.
    """
    wanted = network.state_dict()
    containers = weights_of(checkpoint)
    chosen = _chosen(containers, wanted, path, head=head, container=container, prefix=prefix)
    place = chosen.place
    allowed = (*place.naming.head, *ignore, *HEADS)
    faults = list(_faults(wanted, place, allowed))
    if faults:
        where = f" ({described(place)})" if place.container or place.prefix else ""
        raise EncoderError(
            f"the checkpoint {path} does not fit the network{where}: {'; '.join(faults)}"
        )
    network.load_state_dict({name: place.weights.get(name, own) for name, own in wanted.items()})
    left_out = (*(place.prefix + name for name in place.extra), *place.outside)
    others = {key: len(names) for key, names in containers.items() if key != place.container}
    return Fit(
        container=place.container,
        prefix=place.prefix,
        left_out=left_out,
        facts=_facts(chosen, left_out, allowed, others),
    )


def _chosen(
    containers: Mapping[str, Mapping[str, torch.Tensor]],
    wanted: Mapping[str, torch.Tensor],
    path: Path,
    *,
    head: tuple[str, ...],
    container: str | None,
    prefix: str | None,
) -> Choice:
    """Return the place to read, whole or, for the faults to be told, the one that fits best."""
    if not containers:
        raise EncoderError(f"the checkpoint {path} holds no tensors; save a state dict")
    if container is not None and container not in containers:
        raise EncoderError(
            f"the checkpoint {path} has no weights under '{container}', but under "
            f"{_quoted(list(containers))}; correct 'container'"
        )
    among = containers if container is None else {container: containers[container]}
    start = None if prefix is None else prefix.rstrip(".") + "." * (prefix != "")
    names = namings(wanted, head)
    places = find_places(among, names, prefix=start)
    if groups := whole_places(places, wanted):
        return choose(groups, path=path, container=container, prefix=prefix)
    if not places:
        found = find_places(among, names)
        raise EncoderError(_strange(among, wanted, path, found, start))
    return Choice(place=max(places, key=lambda place: place.fits(wanted)))


def _strange(
    containers: Mapping[str, Mapping[str, torch.Tensor]],
    wanted: Mapping[str, torch.Tensor],
    path: Path,
    found: Sequence[Place],
    prefix: str | None,
) -> str:
    """Return why no name of a network is in a checkpoint."""
    if prefix is not None and found:
        return (
            f"the checkpoint {path} has no weights of the network behind '{prefix}', but behind "
            f"{_quoted([place.prefix for place in found])}; correct 'prefix'"
        )
    most = max(containers.values(), key=len)
    return (
        f"the checkpoint {path} does not fit the network: none of its names "
        f"({listed(sorted(most))}) is among the network's ({listed(list(wanted))}); "
        f"{OTHER_ARCHITECTURE}"
    )


def _faults(
    wanted: Mapping[str, torch.Tensor], place: Place, allowed: tuple[str, ...]
) -> Iterator[str]:
    weights = place.weights
    missing = [name for name in required(wanted) if name not in weights]
    if missing:
        yield f"it lacks {listed(missing)}"
    misfits = [
        f"{name} ({_shape(weights[name])}, the network has {_shape(wanted[name])})"
        for name in wanted
        if name in weights and weights[name].shape != wanted[name].shape
    ]
    if misfits:
        yield f"other shapes: {listed(misfits)}"
    unknown = [name for name in place.extra if not name.startswith(allowed)]
    if unknown:
        yield f"the network has no {listed(unknown)}"
    if missing or misfits:
        yield OTHER_ARCHITECTURE
    elif unknown:
        yield "list what may be left out under 'ignore'"


def _facts(
    chosen: Choice,
    left_out: Sequence[str],
    allowed: tuple[str, ...],
    others: Mapping[str, int],
) -> dict[str, Any]:
    """Return what a report says about a checkpoint."""
    place = chosen.place
    groups: dict[str, list[str]] = {}
    for name in left_out:
        groups.setdefault(_group(name, place.prefix, allowed), []).append(name)
    told = [
        f"{group} ({len(names)} weights)" if len(names) > 1 else names[0]
        for group, names in groups.items()
    ]
    told += [f"{key}/ (weights: {count})" for key, count in others.items() if key]
    said = {"names": place.naming.origin, "chosen": chosen.reason}
    more = [f"and {len(told) - GROUPS} more"] if len(told) > GROUPS else []
    return {
        "container": place.container,
        "prefix": place.prefix,
        "left_out": [*told[:GROUPS], *more],
        **{key: text for key, text in said.items() if text},
    }


def _group(name: str, prefix: str, allowed: tuple[str, ...]) -> str:
    """Return what a name is left out with: a head, or where it parts from the prefix."""
    if name.startswith(prefix):
        rest = name.removeprefix(prefix)
        return prefix + next(start for start in allowed if rest.startswith(start))
    parts = name.split(".")
    pairs = zip(parts[:-1], prefix.split("."), strict=False)
    same = next((i for i, (own, other) in enumerate(pairs) if own != other), len(parts) - 1)
    return ".".join(parts[: same + 1]) + "."


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "scalar"


def _quoted(names: Sequence[str]) -> str:
    return listed([f"'{name}'" for name in dict.fromkeys(names)])
