"""All tests of one spec, model and layer: numbers, corrected p, verdicts, controls."""

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
from pytest_visualbias.spec.layers import made_at
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

__all__ = ["RECORDED", "Family", "Judged", "Place", "compute", "family", "settle"]

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
    """All tests of one spec, model and layer, in the order of the spec.

    Attributes
    ----------
    results : tuple of Judged
        The tests.
    size : int
        How many p the correction is over.
    checkpoints : int
        Of how many checkpoints they are.
    """

    results: tuple[Judged, ...]
    size: int
    checkpoints: int = 1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """What a family is of.

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


def family(
    file: SpecFile,
    subject: Subject,
    layer: str,
    earlier: Earlier,
    *,
    today: dt.date,
    threads: int = 1,
    cache: EmbeddingCache | None = None,
) -> Family:
    """Test and judge everything that a spec declares for a model and a layer.

    Parameters
    ----------
    file : SpecFile
        The spec.
    subject : Subject
        The model.
    layer : str
        The name of the layer.
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
    Family
        The correction runs over everything declared; a member that errs counts with p = 1.
    """
    memo = Remembered.inside(cache, spec=file.file, model=subject.name, layer=layer)
    numbers = compute(file, subject, layer, earlier, memo, threads)
    members = declared_family(file.spec, subject.name, layer)
    corrected = corrected_p(file.spec, numbers, members)
    place = Place(file=file, model=subject.name, layer=layer, earlier=earlier, memo=memo)
    results = settle(place, numbers, corrected, today=today)
    memo.save()
    return Family(results=results, size=len(members))


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
        judged = Judged(
            test=test,
            numbers=found,
            verdict=_marked(verdict_of(spec, model, test, found, waiver, p), found),
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


def compute(
    file: SpecFile,
    subject: Subject,
    layer: str,
    earlier: Earlier,
    memo: Remembered,
    threads: int,
) -> dict[str, Numbers]:
    """Compute all tests; what takes long there, sorting and adding, lets other threads run."""
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
