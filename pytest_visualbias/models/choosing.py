"""Choosing the place in a checkpoint from which a network is loaded, or saying why nobody can.

One whole place is taken. Of several, one is taken only where the authors of the layout take it in
their own evaluation; else the user has to say which weights are released.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_visualbias.models.places import Place

__all__ = ["Choice", "choose", "described", "listed"]

# What wraps a network whole. Behind any other prefix there may be one block of a larger network,
# which a small network would fit: then half of the weights must lie there, or the user says so.
WRAPPERS = re.compile(
    r"((module|_orig_mod|model|net|network|backbone|encoder|encoder_q|base_encoder|online_net"
    r"|trunk|_feature_blocks|student|teacher|visual)\.)*"
)
HALF = 0.5
SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Convention:
    """Which of two places the authors of a layout evaluate.

    Attributes
    ----------
    origin : str
        For the report.
    taken, left : str
        Patterns of container and prefix, with a colon between.
    """

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
class Choice:
    """The place that was chosen.

    Attributes
    ----------
    place : Place
        Which it is.
    reason : str
        Why, where others fit as well; else "".
    """

    place: Place
    reason: str = ""


def choose(
    groups: Sequence[Sequence[Place]], *, path: Path, container: str | None, prefix: str | None
) -> Choice:
    """Choose between whole places.

    Parameters
    ----------
    groups : sequence of sequence of Place
        Those of the same weights together.
    path : Path
        Of the checkpoint, for messages.
    container, prefix : str, optional
        What the user said, and the places were found by.

    Raises
    ------
    EncoderError
        Where the user must say which place is meant, with the keys to write.
    """
    firsts = [group[0] for group in groups]
    if len(groups) == 1:
        doubt = _doubt(groups[0], is_said=container is not None) if prefix is None else ""
        if not doubt:
            return Choice(place=firsts[0])
        raise EncoderError(
            f"the checkpoint {path} has weights that fit the network {described(firsts[0])}, "
            f"{doubt}; if they are what you release, write {_keys(firsts[0], firsts)}"
        )
    for convention in CONVENTIONS:
        taken = [one for one in groups if _matches(one, convention.taken)]
        left = [one for one in groups if one not in taken and _matches(one, convention.left)]
        if len(taken) == 1 and len(left) == len(groups) - 1:
            others = " and ".join(described(one[0]) for one in left)
            reason = f"{convention.origin}'s own evaluation takes it; {others} would fit as well"
            return Choice(place=taken[0][0], reason=reason)
    ways = " or ".join(_keys(place, firsts) for place in firsts[:SHOWN])
    raise EncoderError(
        f"the checkpoint {path} has different weights that fit the network in {len(groups)} "
        f"places; write which of them you release: {ways}"
    )


def _doubt(group: Sequence[Place], *, is_said: bool) -> str:
    """Return why the only place that fits may not be what is released."""
    for convention in CONVENTIONS:
        is_left = _matches(group, convention.left) and not _matches(group, convention.taken)
        if is_left and not is_said:
            return f"which {convention.origin}'s own evaluation leaves aside"
    if not any(_is_wrapped(one) for one in group):
        names = listed(group[0].outside)
        return f"but more beside them ({names}), so that they may be one part of a larger network"
    return ""


def described(place: Place) -> str:
    """Return a place in words."""
    container = f"under '{place.container}'" if place.container else ""
    prefix = f"behind '{place.prefix}'" if place.prefix else ""
    return " ".join(filter(None, (container, prefix))) or "at the top"


def listed(names: Sequence[str]) -> str:
    """Return the first of the names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _is_wrapped(place: Place) -> bool:
    return WRAPPERS.fullmatch(place.prefix) is not None or place.share >= HALF


def _matches(group: Sequence[Place], pattern: str) -> bool:
    return any(re.fullmatch(pattern, f"{one.container}:{one.prefix}") for one in group)


def _keys(place: Place, among: Sequence[Place]) -> str:
    """Return the keys of a spec that name a place, no more of them than are needed."""
    keys = {"container": place.container, "prefix": place.prefix}
    if len({one.container for one in among}) == 1:
        del keys["container"]
    elif len({one.container for one in among}) == len(among):
        del keys["prefix"]
    return "'" + ", ".join(f"{key}: {_scalar(text)}" for key, text in keys.items()) + "'"


def _scalar(text: str) -> str:
    """Return a text as it may stand in a spec."""
    is_plain = re.fullmatch(r"[A-Za-z_][\w./]*", text) and text not in ("true", "false", "null")
    return text if is_plain else json.dumps(text)
