"""Join the verdicts of the checkpoints of a training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.evaluation.judging import RECORDED
from pytest_visualbias.evaluation.verdict import Verdict
from pytest_visualbias.results import format_exceeding
from pytest_visualbias.spec.effective_settings import format_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_visualbias.evaluation.judging import JudgedTest
    from pytest_visualbias.evaluation.verdict import Kind, Outcome, Violation

# With more different reasons, only the first two and the last are shown.
NAMED = 5

# Worst first.
ORDER: tuple[Outcome, ...] = ("error", "fail", "invalid", "inconclusive", "accepted", "pass")

# The order of limits in a verdict.
KINDS: tuple[Kind, ...] = ("effect", "gap", "growth", "shift", "excess")
Both = tuple["tuple[JudgedTest, ...]", "tuple[JudgedTest, ...]"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joint:
    """The checkpoints of a series."""

    axis: str
    labels: tuple[str, ...]

    def named(self, some: Sequence[str]) -> str:
        """Return some checkpoints as text."""
        return format_steps(self.axis, self.labels, some)


def joined(
    joint: Joint, judged: Sequence[Both]
) -> tuple[list[tuple[JudgedTest, ...]], tuple[JudgedTest, ...]]:
    """Return the verdict of every test at every checkpoint, and of every test over all."""
    by_test = [zip(*pair, strict=True) for pair in judged]
    over_steps = [*zip(*(_with_waiver(steps) for steps in zip(*by_test, strict=True)), strict=True)]
    last = judged[-1][0]
    results = tuple(
        _worst(joint, [step[index] for step in over_steps], last[index])
        for index in range(len(last))
    )
    return over_steps, results


def _with_waiver(steps: Sequence[tuple[JudgedTest, JudgedTest]]) -> list[JudgedTest]:
    """Return a test at every checkpoint, with its waiver if it is needed there."""
    is_needed = any(_needs_waiver(waived, bare) for waived, bare in steps)
    return [
        bare
        if bare.verdict.outcome == "pass" or (is_needed and not _needs_waiver(waived, bare))
        else waived
        for waived, bare in steps
    ]


def _needs_waiver(waived: JudgedTest, bare: JudgedTest) -> bool:
    sizes = waived.accept.sizes(waived.test.limits) if waived.accept is not None else {}
    return any(violation.kind in sizes for violation in bare.verdict.violations)


def _worst(joint: Joint, judged_tests: Sequence[JudgedTest], last: JudgedTest) -> JudgedTest:
    """Return the last checkpoint's result with the worst verdict and its checkpoints."""
    worst = min((judged.verdict.outcome for judged in judged_tests), key=ORDER.index)
    if worst == "pass":
        return last
    verdicts = {
        label: judged.verdict
        for label, judged in zip(joint.labels, judged_tests, strict=True)
        if judged.verdict.outcome == worst
    }
    return dataclasses.replace(last, verdict=_joint(joint, worst, verdicts))


def _joint(joint: Joint, outcome: Outcome, verdicts: dict[str, Verdict]) -> Verdict:
    """Join verdicts: each limit with its worst value, each sentence with its checkpoints."""
    limits: dict[tuple[Kind, bool], dict[str, Violation]] = {}
    sentences: dict[str, list[str]] = {}
    with_sentence: dict[str, Violation] = {}
    for label, verdict in verdicts.items():
        for violation in verdict.violations:
            if violation.sentence:
                with_sentence[violation.sentence] = violation
                sentences.setdefault(violation.sentence, []).append(label)
            else:
                limits.setdefault((violation.kind, violation.evidence), {})[label] = violation
        for note in verdict.notes:
            sentences.setdefault(note, []).append(label)
    is_recorded = sentences.pop(RECORDED, None) is not None
    violations = [_limit(joint, limits[key]) for key in sorted(limits, key=_in_order)]
    notes = []
    for sentence, labels in _some(sentences).items():
        text = f"{sentence} at {joint.named(labels)}"
        if sentence in with_sentence:
            violations.append(dataclasses.replace(with_sentence[sentence], sentence=text))
        else:
            notes.append(text)
    if between := _between(sentences):
        notes.append(f"and so at {between} checkpoints between")
    if is_recorded:
        notes.append(RECORDED)
    return Verdict(outcome=outcome, violations=tuple(violations), notes=tuple(notes))


def _in_order(key: tuple[Kind, bool]) -> int:
    return KINDS.index(key[0])


def _limit(joint: Joint, by_label: dict[str, Violation]) -> Violation:
    """Return the worst violation of a limit, with the checkpoints that exceed it."""
    label, worst = max(by_label.items(), key=lambda pair: abs(pair[1].value or 0.0))
    if len(by_label) == 1:
        return dataclasses.replace(worst, sentence=f"{worst.reason} at {joint.named([label])}")
    without = "" if worst.evidence else ", but without evidence"
    shown = format_exceeding(worst.value or 0.0, worst.limit)
    text = (
        f"{worst.kind} over {worst.limit:g} at {joint.named([*by_label])}, worst {shown} at "
        f"{label}{without} ({worst.detail})"
    )
    return dataclasses.replace(worst, sentence=text)


def _some(sentences: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the sentences to show: of many, the first two and the last."""
    if len(sentences) <= NAMED:
        return sentences
    items = [*sentences.items()]
    return dict([*items[:2], items[-1]])


def _between(sentences: dict[str, list[str]]) -> int:
    """Return how many checkpoints have sentences that are not shown."""
    hidden = sentences.keys() - _some(sentences).keys()
    return len({label for sentence in hidden for label in sentences[sentence]})
