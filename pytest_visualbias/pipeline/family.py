"""All tests of one spec and model: numbers, corrected p, verdicts, controls."""

from __future__ import annotations

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import VisualBiasError
from pytest_visualbias.pipeline.controls import failed_before, failed_when_recorded, under
from pytest_visualbias.pipeline.deciding import corrected_p
from pytest_visualbias.pipeline.excess import untrained_models, with_excess
from pytest_visualbias.pipeline.judging import verdict_of, waiver_of
from pytest_visualbias.pipeline.numbers import numbers_of
from pytest_visualbias.pipeline.power import declared_family, interval_count
from pytest_visualbias.pipeline.recorded import origin_models, origin_name
from pytest_visualbias.pipeline.remembered import Remembered
from pytest_visualbias.spec.layers import gated_layers_of, made_at, points_of
from pytest_visualbias.verdict import CorrectedP

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.pipeline.numbers import Numbers, Subject
    from pytest_visualbias.pipeline.recorded import Earlier
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import Accept, BiasTest
    from pytest_visualbias.verdict import Verdict

__all__ = ["RECORDED", "Family", "Judged", "Place", "compute", "families", "settle"]

# What a verdict says besides where its numbers are about to be recorded.
RECORDED = "recorded"
# Each may hold some 100 MB for a while.
_THREADS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Judged:
    """One test of a family with its verdict.

    Attributes
    ----------
    test : BiasTest
        The test.
    numbers : Numbers
        What was computed.
    verdict : Verdict
        Its outcome.
    base : str or None
        The model that growth is measured from, or ``baseline``.
    accept : Accept or None
        The waiver in force, or past its day.
    p : CorrectedP
        The corrected p-values.
    """

    test: BiasTest
    numbers: Numbers
    verdict: Verdict
    base: str | None
    accept: Accept | None
    p: CorrectedP


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Family:
    """The tests of one layer, in the order of the spec; the correction is over all gated layers.

    Attributes
    ----------
    results : tuple of Judged
        The tests.
    size : int
        How many p the correction is over.
    """

    results: tuple[Judged, ...]
    size: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """Where tests are made: a layer of a model.

    Attributes
    ----------
    file : SpecFile
        The spec.
    model, layer : str
        Their names.
    earlier : Earlier
        What growth may be measured from.
    memo : Remembered
        Results of former runs.
    checkpoints : int
        How many are judged together.
    """

    file: SpecFile
    model: str
    layer: str
    earlier: Earlier
    memo: Remembered
    checkpoints: int = 1


def families(
    file: SpecFile,
    subject: Subject,
    earlier: Earlier,
    *,
    today: dt.date,
    threads: int = 1,
    cache: EmbeddingCache | None = None,
) -> dict[str, Family]:
    """Test and judge everything that a spec declares for a model.

    Parameters
    ----------
    file : SpecFile
        The spec.
    subject : Subject
        The model.
    earlier : Earlier
        What growth may be measured from.
    today : date
        Of the run, in UTC: waivers end.
    threads : int
        Tests computed at a time; numbers do not depend on it.
    cache : EmbeddingCache or None
        Where results are kept, to be found again from the very same numbers.

    Returns
    -------
    dict of str to Family
        The tests of each layer. The correction runs over everything declared, at all gated layers
        together; a member that errs counts with p = 1.
    """
    places = []
    for point in points_of(file.spec, {}):
        memo = Remembered.inside(cache, spec=file.file, model=subject.name, layer=point.name)
        places.append(
            Place(file=file, model=subject.name, layer=point.name, earlier=earlier, memo=memo)
        )
    numbers = {place.layer: compute(place, subject, threads) for place in places}
    members = declared_family(file.spec, subject.name)
    corrected = corrected_p(file.spec, numbers, members)
    found = {}
    for place in places:
        layer = place.layer
        results = settle(place, numbers[layer], corrected[layer], today=today)
        found[layer] = Family(results=results, size=len(members))
        place.memo.save()
    return found


def settle(
    place: Place,
    numbers: Mapping[str, Numbers],
    corrected: Mapping[tuple[str, str], float],
    *,
    today: dt.date,
) -> tuple[Judged, ...]:
    """Judge every test by its corrected p, and then by what the positive controls show."""
    spec, model, earlier = place.file.spec, place.model, place.earlier
    is_corrected = spec.settings.correction != "none"
    intervals = place.checkpoints * interval_count(spec, model) if is_corrected else 1
    results = []
    for test in made_at(spec, place.layer):
        found = numbers[test.name]
        p = CorrectedP(
            effect=corrected.get((test.name, "effect")),
            growth=corrected.get((test.name, "growth")),
            shift=corrected.get((test.name, "shift")),
            excess=corrected.get((test.name, "excess")),
            intervals=intervals,
        )
        waiver = waiver_of(spec, model, test, place.layer, today)
        verdict = verdict_of(spec, model, test, found, waiver, p)
        if verdict.outcome == "pass" and place.layer not in gated_layers_of(spec, test):
            notes = (f"the layer '{place.layer}' is not gated, reported only",)
            verdict = dataclasses.replace(verdict, notes=notes)
        judged = Judged(
            test=test,
            numbers=found,
            verdict=_marked(verdict, found),
            base=origin_name(spec, model, test, earlier.baseline),
            accept=waiver.accept if waiver is not None else None,
            p=p,
        )
        results.append(judged)
    failed = [one.test for one in results if one.test.is_positive and one.verdict.outcome != "pass"]
    before = [
        *failed_before(place.file, model, place.layer, earlier, place.memo),
        *failed_when_recorded(spec, results),
    ]
    return tuple(under(one, failed, before) for one in results)


def compute(place: Place, subject: Subject, threads: int) -> dict[str, Numbers]:
    """Compute all tests; what takes long there, sorting and adding, lets other threads run."""
    file, layer, earlier, memo = place.file, place.layer, place.earlier, place.memo
    spec = file.spec
    tests = made_at(spec, layer)
    needed = origin_models(spec, subject.name, tests, earlier.baseline)
    for name in sorted(needed | untrained_models(file, subject)):
        with contextlib.suppress(VisualBiasError):  # said by the tests that need it
            earlier.models(name)  # measured here, by one thread
    with ThreadPoolExecutor(min(threads, _THREADS), thread_name_prefix="visualbias") as pool:
        found = pool.map(
            lambda test: with_excess(
                *(file, subject, test, layer, earlier.models),
                numbers_of(file, subject, test, layer, earlier, memo),
                memo,
            ),
            tests,
        )
        return {test.name: one for test, one in zip(tests, found, strict=True)}


def _marked(verdict: Verdict, found: Numbers) -> Verdict:
    """Return a verdict that says where its numbers are about to be recorded."""
    if not found.is_recorded or verdict.outcome == "error":
        return verdict
    return dataclasses.replace(verdict, notes=(*verdict.notes, RECORDED))
