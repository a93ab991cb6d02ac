"""State results as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pytest_visualbias.evaluation.judging import WAIVABLE
from pytest_visualbias.evaluation.verdict import signed_magnitude
from pytest_visualbias.reports.escaping import visible
from pytest_visualbias.reports.formatting import describe_rates, is_standardised, judged_limit
from pytest_visualbias.reports.series_notes import (
    checkpoint_range,
    failing_checkpoint_hint,
    seeds_text,
    series_text,
    shown_checkpoint,
    trials_text,
)
from pytest_visualbias.results import format_effect, format_p, rounded_up
from pytest_visualbias.spec.effective_settings import OUTPUT, POOLED
from pytest_visualbias.spec.fields import quoted
from pytest_visualbias.spec.test_kinds import KINDS, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_visualbias.results import AcceptRecord, GrowthRecord, ResultRecord
    from pytest_visualbias.spec.fields import Alternative


def is_acceptable(record: ResultRecord) -> bool:
    """Return whether a new waiver can cover every violation of a failed result."""
    kinds = {violation.kind for violation in record.violations}
    return (
        record.accept is None
        and bool(kinds)
        and kinds <= {*WAIVABLE}
        and all(violation.value is not None for violation in record.violations)
    )


def waiver_advice(records: Iterable[ResultRecord]) -> str:
    """Return a waiver that would accept the first failed test; empty if none could."""
    tests: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        if record.role == "gated" and not record.control:
            tests.setdefault((record.spec, record.test), []).append(record)
    advice = [
        f"'accept: {text}' at test '{test}'"
        for (_, test), results in tests.items()
        if (text := _waiver(results))
    ]
    more = f" (likewise at {len(advice) - 1} more)" if len(advice) > 1 else ""
    return f"{advice[0]}{more}" if advice else ""


def _waiver(results: Sequence[ResultRecord]) -> str:
    """Return the waiver that covers all failures of a test; empty if none can."""
    failed = [result for result in results if result.outcome == "fail"]
    if not failed or not all(map(is_acceptable, failed)):
        return ""
    models = dict.fromkeys(result.model for result in failed)
    layers = dict.fromkeys(result.layer for result in failed)
    covered = [result for result in results if result.model in models and result.layer in layers]
    if any(result.outcome == "pass" for result in covered):
        return ""
    sizes: dict[str, float] = {}
    for violation in (violation for result in failed for violation in result.violations):
        size = rounded_up(abs(violation.value or 0.0))
        key = f"max_{violation.kind}"
        sizes[key] = max(size, sizes.get(key, 0.0))
    parts = [f"{key}: {size:g}" for key, size in sizes.items()]
    for key, names, all_names in (
        ("models", models, {result.model for result in results}),
        ("layers", layers, {result.layer for result in results}),
    ):
        if all_names - names.keys():
            parts.append(f"{key}: [{', '.join(map(quoted, names))}]")
    return f"{{{', '.join([*parts, 'reason: WHY', 'until: YYYY-MM-DD'])}}}"


def result_line(record: ResultRecord) -> str:
    """Return the outcome's reasons in one line."""
    return "; ".join(record.reasons) if record.reasons else record.outcome


def failure_text(record: ResultRecord) -> str:
    """Return the reasons, then the details a person needs to act on them."""
    lines = [*result_line(record).split("\n"), *(f"  {line}" for line in _details(record))]
    return "\n".join(map(visible, lines))


def remedies(records: Iterable[ResultRecord], *, shows_images: bool = False) -> Iterator[str]:
    """Yield what to do next, once for each kind of problem."""
    results = list(records)
    over = [result for result in results if result.outcome == "fail" and is_over_limit(result)]
    if over:
        yield _failure_remedy(over, results, shows_images=shows_images)
    if open_ones := [result for result in results if result.outcome == "inconclusive"]:
        yield (
            f"to do: what is inconclusive needs more {nouns(open_ones)}, or 'evidence: point' "
            "where the limit alone is to decide"
        )
    # For predictions the reason itself states what to check.
    if any(result.outcome == "invalid" and result.prediction is None for result in results):
        yield "to do: what is invalid says nothing; mend the positive control that failed first"


def is_over_limit(record: ResultRecord) -> bool:
    """Return whether a measured value exceeds a limit; controls have no limit."""
    return any(
        violation.value is not None and violation.kind != "min_effect"
        for violation in record.violations
    )


def _failure_remedy(
    failed: Sequence[ResultRecord], records: Sequence[ResultRecord], *, shows_images: bool
) -> str:
    """Return where influential images are shown, and what else to do."""
    alone = [failing_checkpoint_hint(record) for record in failed]
    place = "below" if shows_images else "with -vv"
    action = f"see {place} which images carry an effect"
    if all(alone):
        action = alone[0]
    elif note := next(filter(None, alone), ""):
        action = f"{action} (of a training run, {note})"
    accept = waiver_advice(records)
    waived = f", or accept an effect for a time with {accept}" if accept else ""
    return f"to do: {action}; finetune anew{waived}"


def weak_pass_note(records: Iterable[ResultRecord]) -> str | None:
    """Return how many passing tests could miss an effect at the limit; None if none."""
    passed = [record for record in records if record.outcome == "pass"]
    weak = [
        (record, detectable)
        for record in passed
        if (limit := judged_limit(record)) is not None
        and record.evidence == "significant"
        and record.role == "gated"
        and (detectable := record.detectable) is not None
        and detectable > limit
        and not _is_within(record, limit)
    ]
    if not weak:
        return None
    detectables = [detectable for _, detectable in weak]
    tests = "1 test that passes has" if len(weak) == 1 else f"{len(weak)} tests that pass have"
    ends = [f"{end:.2f}" for end in (min(detectables), max(detectables))]
    return (
        f"{tests} too few {nouns(record for record, _ in weak)} to find an effect at the limit "
        f"(smallest detectable effect {' to '.join(dict.fromkeys(ends))}): no evidence that there "
        "is none"
    )


def _is_within(record: ResultRecord, limit: float) -> bool:
    """Return whether the interval of the judged effect lies within a limit."""
    ends = (record.ci_low, record.ci_high)
    alternative = cast("Alternative", record.alternative)
    return all(end is not None and signed_magnitude(end, alternative) <= limit for end in ends)


def nouns(records: Iterable[ResultRecord]) -> str:
    """Return what the sets hold: images, words, or both."""
    sets = [stimuli for record in records for stimuli in record.sets.values()]
    kinds = {"words" if stimuli.templates else "images" for stimuli in sets}
    return " or ".join(sorted(kinds)) or "images"


def read_out_lines(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield where `pooled` is read if the library does not define it."""
    lines: dict[str, None] = {}
    for record in records:
        read_out = record.read_out
        if read_out is None or not read_out.side or record.module != POOLED:
            continue
        place = (
            "the network's output"
            if read_out.module == OUTPUT
            else f"{read_out.side} of {read_out.module}"
        )
        lines[f"{record.layer}: {place}, {read_out.length} numbers"] = None
    yield from lines


def waiver_text(accept: AcceptRecord) -> str:
    """Return the terms of a waiver in one line."""
    reason = visible(" ".join(accept.reason.split()))
    return f"accepted up to {describe_waived_sizes(accept)} until {accept.until}: {reason}"


def describe_waived_sizes(accept: AcceptRecord) -> str:
    """Return the accepted size of each limit that a waiver names."""
    sizes = {"effect": accept.max_effect, "gap": accept.max_gap, "growth": accept.max_growth}
    return ", ".join(f"{kind} {size:g}" for kind, size in sizes.items() if size is not None)


def _details(record: ResultRecord) -> Iterator[str]:
    yield f"{record.spec}:{record.line}: {record.test} [{record.layer}] of model '{record.model}'"
    if record.effect_size is None or record.effect_judged is None:
        return
    yield ", ".join(
        f"{role} = {stimuli.concept} ({stimuli.n})" for role, stimuli in record.sets.items()
    )
    step = shown_checkpoint(record)
    effect = _effect(record, format_effect(record.effect_size), format_effect(record.effect_judged))
    yield f"at {step}: {effect}" if step else effect
    if record.p_value is not None:
        yield _evidence(record)
    if record.growth is not None:
        yield _change(record.growth, "since", "growth")
    if record.excess is not None:
        seeds = seeds_text(record.excess)
        yield _change(record.excess, "beyond", "excess") + (f"; its {seeds}" if seeds else "")
    if (trials := trials_text(record)) is not None:
        yield trials
    if record.series is not None:
        yield f"{checkpoint_range(record.series)}: {series_text(record)}"
    if record.accept is not None:
        yield f"waiver: {waiver_text(record.accept)}"
    if record.limits:
        limits = ", ".join(f"{name} {value:g}" for name, value in record.limits.items())
        yield f"limits: {limits}{_detectable(record)}"


def _effect(record: ResultRecord, d: str, judged: str) -> str:
    """Return the effect with its interval and, if both sides count, the judged one."""
    interval = f"{1 - record.alpha:.0%} interval {_span(record.ci_low, record.ci_high)}"
    if record.gap is None:
        return f"mean similarity {judged} ({interval})"
    gap = f"gap {record.gap:+.4f}"
    if record.prediction is not None:
        return f"{describe_rates(record)}; {gap} ({interval})"
    if record.sides is None:
        return f"d = {judged} ({interval}), {gap}"
    other = record.effect_size_attributes
    sides = f"d = {d} from the targets"
    if other is not None:
        sides += f", {format_effect(other)} from the attributes"
    return f"{sides}; judged {judged} ({interval}), {gap}"


def _detectable(record: ResultRecord) -> str:
    """Return the smallest detectable effect; empty for kinds without a p-value."""
    if record.p_value is None:
        return ""
    noun = "effect" if is_standardised(record) else "gap"
    value = "none" if record.detectable is None else f"{record.detectable:.2f}"
    return f"; smallest detectable {noun}: {value}"


def _span(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{low:+.2f} to {high:+.2f}"


def permuted_labels(record: ResultRecord) -> str:
    """Return whose labels the first p-value permutes."""
    kind = KINDS.get(record.kind)
    return part_of(kind.compared[0][0]) if kind is not None and kind.compared else "labels"


def _evidence(record: ResultRecord) -> str:
    parts = [
        f"p = {format_p(record.p_value)} permuting {permuted_labels(record)} ({record.p_method})"
    ]
    if record.p_attributes is not None and record.sides == "both":
        parts.append(f"{format_p(record.p_attributes)} permuting attributes")
    if record.p_welch is not None:
        parts.append(f"{format_p(record.p_welch)} by Welch's t")
    if record.p_crossed is not None:
        parts.append(f"{format_p(record.p_crossed)} by crossed t")
    if record.p_adjusted is not None:
        count = record.family_size
        parts.append(f"adjusted {format_p(record.p_adjusted)} ({record.correction}, {count} p)")
    return ", ".join(parts)


def sign_text(change: GrowthRecord) -> str:
    """Return the sign change of an effect with both ends; empty without one."""
    return f"sign changed: {_ends(change)}" if change.flipped else ""


def sign_changes(records: Iterable[ResultRecord]) -> Iterator[str]:
    """Yield the sign changes of each model on one line."""
    lines: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.growth is not None and record.growth.flipped:
            where = f"{record.test} [{record.layer}]"
            lines.setdefault((record.spec, record.model), []).append(
                f"{where} {_ends(record.growth)}"
            )
    for (_, model), changes in lines.items():
        yield visible(f"'{model}': sign changed: {', '.join(changes)}")


def _ends(change: GrowthRecord) -> str:
    return f"{format_effect(change.before)} -> {format_effect(change.after)}"


def _change(change: GrowthRecord, relation: str, name: str) -> str:
    is_adjusted = change.p_adjusted is not None
    p = change.p_adjusted if is_adjusted else change.p_verdict
    p_text = "" if p is None else f", {'adjusted ' if is_adjusted else ''}p = {format_p(p)}"
    ends = (sign_text(change) if name == "growth" else "") or _ends(change)
    return (
        f"{relation} '{change.base}': {ends}, {name} {format_effect(change.value)} "
        f"({_span(change.ci_low, change.ci_high)}), shift "
        f"{format_effect(change.shift)}{p_text}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedMessage:
    """A message that several results share."""

    records: tuple[ResultRecord, ...]
    text: str

    @classmethod
    def single(cls, record: ResultRecord) -> SharedMessage:
        """Return the message of one result."""
        return cls(records=(record,), text=result_line(record))

    @property
    def where(self) -> str:
        """The test that the message is about, or the number of tests and their models."""
        first, *others = self.records
        if not others:
            return first.nodeid
        models = dict.fromkeys(f"'{record.model}'" for record in self.records)
        tests = f"{len(self.records)} tests of {', '.join(models)}"
        is_in_spec = first.fault is not None and first.fault.file == first.spec
        return tests if is_in_spec else f"{tests} in {first.spec}"


def group_by_message(records: Iterable[ResultRecord]) -> list[SharedMessage]:
    """Return each message once per spec, with its results, in order."""
    groups: dict[tuple[str, str], list[ResultRecord]] = {}
    for record in records:
        groups.setdefault((record.spec, result_line(record)), []).append(record)
    return [SharedMessage(records=tuple(group), text=text) for (_, text), group in groups.items()]
