"""Find the weights of a network in a checkpoint: containers, prefixes and names of keys."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import StateDict
from pytest_visualbias.spec.error_messages import MAX_LISTED, format_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    import torch

# A counter that inference never reads; older checkpoints do not have it.
COUNTER = "num_batches_tracked"
VIT = {
    r"cls_token": "class_token",
    r"pos_embed": "encoder.pos_embedding",
    r"patch_embed\.proj\.(\w+)": r"conv_proj.\1",
    r"blocks\.(\d+)\.norm([12])\.(\w+)": r"encoder.layers.encoder_layer_\1.ln_\2.\3",
    r"blocks\.(\d+)\.attn\.qkv\.(\w+)": (
        r"encoder.layers.encoder_layer_\1.self_attention.in_proj_\2"
    ),
    r"blocks\.(\d+)\.attn\.proj\.(\w+)": (
        r"encoder.layers.encoder_layer_\1.self_attention.out_proj.\2"
    ),
    r"blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.0.\2",
    r"blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.3.\2",
    r"norm\.(\w+)": r"encoder.ln.\1",
    r"head\.(\w+)": r"heads.head.\1",
}

# As torchvision's files were first published; its own loader renames them, too.
OLD_VIT = VIT | {
    r"blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.linear_1.\2",
    r"blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.linear_2.\2",
}

# Stages and what lies between them are counted together there.
CONVNEXT = {
    r"stem\.([01])\.(\w+)": r"features.0.\1.\2",
    r"head\.norm\.(\w+)": r"classifier.0.\1",
    r"head\.fc\.(\w+)": r"classifier.2.\1",
    **{
        pattern.format(stage=stage): there.format(stage=2 * stage + 1, before=2 * stage)
        for stage in range(4)
        for pattern, there in {
            r"stages\.{stage}\.downsample\.([01])\.(\w+)": r"features.{before}.\1.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.conv_dw\.(\w+)": r"features.{stage}.\1.block.0.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.norm\.(\w+)": r"features.{stage}.\1.block.2.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"features.{stage}.\1.block.3.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"features.{stage}.\1.block.5.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.gamma": r"features.{stage}.\1.layer_scale",
        }.items()
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """Names that the weights of a network may have in a checkpoint."""

    origin: str
    names: Mapping[str, str]
    head: tuple[str, ...] = ()
    flat: frozenset[str] = frozenset()


def naming_schemes(wanted: Collection[str], head: tuple[str, ...]) -> tuple[Naming, ...]:
    """Return the naming schemes of a network's weights, its own names first."""
    result = [Naming(origin="", names={name: name for name in wanted}, head=head)]
    for rules, classifier in ((VIT, "heads."), (OLD_VIT, "heads."), (CONVNEXT, "classifier.2.")):
        names = {saved_name: name for name in wanted if (saved_name := _rename(name, rules))}
        if len(names) == len(wanted) > 0:
            flat = frozenset(
                name for saved_name, name in names.items() if saved_name.endswith("layer_scale")
            )
            result.append(Naming(origin="torchvision", names=names, head=(classifier,), flat=flat))
    return tuple(result)


def _rename(name: str, rules: Mapping[str, str]) -> str | None:
    """Return the name in another scheme, or None."""
    for pattern, rule in rules.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(rule)
    return None


# torch.compile, DataParallel, FSDP and activation checkpointing, of a network or of its layers.
WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


class Loadable(Protocol):
    """An object that loads weights by name, such as a module."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""
        ...  # pragma: no cover

    def load_state_dict(self, state_dict: Mapping[str, Any], *, strict: bool) -> Any:
        """Take weights of the same names, and return those that are missing or unknown."""
        ...  # pragma: no cover


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WeightsLocation:
    """A place in a checkpoint that holds weights of a network."""

    container: str
    prefix: str
    naming: Naming
    state: StateDict
    outside: tuple[str, ...]

    @property
    def extra(self) -> list[str]:
        """Names behind the prefix that the network does not have."""
        known = set(self.naming.names.values())
        return [name for name in self.state if name not in known]

    def named(self, starts: tuple[str, ...]) -> list[str]:
        """Return the checkpoint names of the network's weights with these prefixes."""
        return [
            saved_name
            for saved_name, name in self.naming.names.items()
            if name in self.state and name.startswith(starts)
        ]

    @property
    def share(self) -> float:
        """Share of the container's names that lie behind the prefix."""
        return len(self.state) / (len(self.state) + len(self.outside))

    def fits(self, needed: Mapping[str, torch.Tensor]) -> int:
        """Return how many weights of the network are here with the right shape."""
        return sum(
            name in self.state and self.state[name].shape == value.shape
            for name, value in needed.items()
        )

    def is_whole(self, needed: Mapping[str, torch.Tensor]) -> bool:
        """Return whether every weight of the network is here with the right shape."""
        return self.fits(needed) == len(needed) > 0


def find_places(
    containers: Mapping[str, StateDict],
    names: tuple[Naming, ...],
    *,
    prefix: str | None = None,
) -> list[WeightsLocation]:
    """Return the places with the most names of the network."""
    counted: list[tuple[int, WeightsLocation]] = []
    for naming in names:
        needed = {
            saved_name for saved_name, name in naming.names.items() if not name.endswith(COUNTER)
        }
        for container, weights in containers.items():
            counts = _prefixes(weights, needed)
            if prefix is not None:
                counts = Counter({prefix: counts[prefix]} if counts[prefix] else {})
            largest = max(counts.values(), default=0)
            counted += [
                (count, locate_weights(container, weights, start, naming))
                for start, count in counts.items()
                if count == largest
            ]
    largest = max((count for count, _ in counted), default=0)
    return [place for count, place in counted if count == largest]


def _prefixes(weights: Mapping[str, torch.Tensor], needed: set[str]) -> Counter[str]:
    """Return the prefixes of the network's names, and how many names each has."""
    counts: Counter[str] = Counter()
    for name in weights:
        cuts = [0, *(index + 1 for index, letter in enumerate(name) if letter == ".")]
        counts.update(name[:cut] for cut in cuts if name[cut:] in needed)
    return counts


def locate_weights(
    container: str, weights: StateDict, prefix: str, naming: Naming
) -> WeightsLocation:
    """Return the weights behind a prefix of a container."""
    state = StateDict()
    for whole, value in weights.items():
        if whole.startswith(prefix):
            saved_name = whole.removeprefix(prefix)
            name = naming.names.get(saved_name, saved_name)
            state[name] = value.flatten() if name in naming.flat else value
    if weights.metadata is not None:
        start = prefix.removesuffix(".")
        state.metadata = {
            key.removeprefix(start).removeprefix("."): versions
            for key, versions in weights.metadata.items()
            if f"{key}.".startswith(prefix)
        }
    return WeightsLocation(
        container=container,
        prefix=prefix,
        naming=naming,
        state=state,
        outside=tuple(name for name in weights if not name.startswith(prefix)),
    )


def group_equal_weights(
    places: Iterable[WeightsLocation], names: Collection[str]
) -> list[list[WeightsLocation]]:
    """Group places that hold the same weights."""
    groups: list[list[WeightsLocation]] = []
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


def remove_wrappers(
    containers: Mapping[str, StateDict], wanted: Collection[str], head: tuple[str, ...]
) -> tuple[dict[str, StateDict], Naming] | None:
    """Return weights and naming without the names that module wrappers add."""
    bare = {unwrap_name(name): name for name in wanted}
    if len(bare) < len(wanted):
        return None
    renamed: dict[str, StateDict] = {}
    for container, weights in containers.items():
        short = StateDict((unwrap_name(name), value) for name, value in weights.items())
        renamed[container] = short if len(short) == len(weights) else weights
        if weights.metadata is not None:
            short.metadata = {unwrap_name(name): each for name, each in weights.metadata.items()}
    if all(renamed[key].keys() == containers[key].keys() for key in containers):
        return None
    return renamed, Naming(origin="", names=bare, head=tuple(map(unwrap_name, head)))


def unwrap_name(name: str) -> str:
    """Return a name without the parts that compiling and sharding add."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


# What wraps a network whole. Behind any other prefix there may be one block of a larger network,
# which a small network would fit: then half of the weights must lie there, or the user says so.
WRAPPER_SUFFIXES = re.compile(
    r"((module|_orig_mod|model|net|network|backbone|encoder|encoder_q|base_encoder|online_net"
    r"|trunk|_feature_blocks|student|teacher|visual)\.)*"
)
MIN_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """Which of two places the authors of a layout evaluate."""

    origin: str
    taken: str
    left: str


CONVENTIONS = (
    Convention(
        origin="MoCo", taken=r".*:(.*\.)?encoder_q\.(0\.)?", left=r".*:(.*\.)?encoder_k\.(0\.)?"
    ),
    Convention(
        origin="MoCo v3",
        taken=r".*:(.*\.)?base_encoder\.",
        left=r".*:(.*\.)?momentum_encoder\.",
    ),
    Convention(
        origin="DINO",
        taken=r"teacher:(module\.)?backbone\.",
        left=r"student:(module\.)?backbone\.",
    ),
    Convention(
        origin="OpenMMLab",
        taken=r".*:(module\.)?backbone\.",
        left=r".*:(module\.)?(encoder_k|target_net|momentum_encoder)\.(module\.)?0\.",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerChoice:
    """The chosen place, and the reason."""

    place: WeightsLocation
    reason: str = ""


def choose_place(
    groups: Sequence[Sequence[WeightsLocation]],
    *,
    path: Path,
    container: str | None,
    prefix: str | None,
) -> ContainerChoice:
    """Choose between places that fit completely."""
    firsts = [group[0] for group in groups]
    if len(groups) == 1:
        doubt = _doubt(groups[0], is_said=container is not None) if prefix is None else ""
        if not doubt:
            return ContainerChoice(place=firsts[0])
        raise EncoderError(
            f"the checkpoint {path} has weights that fit the network {describe_place(firsts[0])}, "
            f"{doubt}",
            f"if they are what you release, write {_spec_keys(firsts[0], firsts)}",
        )
    for convention in CONVENTIONS:
        taken = [group for group in groups if _matches(group, convention.taken)]
        left = [
            group for group in groups if group not in taken and _matches(group, convention.left)
        ]
        if len(taken) == 1 and len(left) == len(groups) - 1:
            others = " and ".join(describe_place(group[0]) for group in left)
            reason = f"{convention.origin}'s own evaluation takes it; {others} would fit as well"
            return ContainerChoice(place=taken[0][0], reason=reason)
    ways = " or ".join(_spec_keys(place, firsts) for place in firsts[:MAX_LISTED])
    raise EncoderError(
        f"the checkpoint {path} has different weights that fit the network in {len(groups)} places",
        f"write which of them you release: {ways}",
    )


def _doubt(group: Sequence[WeightsLocation], *, is_said: bool) -> str:
    """Return why the only fitting place may not be the released weights."""
    for convention in CONVENTIONS:
        is_left = _matches(group, convention.left) and not _matches(group, convention.taken)
        if is_left and not is_said:
            return f"which {convention.origin}'s own evaluation leaves aside"
    if not any(_is_wrapped(place) for place in group):
        names = format_names(group[0].outside)
        return f"but more beside them ({names}), so that they may be one part of a larger network"
    return ""


def describe_place(place: WeightsLocation) -> str:
    """Return a place as text."""
    container = f"under '{place.container}'" if place.container else ""
    prefix = f"behind '{place.prefix}'" if place.prefix else ""
    return " ".join(filter(None, (container, prefix))) or "at the top"


def _is_wrapped(place: WeightsLocation) -> bool:
    return WRAPPER_SUFFIXES.fullmatch(place.prefix) is not None or place.share >= MIN_SHARE


def _matches(group: Sequence[WeightsLocation], pattern: str) -> bool:
    return any(re.fullmatch(pattern, f"{place.container}:{place.prefix}") for place in group)


def _spec_keys(place: WeightsLocation, among: Sequence[WeightsLocation]) -> str:
    """Return the spec keys that identify a place, as few as needed."""
    keys = {"container": place.container, "prefix": place.prefix}
    if len({other.container for other in among}) == 1:
        del keys["container"]
    elif len({other.container for other in among}) == len(among):
        del keys["prefix"]
    return "'" + ", ".join(f"{key}: {_scalar(text)}" for key, text in keys.items()) + "'"


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar."""
    is_plain = re.fullmatch(r"[A-Za-z_][\w./]*", text) and text not in ("true", "false", "null")
    return text if is_plain else json.dumps(text)
