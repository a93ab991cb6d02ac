"""The tests of a spec over the checkpoints of one training run.

Each checkpoint is measured like a single model, and only one is held at a time: of the others the
numbers stay, and no embedding.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError, VisualBiasError
from pytest_visualbias.pipeline.deciding import corrected_p
from pytest_visualbias.pipeline.family import Family, Place, compute, settle
from pytest_visualbias.pipeline.joining import Joint, joined
from pytest_visualbias.pipeline.numbers import Numbers
from pytest_visualbias.pipeline.points import point_of, series_of
from pytest_visualbias.pipeline.power import declared_family
from pytest_visualbias.pipeline.remembered import Remembered
from pytest_visualbias.spec.layers import made_at, points_of
from pytest_visualbias.verdict import Verdict

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from pytest_visualbias.embeddings.cache import EmbeddingCache
    from pytest_visualbias.pipeline.family import Judged
    from pytest_visualbias.pipeline.measured import Trial
    from pytest_visualbias.pipeline.numbers import Subject
    from pytest_visualbias.pipeline.recorded import Earlier
    from pytest_visualbias.pipeline.training import Run
    from pytest_visualbias.record import SeriesRecord
    from pytest_visualbias.spec.parsing import SpecFile

__all__ = ["Trajectory", "trajectory"]

# Of more checkpoints that could not be measured, the rest is counted.
NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trajectory:
    """What became of a series: the family that is judged, and every test over its checkpoints.

    Attributes
    ----------
    families : mapping of str to Family
        Of every layer: the numbers of the last checkpoint, and the verdict on what is gated.
    series : mapping of (str, str) to SeriesRecord
        Of every test at every layer.
    warnings : mapping of str to tuple of str
        By test.
    """

    families: Mapping[str, Family]
    series: Mapping[tuple[str, str], SeriesRecord]
    warnings: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Step:
    """One checkpoint at one layer: its numbers, and whose they are."""

    label: str
    trial: Trial
    place: Place
    numbers: Mapping[str, Numbers]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Corrected:
    """The corrected p-values of a series.

    Attributes
    ----------
    p : mapping
        By the index of the checkpoint and the layer: by test and what p-value it is.
    size : int
        Over how many p-values the correction runs.
    """

    p: Mapping[tuple[int, str], Mapping[tuple[str, str], float]]
    size: int


def trajectory(
    run: Run,
    subject_of: Callable[[str], Subject],
    earlier: Earlier,
    *,
    today: dt.date,
    threads: int = 1,
    cache: EmbeddingCache | None = None,
) -> Trajectory:
    """Measure and judge every checkpoint of a series.

    Parameters
    ----------
    run : Run
        The series.
    subject_of : callable
        Embeds with the checkpoint of a step.
    earlier : Earlier
        What growth may be measured from.
    today : date
        Of the run, in UTC.
    threads : int
        Tests computed at a time.
    cache : EmbeddingCache or None
        Where results are kept.

    Returns
    -------
    Trajectory
        Where the last checkpoint alone is gated, its family is what it is without the others, and
        theirs are corrected for nothing. Else one family has the p of all checkpoints.

    Raises
    ------
    VisualBiasError
        For a checkpoint that cannot be embedded with: what is not measured must not pass.
    """
    layers = [point.name for point in points_of(run.file.spec, {})]
    warnings = run.warnings(subject_of(run.steps[-1]).sets.sets)
    measure = partial(_measured, run, layers, subject_of, earlier, threads, cache)
    measured = [measure(label) for label in run.steps]
    families: dict[str, Family] = {}
    series: dict[tuple[str, str], SeriesRecord] = {}
    family = _family(run, measured)
    judge = _all if run.gates_all else _last
    for index, layer in enumerate(layers):
        steps = [own[index] for own in measured]
        families[layer], over_steps = judge(run, steps, family, today)
        for step in steps:
            step.place.memo.save()
        tests = made_at(run.file.spec, layer)
        for test, results in zip(tests, zip(*over_steps, strict=True), strict=True):
            series[layer, test.name] = _over_steps(run, steps, results)
    return Trajectory(families=families, series=series, warnings=warnings)


def _family(run: Run, measured: Sequence[Sequence[_Step]]) -> _Corrected:
    """Return the p-values of all gated checkpoints, corrected at all gated layers together."""
    spec = run.file.spec
    steps = [*enumerate(measured)] if run.gates_all else [(len(measured) - 1, measured[-1])]
    declared = declared_family(spec, run.model)
    members = [((at, layer), name, what) for at, _ in steps for layer, name, what in declared]
    numbers = {(at, one.place.layer): one.numbers for at, layers in steps for one in layers}
    return _Corrected(p=corrected_p(spec, numbers, members), size=len(members))


def _over_steps(run: Run, steps: Sequence[_Step], results: Sequence[Judged]) -> SeriesRecord:
    spec, is_gated = run.file.spec, run.gates_all
    points = [
        point_of(spec, step.label, step.trial, judged, is_gated=is_gated)
        for step, judged in zip(steps, results, strict=True)
    ]
    return series_of(spec, run.axis, points, is_gated=is_gated)


def _measured(
    run: Run,
    layers: Sequence[str],
    subject_of: Callable[[str], Subject],
    earlier: Earlier,
    threads: int,
    cache: EmbeddingCache | None,
    label: str,
) -> list[_Step]:
    """Return the numbers of one checkpoint at every layer; its embeddings go on return."""
    file, model = run.file, run.model
    try:
        subject = subject_of(label)
    except VisualBiasError as error:
        is_named = isinstance(error, EncoderError) and error.key  # the step stands there already
        if label == run.steps[-1] or is_named:
            raise
        raise type(error)(f"{run.named(label)}: {error}") from None
    trial = dataclasses.replace(subject.measured.trials[0], tables={})
    found = []
    for layer in layers:
        memo = Remembered.inside(
            cache, spec=file.file, model=model, layer=layer, step=trial.fingerprint
        )
        place = Place(
            file=file,
            model=model,
            layer=layer,
            earlier=earlier,
            memo=memo,
            checkpoints=len(run.steps) if run.gates_all else 1,
        )
        numbers = compute(place, subject, threads)
        found.append(_Step(label=label, trial=trial, place=place, numbers=numbers))
    return found


def _last(
    run: Run, steps: Sequence[_Step], family: _Corrected, today: dt.date
) -> tuple[Family, list[tuple[Judged, ...]]]:
    """Judge the last checkpoint as if there were no other, and each by itself, uncorrected."""
    *_, last = steps
    layer = last.place.layer
    corrected = family.p[len(steps) - 1, layer]
    results = settle(last.place, last.numbers, corrected, today=today)
    alone = _without_waivers(run.file, correction="none")
    members = [one for one in declared_family(run.file.spec, run.model) if one[0] == layer]
    over_steps = []
    for step in steps:
        own = corrected_p(alone.spec, {layer: step.numbers}, members)[layer]
        place = dataclasses.replace(step.place, file=alone)
        over_steps.append(settle(place, step.numbers, own, today=today))
    told = _unmeasured(run, steps, over_steps, results)
    return Family(results=told, size=family.size), over_steps


def _all(
    run: Run, steps: Sequence[_Step], family: _Corrected, today: dt.date
) -> tuple[Family, list[tuple[Judged, ...]]]:
    """Judge all checkpoints, by p corrected over all of them together."""
    bare = _without_waivers(run.file, correction=run.file.spec.settings.correction)
    judged = []
    for at, step in enumerate(steps):
        share = family.p[at, step.place.layer]
        place = dataclasses.replace(step.place, file=bare)
        judged.append(
            (
                settle(step.place, step.numbers, share, today=today),
                settle(place, step.numbers, share, today=today),
            )
        )
    joint = Joint(axis=run.axis, labels=tuple(step.label for step in steps))
    over_steps, results = joined(joint, judged)
    told = _unmeasured(run, steps, over_steps, results)
    return Family(results=told, size=family.size), over_steps


def _without_waivers(file: SpecFile, *, correction: str) -> SpecFile:
    """Return a spec whose tests have no waivers, with a correction in the place of its own."""
    spec = file.spec
    settings = spec.settings.model_copy(update={"correction": correction})
    tests = tuple(test.model_copy(update={"accept": None}) for test in spec.tests)
    return dataclasses.replace(
        file, spec=spec.model_copy(update={"settings": settings, "tests": tests})
    )


def _unmeasured(
    run: Run,
    steps: Sequence[_Step],
    over_steps: Sequence[tuple[Judged, ...]],
    results: tuple[Judged, ...],
) -> tuple[Judged, ...]:
    """Return the results, an error where an earlier checkpoint could not be tested."""
    return tuple(
        map(partial(_or_error, run, steps), results, zip(*over_steps, strict=True)),
    )


def _or_error(run: Run, steps: Sequence[_Step], judged: Judged, own: tuple[Judged, ...]) -> Judged:
    problems = [
        f"{run.named(step.label, step.trial)}: {one.numbers.problem or 'not measured'}"
        for step, one in zip(steps[:-1], own, strict=False)
        if one.verdict.outcome == "error"
    ]
    if not problems:
        return judged
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    problem = "; ".join(problems[:NAMED]) + more
    return dataclasses.replace(
        judged,
        numbers=Numbers(sets={}, problem=problem),
        verdict=Verdict(outcome="error", notes=(problem,)),
    )
