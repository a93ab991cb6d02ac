"""Word the outcome, numbers and advice of a result for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.reports.sentences import is_acceptable, nouns
from pytest_visualbias.reports.series_notes import failing_checkpoint_hint
from pytest_visualbias.results import format_effect

if TYPE_CHECKING:
    from pytest_visualbias.results import ResultRecord

_WAIVER = ", or accept the bias in the spec with a reason and a day."

# Worst first.
OUTCOMES: dict[str, str] = {
    "fail": "over a limit, with the evidence that was asked for",
    "invalid": "a positive control or a classifier shows that the result says nothing",
    "error": "not measured: an image, a set, a checkpoint or a layer is wrong",
    "inconclusive": "over a limit, but chance is not excluded",
    "accepted": "over a limit, but within a waiver that is still in force",
    "pass": "within the limits",
    "reported": "measured, but judged by no limit",
}


def optional_effect(value: float | None) -> str:
    """Return a formatted effect, or a dash."""
    return "–" if value is None else format_effect(value)


def span(low: float | None, high: float | None) -> str:
    """Return a formatted interval, or a dash."""
    return "–" if low is None or high is None else f"{format_effect(low)} to {format_effect(high)}"


def advice(record: ResultRecord) -> str:
    """Return what to do about an outcome."""
    if record.outcome == "fail":
        return _after_failing(record)
    return {
        "error": "Mend what the sentence names, and run again: nothing was measured.",
        "invalid": _what_is_blind(record),
        "inconclusive": _more_images(record),
        "accepted": "Nothing now; the waiver ends on its day, or when the effect grows beyond it.",
    }.get(record.outcome, "")


def _what_is_blind(record: ResultRecord) -> str:
    if record.prediction is not None:
        return (
            "Check 'class', 'label' and the classifier: it has to know the class to say anything."
        )
    return "Mend the positive control of this model first; until then this says nothing."


def _after_failing(record: ResultRecord) -> str:
    if record.control == "positive":
        return (
            "Check the checkpoint, the preprocessing and the layer: a network that lacks this "
            "effect cannot be judged by the other tests."
        )
    if record.accept is not None:
        return "Edit the waiver in the spec as the sentence says."
    waived = _WAIVER if is_acceptable(record) else "."
    if alone := failing_checkpoint_hint(record):
        return f"{alone[0].upper()}{alone[1:]}. Then mend the data or the training{waived}"
    if any(violation.kind in ("growth", "shift") for violation in record.violations):
        return (
            "Open the test for the images that its effect hangs on, and look for what the "
            "finetuning data put together and the data before did not. Mend the data and finetune "
            f"again{waived}"
        )
    return (
        "Open the test for the images that its effect hangs on: are they what the concept means? "
        f"If so, mend the data or the training{waived}"
    )


def _more_images(record: ResultRecord) -> str:
    more = nouns([record])
    if all(violation.kind not in ("effect", "gap") for violation in record.violations):
        return f"Add {more} to the sets, so that a change of this size can be told from chance."
    minimum = record.detectable
    seen = "" if minimum is None else f" (smallest detectable effect now: {minimum:.2f})"
    return f"Add {more} to the sets, so that an effect of this size can be told from chance{seen}."
