"""Build, read and check the JSON report."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_visualbias.errors import ReportError, StorageError
from pytest_visualbias.evaluation.baseline_file import load_strict
from pytest_visualbias.reports.bias_counts import (
    PName,
    bias_counts,
    label_summaries,
    rank_correlations,
)
from pytest_visualbias.reports.field_descriptions import MEANINGS
from pytest_visualbias.reports.series_notes import judged_checkpoints
from pytest_visualbias.results import READ_VERSIONS, ModelRecord, Report, ResultRecord
from pytest_visualbias.spec.error_messages import describe_error
from pytest_visualbias.spec.urls import Url
from pytest_visualbias.stimuli.remote import open_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def report_schema() -> dict[str, Any]:
    """Return the JSON schema of a report."""
    schema = Report.model_json_schema(mode="serialization", by_alias=True)
    for name, part in schema.get("$defs", {}).items():
        _describe(part, name)
    _describe(schema, "Report")
    head = {
        "$schema": DIALECT,
        "title": "Report of pytest-visualbias",
        "description": "A run of pytest --visualbias, as --visualbias-json writes it.",
    }
    return {**head, **{key: value for key, value in schema.items() if key not in head}}


def _describe(part: dict[str, Any], name: str) -> None:
    meanings = MEANINGS.get(name, {})
    for key, value in part.get("properties", {}).items():
        if key in meanings:
            value["description"] = meanings[key]


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Accuracy(BaseModel):
    """The accuracy of one model, at one layer or as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    accuracy: Share
    layer: str | None = None
    spec: str | None = None
    fingerprint: str | None = None
    ci_low: Share | None = None
    ci_high: Share | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    trial: str | None = None
    strengths: list[float] | None = None
    has_converged: bool | None = None


class Accuracies(BaseModel):
    """A file of accuracies, with the tool, data and method that measured them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    accuracies: list[Accuracy]
    tool: dict[str, str] = {}
    data: dict[str, Any] = {}
    method: dict[str, Any] = {}


def read_accuracies(path: Path) -> tuple[Accuracy, ...]:
    """Read a file of accuracies."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"{path}: accuracies cannot be read ({error.strerror})", "name another file"
        ) from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is no text of UTF-8", "name a file of accuracies") from None
    try:
        return tuple(Accuracies.model_validate_json(text).accuracies)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        location = f"{path}: {place}" if place else f"{path}"
        raise ReportError(
            f"{location}: {describe_error(first)}",
            "the file is "
            '{"accuracies": [{"model": NAME, "layer": LAYER, "accuracy": 0 to 1}, ...]}',
        ) from None


DIGITS = 12


def provenance(report: Report, models: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
    """Yield names and values of the tool, environment, specs and models of a run."""
    tool, environment = report.tool, report.environment
    yield "tool", f"{tool.get('name', '')} {tool.get('version', '')}".strip()
    yield "commit", _commit(environment.get("git"))
    for key in ("started", "python", "platform", "device", "precision"):
        if environment.get(key):
            yield key, str(environment[key])
    if packages := _as_mapping(environment.get("packages")):
        yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items())
    for name, override in _as_mapping(environment.get("overrides")).items():
        yield f"model given in place of {name}", str(override)
    for spec, digest in {result.spec: result.spec_digest for result in report.results}.items():
        yield "spec", f"{spec} (sha256 {digest[:DIGITS]})"
    for model in (model for model in report.models if models is None or model.model in models):
        yield "model", _describe_model(model, _series_results(report, model))
    if report.summary.get("exit_status") is not None:
        yield "exit code of pytest", str(report.summary["exit_status"])


def _commit(git: object) -> str:
    details = _as_mapping(git)
    commit = details.get("commit")
    if not commit:
        return "unknown"
    return f"{commit}, with changes that are not committed" if details.get("dirty") else str(commit)


def _series_results(report: Report, model: ModelRecord) -> list[ResultRecord]:
    """Return the results of a model that is a training run."""
    return [
        result
        for result in report.results
        if (result.spec, result.model) == (model.spec, model.model) and result.series is not None
    ]


def _describe_model(model: ModelRecord, results: Sequence[ResultRecord]) -> str:
    weights = [
        (str(trial.get("url") or trial.get("label", "")), str(trial.get("fingerprint", "")))
        for trial in model.trials
    ]
    step = judged_checkpoints(results)
    gated = next((result.series for result in results if result.series is not None), None)
    if gated is not None and gated.gate == "all":
        weights = [(point.checkpoint, point.fingerprint) for point in gated.points]
    digests = ", ".join(f"{label} {digest[:DIGITS]}".strip() for label, digest in weights)
    suffix = f", {step}" if step else ""
    return f"{model.model} in {model.spec} ({model.source}{suffix}): {digests}"


def _as_mapping(value: object) -> dict[str, Any]:
    """Return a value of the report as a mapping; empty if it is none."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


KNOWN = " or ".join(map(str, READ_VERSIONS))
MARK = "schema_version"
BASELINE = "visualbias_baseline"

# P-values that biases are counted by.
CORRECTED = ("p_value", "p_verdict")


def read_report(path: Path | Url) -> Report:
    """Read the JSON report of a run, in a file or at a URL."""
    try:
        stored = load_strict(_bytes(path).decode("utf-8"))
    except StorageError as error:
        raise ReportError(error.problem, error.remedy) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReportError(f"{path} cannot be read ({reason})", "correct the path") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is not UTF-8", "make the report anew") from None
    except ValueError as error:
        raise ReportError(f"{path} is not JSON ({error})", "make the report anew") from None
    _check_kind(stored, path)
    try:
        report = _validate_leniently(stored)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = f"{place}: {describe_error(first)}"
    else:
        problem = next(_contradictions(report), "")
    if problem:
        raise ReportError(f"{path} is no whole report ({problem})", "make it anew")
    return report


def _bytes(path: Path | Url) -> bytes:
    return open_store(path).read() if isinstance(path, Url) else path.read_bytes()


def _contradictions(report: Report) -> Iterator[str]:
    """Yield contradictions that no run writes."""
    for index, row in enumerate(report.results):
        for role, stimuli in row.sets.items():
            place = f"results.{index}.sets.{role}"
            if len(stimuli.names) != len(stimuli.images):
                yield f"{place}: {len(stimuli.images)} images, but {len(stimuli.names)} names"
            if (scores := row.scores.get(role)) and not scores.keys() >= {*stimuli.images}:
                yield f"{place}: an image has no score"
        for name in CORRECTED:
            p = getattr(row, name)
            if p is not None and not 0 <= p <= 1:
                yield f"results.{index}.{name}: {p:g} is no p"


def _check_kind(stored: Any, path: Path | Url) -> None:  # noqa: ANN401 - what a file holds
    """Raise if a file is not a report of a version that this release reads."""
    if isinstance(stored, dict) and BASELINE in stored:
        raise ReportError(
            f"{path} holds recorded results, not a report",
            "name a file that `pytest --visualbias-json` wrote",
        )
    if not isinstance(stored, dict) or MARK not in stored:
        raise ReportError(
            f"{path} is no report", "name a file that `pytest --visualbias-json` wrote"
        )
    version = stored[MARK]
    if isinstance(version, int) and version > READ_VERSIONS[-1]:
        raise ReportError(
            f"{path} is a report of version {version}, and this release reads {KNOWN}",
            "install a newer pytest-visualbias",
        )
    if type(version) is not int or version not in READ_VERSIONS:
        raise ReportError(f"{path}: '{MARK}' is {version!r}, not {KNOWN}", "make the report anew")


def _validate_leniently(stored: dict[str, Any]) -> Report:
    stored = {**stored, MARK: READ_VERSIONS[-1]}
    try:
        return Report.model_validate(stored)
    except ValidationError as error:
        problems = error.errors()
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    _drop(stored, unknown)
    return Report.model_validate(stored)


def _drop(stored: dict[str, Any], places: Iterable[tuple[int | str, ...]]) -> None:
    for *above, key in places:
        holder: Any = stored
        for part in above:
            holder = holder[part]
        holder.pop(key, None)


PACKAGES = (
    "numpy",
    "pillow",
    "pytest",
    "pytest-visualbias",
    "safetensors",
    "scipy",
    "timm",
    "torch",
)


def build_report(
    results: Sequence[ResultRecord],
    models: Sequence[ModelRecord],
    summary: Mapping[str, Any],
    *,
    root: Path,
    settings: Mapping[str, Any],
) -> Report:
    """Return the report of a run."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.outcome] = counts.get(result.outcome, 0) + 1
    return Report(
        tool={
            "name": "pytest-visualbias",
            "version": importlib.metadata.version("pytest-visualbias"),
        },
        environment={**environment(root), **settings},
        models=list(models),
        results=list(results),
        summary={
            "outcomes": counts,
            "ran": len(results),
            "labels": [label.plain() for label in label_summaries(results)],
            "transfer": [correlation.plain() for correlation in rank_correlations(results)],
            "bias_counts": [
                count.plain() for p in get_args(PName) for count in bias_counts(results, p=p)
            ],
            **summary,
        },
    )


def environment(root: Path) -> dict[str, Any]:
    """Return versions, platform and commit that a result can depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "git": {"commit": _git(root, "rev-parse", "HEAD"), "dirty": _is_dirty(root)},
        "ci": os.environ.get("CI", "").lower() not in ("", "0", "false"),
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", *arguments],  # noqa: S607 - the user's git, found as their shell finds it
            cwd=root,
            capture_output=True,
            text=True,
            errors="replace",  # names of files need not be UTF-8
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _is_dirty(root: Path) -> bool | None:
    status = _git(root, "status", "--porcelain")
    return None if status is None else bool(status)
