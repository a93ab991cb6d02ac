"""The p-values of a family, corrected for how many they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pytest_visualbias.statistics import Evidence, adjust

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from pytest_visualbias.pipeline.numbers import Numbers
    from pytest_visualbias.spec.schema import BiasSpec

__all__ = ["corrected_p"]

K = TypeVar("K", bound="Hashable")


def corrected_p(
    spec: BiasSpec, numbers: Mapping[K, Numbers], members: Sequence[tuple[K, str]]
) -> dict[tuple[K, str], float]:
    """Correct the p-values of a family.

    Parameters
    ----------
    spec : BiasSpec
        Its correction.
    numbers : mapping to Numbers
        Of every test, by its name; if several models are judged at once, by model and name.
    members : sequence of pairs
        A key of `numbers`, and ``effect``, ``growth``, ``shift`` or ``excess``: every declared p. A
        member without numbers counts as 1.
    """
    results = [getattr(numbers[key], what) for key, what in members]
    raw = [one.p_verdict if isinstance(one, Evidence) else 1.0 for one in results]
    return dict(zip(members, adjust(raw, spec.settings.correction), strict=True))
