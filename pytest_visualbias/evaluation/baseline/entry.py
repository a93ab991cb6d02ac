"""One recorded result: what it was measured on, and the score of every image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from pytest_visualbias.results import BasisRecord
from pytest_visualbias.spec.hashing import digest_of_list
from pytest_visualbias.spec.model_entries import OWN_PRECISION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Scores that differ by less are the same: machines round differently (`statistics.change`).
TOLERANCE = 1e-6
UNUSABLE = ("error", "invalid")

# Besides single keys of the preprocessing.
DECLARABLE = ("pooling", "precision")
ANSWERS = ("name", "rate_x", "rate_y", "is_blind")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Stimuli(_Strict):
    """The images of one role, independent of their order."""

    digest: str
    n: int

    @classmethod
    def of(cls, identities: Iterable[str]) -> Stimuli:
        """Return the digest and the number of the images with these identities."""
        ordered = sorted(identities)
        return cls(digest=digest_of_list(ordered), n=len(ordered))


class RecordedReadOut(_Strict):
    """Where embeddings were read: a module, its input or output, and the length of a vector."""

    module: str
    side: str
    length: int


class BaselineEntry(_Strict):
    """The result of one test of one model at one layer."""

    kind: str
    module: str
    pooling: str
    preprocessing: dict[str, Any]
    precision: str
    stimuli: dict[str, Stimuli]
    fingerprints: list[str]
    effect_size: float
    effect_size_attributes: float | None
    effect_judged: float
    gap: float | None
    scores: dict[str, dict[str, float]]
    prediction: dict[str, Any] | None = None
    read_out: RecordedReadOut | None = None
    basis: BasisRecord | None = None

    def written(self) -> dict[str, Any]:
        """Return the entry as plain data, without optional fields that are empty."""
        optional = {name for name in ("prediction", "basis") if getattr(self, name) is None}
        return self.model_dump(exclude=optional)

    def lacks_basis(self, live: BaselineEntry) -> bool:
        """Return whether the entry lacks the basis of growth, as entries of older versions do."""
        if self.basis is not None:
            return False
        needs_effects = live.basis is not None and bool(live.basis.without)
        return needs_effects or (self.prediction is not None and len(self.fingerprints) > 1)

    def has_basis_like(self, live: BaselineEntry) -> bool:
        """Return whether the recorded basis has all parts that growth needs."""
        if self.basis is None or live.basis is None or not live.basis.without:
            return True
        sides = len(next(iter(live.basis.trials)))
        return (
            len(self.basis.within) == len(live.basis.within)
            and min(self.basis.within, default=1.0) > 0
            and bool(self.basis.trials)
            and all(len(trial) == sides for trial in self.basis.trials)
            and self.basis.without.keys() == live.basis.without.keys()
            and all(
                len(effects.get(identity, ())) == sides
                for role, effects in self.basis.without.items()
                for identity in live.basis.without[role]
            )
        )


Entries = Mapping[str, BaselineEntry]


def entry_key(model: str, test: str, layer: str) -> str:
    """Return the key of an entry."""
    return f"{model}::{test}[{layer}]"


def plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as it would be read back from JSON, so that it compares equal."""
    restored: dict[str, Any] = json.loads(json.dumps(dict(mapping)))
    return restored


def is_recordable(result: Mapping[str, Any]) -> bool:
    """Return whether a result, as plain data, can be compared with later results."""
    # Of a classifier that does not know the class, a gap may fail and yet say nothing of growth.
    is_blind = bool((result.get("prediction") or {}).get("is_blind"))
    return result["outcome"] not in UNUSABLE and bool(result["scores"]) and not is_blind


def entry_of(result: Mapping[str, Any], model: Mapping[str, Any]) -> BaselineEntry:
    """Return the entry of a result from its record and that of its model, as plain data."""
    stimuli = {role: Stimuli.of(record["images"]) for role, record in result["sets"].items()}
    numbers = ("effect_size", "effect_size_attributes", "effect_judged", "gap")
    return BaselineEntry(
        kind=result["kind"],
        module=result["module"],
        pooling=result["pooling"],
        preprocessing=plain(model["preprocessing"]),
        precision=model["precision"],
        stimuli=stimuli,
        fingerprints=[trial["fingerprint"] for trial in model["trials"]],
        scores=result["scores"],
        basis=result.get("basis"),
        prediction=_asked(result.get("prediction")),
        read_out=result.get("read_out"),
        **{name: result[name] for name in numbers},
    )


def _asked(prediction: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the question to a classifier without its answers."""
    if prediction is None:
        return None
    return {key: value for key, value in prediction.items() if key not in ANSWERS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Unlike:
    """One difference of a result from its record."""

    name: str = ""
    text: str


def difference(
    old: BaselineEntry, new: BaselineEntry, declared: Iterable[str] = ()
) -> list[Unlike]:
    """Return the undeclared differences that make growth between two results invalid."""
    meant = frozenset(declared)
    return [
        unlike for unlike in _differences(old, new) if not unlike.name or unlike.name not in meant
    ]


def _differences(old: BaselineEntry, new: BaselineEntry) -> Iterator[Unlike]:
    if old.kind != new.kind:
        # Of another kind everything else is other, too.
        yield Unlike(text=f"kind ({old.kind} then, {new.kind} now)")
        return
    for role, stimuli in new.stimuli.items():
        before = old.stimuli.get(role)
        if before != stimuli:
            count = _counted(before.n if before else 0, stimuli.n)
            yield Unlike(text=f"stimuli of {role} ({count})")
    if old.prediction != new.prediction:
        yield Unlike(text=f"prediction ({_apart(old.prediction or {}, new.prediction or {})})")
    if old.module == new.module:  # else told below
        yield from _read_outs(old.read_out, new.read_out)
    # Of a program nobody knows it, and records of older runs say fp32.
    is_unknown = OWN_PRECISION in (old.precision, new.precision)
    for name in ("module", "pooling", *(() if is_unknown else ("precision",))):
        then, now = getattr(old, name), getattr(new, name)
        if then != now:
            text = f"{name} ({then} then, {now} now)"
            yield Unlike(name=name if name in DECLARABLE else "", text=text)
    for key in sorted(old.preprocessing.keys() | new.preprocessing.keys()):
        was, now = old.preprocessing.get(key), new.preprocessing.get(key)
        if was != now:
            text = f"preprocessing ({key}: {was} then, {now} now)"
            yield Unlike(name=f"preprocessing.{key}", text=text)


def _read_outs(old: RecordedReadOut | None, new: RecordedReadOut | None) -> Iterator[Unlike]:
    if old is None or new is None:
        if old is not new:
            yield Unlike(text="read-out (not recorded by older versions)")
        return
    if (old.module, old.side) != (new.module, new.side):
        then, now = (f"{at.side or 'features'} of '{at.module}'" for at in (old, new))
        yield Unlike(name="read_out", text=f"read-out ({then} then, {now} now)")
    if old.length != new.length:
        text = f"length of vectors ({old.length} then, {new.length} now)"
        yield Unlike(name="dimension", text=text)


def _apart(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return "; ".join(f"{key}: {old.get(key)} then, {new.get(key)} now" for key in keys)


def _counted(old: int, new: int) -> str:
    return f"{new} images, not the same ones" if old == new else f"{old} images then, {new} now"


def is_changed(old: BaselineEntry, new: BaselineEntry) -> bool:
    """Return whether a result differs from its record by more than rounding."""
    if difference(old, new) or old.scores.keys() != new.scores.keys() or old.lacks_basis(new):
        return True
    if _differ(old.gap, new.gap):
        return True
    return any(
        _differ(old.scores[role].get(identity), score)
        for role, scores in new.scores.items()
        for identity, score in scores.items()
    )


def _differ(old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return old is not new
    return abs(new - old) > TOLERANCE
