"""List all details of one result as names and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.reports.formatting import describe_rates
from pytest_visualbias.reports.html.wording import optional_effect, span
from pytest_visualbias.reports.sentences import permuted_labels, sign_text, waiver_text
from pytest_visualbias.reports.series_notes import (
    checkpoint_range,
    judged_checkpoints,
    seeds_text,
    series_text,
)
from pytest_visualbias.results import ExcessRecord, format_effect, format_p

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.results import GrowthRecord, ResultRecord, SetRecord

LISTED = 30  # texts of a set that the page shows


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """A name and its value."""

    name: str
    value: str
    term: str = ""
    is_theirs: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Facts that belong together."""

    title: str
    facts: tuple[Fact, ...]


def details(record: ResultRecord) -> list[Group]:
    """Return the details of a result in groups, without empty groups."""
    growth, excess = record.growth, record.excess
    groups = [
        ("Effect", _effect(record) if record.effect_judged is not None else ()),
        ("Evidence", _evidence(record)),
        (f"Growth since {growth.base}" if growth else "", _change(record, growth, "growth")),
        (f"Excess over {excess.base}" if excess else "", _change(record, excess, "excess")),
        ("Judged by", _rules(record)),
        ("Trials", _trials(record)),
        ("Training run", _series(record)),
        ("Where", _place(record)),
    ]
    filled = [Group(title=title, facts=tuple(facts)) for title, facts in groups]
    return [group for group in filled if group.facts]


def _effect(record: ResultRecord) -> Iterator[Fact]:
    if record.series is not None:
        step = judged_checkpoints([record])
        yield Fact(name="numbers of", value=step, term="series", is_theirs=True)
    judged = optional_effect(record.effect_judged)
    yield Fact(name="judged", value=judged, term="effect")
    level, ends = f"{1 - record.alpha:.0%}", span(record.ci_low, record.ci_high)
    yield Fact(name=f"{level} interval", value=ends, term="interval")
    if record.sides is not None:
        effects = map(optional_effect, (record.effect_size, record.effect_size_attributes))
        yield Fact(name="targets, attributes", value=", ".join(effects), term="sides")
    if record.prediction is not None:
        yield Fact(name="rates", value=describe_rates(record), term="rates")
    if record.gap is not None:
        yield Fact(name="gap", value=f"{record.gap:+.4f}{_parts(record)}", term="gap")
    if record.gap_ci_low is not None and record.gap_ci_high is not None:
        ends = f"{record.gap_ci_low:+.4f} to {record.gap_ci_high:+.4f}"
        yield Fact(name=f"{level} interval of the gap", value=ends, term="interval")
    if record.p_value is not None:
        detectable = "none" if record.detectable is None else f"{record.detectable:.2f}"
        yield Fact(name="smallest detectable effect", value=detectable, term="detectable")


def _parts(record: ResultRecord) -> str:
    """Return which of the two sets drives the gap."""
    if record.x_ab is None or record.y_ab is None:
        return ""
    return f" = {record.x_ab:+.4f} of X less {record.y_ab:+.4f} of Y"


def _evidence(record: ResultRecord) -> Iterator[Fact]:
    if record.p_value is None:
        return
    yield Fact(
        name=f"p, {permuted_labels(record)}", value=_told(record.p_value, record.p_method), term="p"
    )
    if record.p_attributes is not None:
        yield Fact(name="p, attributes", value=format_p(record.p_attributes), term="p")
    if record.p_welch is not None:
        yield Fact(name="p, Welch's t", value=format_p(record.p_welch), term="p")
    if record.p_crossed is not None:
        yield Fact(name="p, crossed t", value=format_p(record.p_crossed), term="p")
    yield Fact(name="p, verdict", value=_told(record.p_verdict, record.p_verdict_method), term="p")
    low, high = record.p_verdict_low, record.p_verdict_high
    if record.p_verdict_method == "bounded" and low is not None and high is not None:
        yield Fact(name="proven bracket", value=f"{low:.3g} to {high:.3g}", term="bracket")
    if record.p_saddlepoint is not None:
        yield Fact(name="p, saddle point", value=format_p(record.p_saddlepoint), term="p")
    if record.p_adjusted is not None:
        count = record.family_size
        value = f"{format_p(record.p_adjusted)} ({record.correction}, {count} p)"
        yield Fact(name="p adjusted", value=value, term="adjusted")


def _told(p: float | None, method: str | None) -> str:
    return f"{format_p(p)} ({method})" if method else format_p(p)


def _change(record: ResultRecord, change: GrowthRecord | None, name: str) -> Iterator[Fact]:
    if change is None:
        return
    ends = sign_text(change) or f"{format_effect(change.before)} → {format_effect(change.after)}"
    yield Fact(name="effect", value=ends, term="effect")
    growth = f"{format_effect(change.value)} ({span(change.ci_low, change.ci_high)})"
    yield Fact(name=name, value=growth, term=name)
    shift = f"{format_effect(change.shift)} ({span(change.shift_ci_low, change.shift_ci_high)})"
    yield Fact(name="shift", value=shift, term="shift")
    if isinstance(change, ExcessRecord) and (seeds := seeds_text(change)):
        yield Fact(name="untrained", value=seeds, term="excess")
    if change.p_value is None:
        return
    by_method = {
        permuted_labels(record): change.p_value,
        "attributes": change.p_attributes,
        "Welch's t": change.p_welch,
        "crossed t": change.p_crossed,
    }
    p_values = ", ".join(f"{format_p(p)} {name}" for name, p in by_method.items() if p is not None)
    yield Fact(name="p", value=p_values, term="p")
    yield Fact(name="p, verdict", value=_told(change.p_verdict, change.p_method), term="p")
    if change.p_adjusted is not None:
        yield Fact(name="p adjusted", value=format_p(change.p_adjusted), term="adjusted")


def _rules(record: ResultRecord) -> Iterator[Fact]:
    limits = ", ".join(f"{name} {value:g}" for name, value in record.limits.items())
    yield Fact(name="limits", value=limits or "none", term="limits")
    if record.accept is not None:
        yield Fact(name="waiver", value=waiver_text(record.accept), is_theirs=True)
    control = "" if record.control is None else f", {record.control} control"
    yield Fact(name="evidence", value=f"{record.evidence}, alpha {record.alpha:g}")
    sides = "" if record.sides is None else f", sides {record.sides}"
    yield Fact(name="asked", value=f"{record.alternative}{sides}, {record.correction}{control}")
    yield Fact(name="model is", value=record.role)


def _trials(record: ResultRecord) -> Iterator[Fact]:
    if record.trials is None:
        return
    labels = record.trials.get("labels", [])
    values = record.trials.get("effect_judged", [])
    effects = [effect for effect in values if isinstance(effect, float)]
    if not effects:
        return
    value = f"{len(effects)}, {format_effect(min(effects))} to {format_effect(max(effects))}"
    yield Fact(name="effects", value=value, term="trials")
    worst = max(range(len(effects)), key=lambda index: abs(effects[index]))
    name = labels[worst] if worst < len(labels) else worst
    largest = f"{format_effect(effects[worst])}: {name}"
    yield Fact(name="largest", value=largest, term="trials", is_theirs=True)


def _series(record: ResultRecord) -> Iterator[Fact]:
    if record.series is None:
        return
    yield Fact(
        name="checkpoints", value=checkpoint_range(record.series), term="series", is_theirs=True
    )
    judged = "the last one" if record.series.gate == "last" else "all, corrected together"
    yield Fact(name="judged", value=judged, term="series")
    yield Fact(name="limits", value=series_text(record), term="series", is_theirs=True)


def _place(record: ResultRecord) -> Iterator[Fact]:
    yield Fact(name="spec", value=f"{record.spec}:{record.line}", is_theirs=True)
    location = (
        f"{record.module or record.layer} ({record.pooling})" if record.pooling else record.layer
    )
    if record.read_out is not None and record.read_out.side == "input":
        location += f", the input of {record.read_out.module}"
    if record.read_out is not None and record.read_out.length:
        location += f", {record.read_out.length} numbers"
    yield Fact(name="read from", value=f"{location}, {record.kind}", is_theirs=True)
    for role, stimuli in record.sets.items():
        if stimuli.templates:
            yield Fact(name=f"words of {role}", value=words_text(stimuli), is_theirs=True)
    if record.tags:
        yield Fact(name="tags", value=", ".join(record.tags), is_theirs=True)
    if record.labels:
        labels = ", ".join(f"{key} {value}" for key, value in record.labels.items())
        yield Fact(name="labels", value=labels, is_theirs=True)


def words_text(words: SetRecord) -> str:
    """Return the texts of a set, and the templates that they stand in."""
    text = _listed(words.names)
    return text if words.templates == ["{}"] else f"{text}; in {_listed(words.templates)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(f"'{name}'" for name in names[:LISTED]) + more
