"""Results as a model card's metadata have them, beside those that others put there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.outcomes import label
from pytest_visualbias.reports.units import unit_of
from pytest_visualbias.reports.worst import as_judged, step_of, worst_elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from huggingface_hub import ModelCardData

    from pytest_visualbias.record import Report, ResultRecord
    from pytest_visualbias.reports.units import Unit

__all__ = ["KEY", "merged", "own_entries"]

KEY = "model-index"
# By this type of data set our results are found again.
MARK = "pytest-visualbias"
EMBEDDING = ("image-feature-extraction", "Bias, by association of embeddings")
CLASSIFYING = ("image-classification", "Bias, by predictions of two groups")
METRICS: dict[Unit, str] = {
    "effects": "association-effect-size",
    "similarities": "mean-similarity",
    "gaps": "outcome-gap",
}

Results = list[dict[str, Any]]


def own_entries(report: Report) -> dict[str, Results]:
    """Return the results of gated models, by model, as huggingface_hub makes them.

    Raises
    ------
    ReportError
        Where huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import ModelCardData
    except ImportError:
        raise ReportError(
            "a model card needs huggingface_hub, which is not installed; "
            "`pip install huggingface_hub`"
        ) from None
    groups: dict[str, list[ResultRecord]] = {}
    for record in report.results:
        if record.role == "gated":
            groups.setdefault(record.model, []).append(record)
    found = {}
    for model, records in groups.items():
        name, results = visible(model), list(_eval_results(records))
        if results:
            card = ModelCardData(model_name=name, eval_results=results)
            found[name] = _plain(card)["results"]
    return found


def _plain(card: ModelCardData) -> dict[str, Any]:
    """Return the entry of a card in builtin types, which any reader of YAML knows."""
    data: dict[str, Any] = card.to_dict()  # type: ignore[no-untyped-call]
    entry: dict[str, Any] = json.loads(json.dumps(data[KEY][0]))
    return entry


def _eval_results(records: Sequence[ResultRecord]) -> Iterator[Any]:
    from huggingface_hub import EvalResult

    for record in map(as_judged, records):
        if record.effect_judged is not None:
            task = CLASSIFYING if unit_of(record) == "gaps" else EMBEDDING
            yield EvalResult(
                task_type=task[0],
                task_name=task[1],
                dataset_type=MARK,
                dataset_name=visible(record.spec),
                dataset_config=visible(record.spec),
                dataset_revision=record.spec_digest,
                metric_type=METRICS[unit_of(record)],
                metric_name=visible(f"{record.test}[{record.layer}]"),
                metric_value=round(record.effect_judged, 4),
                metric_args=_arguments(record),
            )


def _arguments(record: ResultRecord) -> dict[str, Any]:
    """Return what an effect must not be read without."""
    shown: dict[str, Any] = {"verdict": label(record), "kind": record.kind}
    if record.ci_low is not None and record.ci_high is not None:
        shown["interval"] = [round(record.ci_low, 4), round(record.ci_high, 4)]
    if record.p_adjusted is not None:
        shown["p_adjusted"] = float(f"{record.p_adjusted:.3g}")
    if record.growth is not None:
        shown["growth"] = round(record.growth.value, 4)
        shown["growth_from"] = visible(record.growth.base)
    if record.series is not None:
        point = worst_elsewhere(record) or record.series.points[-1]
        shown["checkpoint"] = step_of(record.series, point)
    return shown | record.limits


def merged(there: Any, ours: Mapping[str, Results]) -> Results:  # noqa: ANN401 - from a file
    """Return the entries of a card with our results in place of those of an earlier run.

    Parameters
    ----------
    there : object
        What stands under ``model-index``, if anything does.
    ours : mapping of str to list
        Results by model. Where the card is of one model and so is the report, it is that one.
    """
    entries = _read(there)
    kept = [{**one, "results": _of_others(one)} for one in entries]
    if len(kept) == len(ours) == 1:
        kept[0]["results"] += next(iter(ours.values()))
        return kept
    for name, results in ours.items():
        found = [one for one in kept if one["name"] == name]
        if found:
            found[0]["results"] += results
        else:
            kept.append({"name": name, "results": list(results)})
    # An entry that held only results of an earlier run of ours goes with them.
    emptied = {id(new) for old, new in zip(entries, kept, strict=False) if old["results"]}
    return [one for one in kept if one["results"] or id(one) not in emptied]


def _of_others(entry: dict[str, Any]) -> Results:
    return [one for one in entry["results"] if not _is_ours(one)]


def _read(there: Any) -> Results:  # noqa: ANN401 - from a file
    if there is None:
        return []
    is_list = isinstance(there, list) and all(
        isinstance(one, dict) and "name" in one and isinstance(one.get("results"), list)
        for one in there
    )
    if not is_list:
        raise ReportError(
            f"the model card stays as it is: its '{KEY}' is no list of models with a name and "
            "results; mend it"
        )
    return list(there)


def _is_ours(result: Any) -> bool:  # noqa: ANN401 - from a file
    dataset = result.get("dataset") if isinstance(result, dict) else None
    return isinstance(dataset, dict) and dataset.get("type") == MARK
