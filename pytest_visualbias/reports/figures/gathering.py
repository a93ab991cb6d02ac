"""Merge results of several runs, with a unique name for each model."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.formatting import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_visualbias.reports.formatting import Unit
    from pytest_visualbias.results import ModelRecord, Report, ResultRecord

# Spec and name of a model, and its fingerprints.
Key = tuple[str, str]
Prints = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What figures are drawn of."""

    records: tuple[ResultRecord, ...]
    names: Mapping[Key, tuple[str, Prints]]


def gathered(reports: Sequence[Report]) -> Study:
    """Put the results of several runs together."""
    prints = [_prints(report.models) for report in reports]
    known: dict[Key, dict[Prints, str]] = defaultdict(dict)
    for number, (report, fingerprints) in enumerate(zip(reports, prints, strict=True), 1):
        labels = _labels(report.models)
        for key in dict.fromkeys((result.spec, result.model) for result in report.results):
            known[key].setdefault(fingerprints.get(key, (f"run {number}",)), labels.get(key, ""))
    display_names = {key: _shown(key[1], alike) for key, alike in known.items()}
    records: dict[tuple[str, ...], ResultRecord] = {}
    names: dict[Key, tuple[str, Prints]] = {}
    for number, (report, fingerprints) in enumerate(zip(reports, prints, strict=True), 1):
        for record in report.results:
            key = record.spec, record.model
            identity = fingerprints.get(key, (f"run {number}",))
            name = display_names[key][identity]
            names[record.spec, name] = record.model, identity
            place = record.spec, name, record.test, record.layer
            renamed = record if name == record.model else record.model_copy(update={"model": name})
            records[place] = renamed
    return Study(records=tuple(records.values()), names=names)


def by_place(records: Iterable[ResultRecord]) -> Iterator[tuple[str, str, list[ResultRecord]]]:
    """Yield the spec, the layer and the records of every spec and layer."""
    places: dict[tuple[str, str], list[ResultRecord]] = defaultdict(list)
    for record in records:
        places[record.spec, record.layer].append(record)
    for (spec, layer), place in places.items():
        yield spec, layer, place


def _prints(models: Iterable[ModelRecord]) -> dict[Key, Prints]:
    """Return the fingerprints of every model that has some."""
    return {
        (model.spec, model.model): tuple(str(trial["fingerprint"]) for trial in model.trials)
        for model in models
        if model.trials and all("fingerprint" in trial for trial in model.trials)
    }


def _labels(models: Iterable[ModelRecord]) -> dict[Key, str]:
    """Return what trials are called: names of checkpoints, mostly."""
    return {
        (model.spec, model.model): str(model.trials[0].get("label", ""))
        for model in models
        if model.trials
    }


def _shown(name: str, alike: Mapping[Prints, str]) -> dict[Prints, str]:
    """Return a name for each of the models that were called alike."""
    if len(alike) == 1:
        return dict.fromkeys(alike, name)
    labels = list(alike.values())
    return {
        identity: f"{name} ({label})" if label and labels.count(label) == 1 else f"{name} #{index}"
        for index, (identity, label) in enumerate(alike.items(), 1)
    }


def is_of(record: ResultRecord, unit: Unit) -> bool:
    """Return whether a result was measured, in a unit: only what is in one unit has one axis."""
    return record.effect_judged is not None and unit_of(record) == unit


def is_effect(record: ResultRecord) -> bool:
    """Return whether a result is a standardised effect that was measured."""
    return is_of(record, "effects")
