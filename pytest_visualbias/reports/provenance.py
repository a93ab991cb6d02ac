"""What a result comes from, in lines of a key and a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_visualbias.reports.series import numbers_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_visualbias.record import ModelRecord, Report, ResultRecord

__all__ = ["provenance"]

DIGITS = 12


def provenance(report: Report, models: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
    """Yield what was run, on what, and where: the values are text of anybody.

    Parameters
    ----------
    report : Report
        Of the run.
    models : collection of str or None
        The models to name; None is all.
    """
    tool, environment = report.tool, report.environment
    yield "tool", f"{tool.get('name', '')} {tool.get('version', '')}".strip()
    yield "commit", _commit(environment.get("git"))
    for key in ("started", "python", "platform", "device", "precision"):
        if environment.get(key):
            yield key, str(environment[key])
    if packages := _mapping(environment.get("packages")):
        yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items())
    for name, what in _mapping(environment.get("overrides")).items():
        yield f"model given in place of {name}", str(what)
    for spec, digest in {one.spec: one.spec_digest for one in report.results}.items():
        yield "spec", f"{spec} (sha256 {digest[:DIGITS]})"
    for model in (one for one in report.models if models is None or one.model in models):
        yield "model", _model(model, _series_of(report, model))
    if report.summary.get("exit_status") is not None:
        yield "exit code of pytest", str(report.summary["exit_status"])


def _commit(git: object) -> str:
    found = _mapping(git)
    commit = found.get("commit")
    if not commit:
        return "unknown"
    return f"{commit}, with changes that are not committed" if found.get("dirty") else str(commit)


def _series_of(report: Report, model: ModelRecord) -> list[ResultRecord]:
    """Return the results of a model that are of a series of checkpoints."""
    return [
        one
        for one in report.results
        if (one.spec, one.model) == (model.spec, model.model) and one.series is not None
    ]


def _model(model: ModelRecord, results: Sequence[ResultRecord]) -> str:
    weights = [
        (str(one.get("url") or one.get("label", "")), str(one.get("fingerprint", "")))
        for one in model.trials
    ]
    step = numbers_of(results)
    gated = next((one.series for one in results if one.series is not None), None)
    if gated is not None and gated.gate == "all":
        weights = [(one.checkpoint, one.fingerprint) for one in gated.points]
    told = ", ".join(f"{label} {digest[:DIGITS]}".strip() for label, digest in weights)
    of = f", {step}" if step else ""
    return f"{model.model} in {model.spec} ({model.source}{of}): {told}"


def _mapping(value: object) -> dict[str, Any]:
    """Return a part of the report that can be anything as a mapping."""
    return {str(key): one for key, one in value.items()} if isinstance(value, dict) else {}
