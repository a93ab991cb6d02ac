"""The p-values of a family, corrected for how many they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.statistics import Evidence, adjust

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from pytest_visualbias.pipeline.numbers import Numbers
    from pytest_visualbias.spec.schema import BiasSpec

__all__ = ["corrected_p"]

P = TypeVar("P", bound="Hashable")


def corrected_p(
    spec: BiasSpec,
    numbers: Mapping[P, Mapping[str, Numbers]],
    members: Sequence[tuple[P, str, str]],
) -> dict[P, dict[tuple[str, str], float]]:
    """Correct the p-values of a family.

    Parameters
    ----------
    spec : BiasSpec
        Its correction.
    numbers : mapping to mapping of str to Numbers
        Of every place (a layer, or a layer of a checkpoint) and every test, by its name.
    members : sequence of (place, str, str)
        A place, a test, and ``effect``, ``growth``, ``shift`` or ``excess``: every declared p. A
        member without numbers counts as 1.

    Returns
    -------
    dict
        Of every place, the corrected p by test and ``effect``, ``growth``, ``shift`` or ``excess``.
    """
    results = [getattr(numbers[place][name], what) for place, name, what in members]
    raw = [one.p_verdict if isinstance(one, Evidence) else 1.0 for one in results]
    found: dict[P, dict[tuple[str, str], float]] = {place: {} for place in numbers}
    adjusted = adjust(raw, spec.settings.correction)
    for (place, name, what), p in zip(members, adjusted, strict=True):
        found[place][name, what] = p
    return found
