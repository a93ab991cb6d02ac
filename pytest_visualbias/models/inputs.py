"""How images are prepared where a library says how, and a spec may change it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.preprocessing import as_facts, declared
from pytest_visualbias.models.square import ieat_facts, ieat_input
from pytest_visualbias.spec.networks import Transform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from PIL import Image

__all__ = ["OwnInput", "network_input", "saved_transform", "share_of", "terms"]

# What has to be said of a transform where nothing can be taken from the network's own.
WHOLE = ("crop", "mean", "std", "interpolation")


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnInput:
    """What a library does to an image.

    Attributes
    ----------
    prepare : callable
        One RGB image to an array ``(3, height, width)``.
    facts : mapping
        What it does, as plain values.
    transform : Transform or None
        The same in the words of a spec; None where these cannot say it.
    """

    prepare: Callable[[Image.Image], np.ndarray]
    facts: Mapping[str, Any]
    transform: Transform | None


def terms(prepare: Callable[[Image.Image], np.ndarray], transform: Transform) -> OwnInput:
    """Return what a library does where the words of a spec say it."""
    return OwnInput(prepare=prepare, facts=as_facts(transform), transform=transform)


def share_of(crop: int, resized: int) -> float:
    """Return the share that a middle crop keeps, such that it gives back the size before it."""
    share = crop / resized
    return share if math.floor(crop / share) == resized else math.nextafter(share, 0)


def saved_transform(place: str, values: Mapping[str, Any]) -> Transform:
    """Return what was saved with a network in the words of a spec.

    Raises
    ------
    EncoderError
        For values that no preprocessing has.
    """
    try:
        return Transform.model_validate(values)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise EncoderError(f"{place} has a wrong {key} ({values[key]}); correct it there") from None


def network_input(entry: Any, own: OwnInput | None, *, unknown: str = "") -> dict[str, Any]:
    """Return how images are prepared, as `Network` takes it.

    Parameters
    ----------
    entry : model entry
        With ``preprocess`` and ``transform``.
    own : OwnInput or None
        What the library does; None where nothing says it.
    unknown : str
        Why nothing does.

    Raises
    ------
    EncoderError
        Where nothing says how, or a transform is not whole and there is nothing to take the rest
        from.
    """
    given: Transform | None = entry.transform
    if entry.preprocess == "ieat":
        return {"prepare": ieat_input(given), "preprocessing": ieat_facts(given)}
    if given is None:
        if own is None:
            raise EncoderError(f"{unknown}; give a 'transform' with {_listed(('size', *WHOLE))}")
        return {"prepare": own.prepare, "preprocessing": own.facts}
    if own is None or own.transform is None:
        lacking = [key for key in WHOLE if getattr(given, key) is None]
        if lacking:
            why = unknown or "the network's own preprocessing is of another kind"
            raise EncoderError(f"{why}; add {_listed(lacking)} to 'transform'")
        changed = given
    else:
        keys = (*WHOLE, "channels")
        changes = {key: value for key in keys if (value := getattr(given, key)) is not None}
        changed = own.transform.model_copy(update={"size": given.size, **changes})
    return {"prepare": declared(changed), "preprocessing": as_facts(changed)}


def _listed(keys: Any) -> str:
    return ", ".join(f"'{key}'" for key in keys)
