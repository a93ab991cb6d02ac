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

# Spec and name of a model, and the fingerprints of its trials.
Key = tuple[str, str]
Prints = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Merged results of one or several runs."""

    records: tuple[ResultRecord, ...]
    names: Mapping[Key, tuple[str, Prints]]


def merge_reports(reports: Sequence[Report]) -> Study:
    """Merge the results of several runs, with a unique name for each model."""
    prints = [_fingerprints(report.models) for report in reports]
    known: dict[Key, dict[Prints, str]] = defaultdict(dict)
    for number, (report, fingerprints) in enumerate(zip(reports, prints, strict=True), 1):
        labels = _labels(report.models)
        for key in dict.fromkeys((result.spec, result.model) for result in report.results):
            known[key].setdefault(fingerprints.get(key, (f"run {number}",)), labels.get(key, ""))
    display_names = {key: _unique_names(key[1], variants) for key, variants in known.items()}
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


def group_by_layer(
    records: Iterable[ResultRecord],
) -> Iterator[tuple[str, str, list[ResultRecord]]]:
    """Yield each spec and layer with its records."""
    places: dict[tuple[str, str], list[ResultRecord]] = defaultdict(list)
    for record in records:
        places[record.spec, record.layer].append(record)
    for (spec, layer), place in places.items():
        yield spec, layer, place


def _fingerprints(models: Iterable[ModelRecord]) -> dict[Key, Prints]:
    """Return the fingerprints of each model that has any."""
    return {
        (model.spec, model.model): tuple(str(trial["fingerprint"]) for trial in model.trials)
        for model in models
        if model.trials and all("fingerprint" in trial for trial in model.trials)
    }


def _labels(models: Iterable[ModelRecord]) -> dict[Key, str]:
    """Return the first trial's label of each model, usually its checkpoint."""
    return {
        (model.spec, model.model): str(model.trials[0].get("label", ""))
        for model in models
        if model.trials
    }


def _unique_names(name: str, variants: Mapping[Prints, str]) -> dict[Prints, str]:
    """Return a unique name for each model that shares one name."""
    if len(variants) == 1:
        return dict.fromkeys(variants, name)
    labels = list(variants.values())
    return {
        identity: f"{name} ({label})" if label and labels.count(label) == 1 else f"{name} #{index}"
        for index, (identity, label) in enumerate(variants.items(), 1)
    }


def has_unit(record: ResultRecord, unit: Unit) -> bool:
    """Return whether a result has a measured effect of a unit."""
    return record.effect_judged is not None and unit_of(record) == unit


def is_effect(record: ResultRecord) -> bool:
    """Return whether a result has a measured standardised effect."""
    return has_unit(record, "effects")
