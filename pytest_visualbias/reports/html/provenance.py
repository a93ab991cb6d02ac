"""List the versions, models, specs and images behind a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_visualbias.results import ModelRecord, Report, SetRecord

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """One model: its facts, and those of every trial of its recipe."""

    spec: str
    model: str
    facts: Facts
    trials: tuple[tuple[str, Facts], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where the numbers come from."""

    run: Facts
    packages: Facts
    models: tuple[ModelFacts, ...]
    specs: Facts
    sets: tuple[SetRecord, ...]


def provenance_of(report: Report) -> Provenance:
    """Return where the numbers of a report come from."""
    environment = dict(report.environment)
    packages = environment.pop("packages", {})
    excluded = {"outcomes", "labels", "transfer", "bias_counts", "collection_errors"}
    summary = {name: value for name, value in report.summary.items() if name not in excluded}
    sets = {
        (stimuli.concept, stimuli.digest, stimuli.folder): stimuli
        for result in report.results
        for stimuli in result.sets.values()
    }
    return Provenance(
        run=tuple(_flat({"tool": report.tool, **environment, **summary})),
        packages=tuple(_flat(packages if isinstance(packages, dict) else {})),
        models=tuple(_model(model) for model in report.models),
        specs=tuple(dict.fromkeys((result.spec, result.spec_digest) for result in report.results)),
        sets=tuple(sets.values()),
    )


def _model(record: ModelRecord) -> ModelFacts:
    plain = {
        "source": record.source,
        "role": record.role,
        "precision": record.precision,
        "labels": record.labels,
        "preprocessing": record.preprocessing,
        **record.description,
    }
    trials = tuple(
        (
            str(trial.get("label", "")),
            tuple(_flat({name: value for name, value in trial.items() if name != "label"})),
        )
        for trial in record.trials
    )
    return ModelFacts(
        spec=record.spec, model=record.model, facts=tuple(_flat(plain)), trials=trials
    )


def _flat(plain: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values of nested data, names joined by dots; nothing of what is empty."""
    for key, value in plain.items():
        name = f"{start}.{key}" if start else str(key)
        if isinstance(value, dict):
            yield from _flat(value, name)
        elif value is not None and value not in ("", []):
            yield name, _text(value)


def _text(value: Any) -> str:  # noqa: ANN401 - plain data of a report
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return _listed(value)
    return str(value)


def _listed(values: Sequence[Any]) -> str:
    parts = (
        ", ".join(f"{name} {text}" for name, text in _flat(value))
        if isinstance(value, dict)
        else _text(value)
        for value in values
    )
    return (
        "; ".join(parts) if any(isinstance(value, dict) for value in values) else ", ".join(parts)
    )
