"""Read and write baseline files: strictly, and whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_visualbias.errors import BaselineError, StorageError, UsageError
from pytest_visualbias.results import READ_VERSIONS, BasisRecord
from pytest_visualbias.spec.error_messages import describe_error
from pytest_visualbias.spec.hashing import digest_of_list
from pytest_visualbias.spec.model_entries import OWN_PRECISION
from pytest_visualbias.spec.urls import Url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_visualbias.stimuli.mirror import Mirror


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


FOLDER = "__visualbias__"
VERSION = 2

# Entries of version 1 lack the read-out and what growth is tested with; record them again.
KNOWN_VERSIONS = (1, VERSION)
MARK = "visualbias_baseline"
REPORT_MARK = "schema_version"
SUFFIXES = (".bias.yaml", ".bias.yml")

# A list of numbers over several lines; no line ends within a string of JSON.
NUMBER_LIST = re.compile(r"\[\n([^][{}\"]*)\n *\]")
RECORD_ANEW = "restore it, or delete it and record it anew"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contents:
    """The contents of a file: the entries of one spec, or the results of all specs of a run."""

    is_report: bool
    specs: Mapping[str, Entries]

    def of(self, spec: str) -> Entries:
        """Return the entries of a spec."""
        return self.specs.get(spec if self.is_report else "", {})


def spec_name(spec: Path) -> str:
    """Return the name of a spec file without its suffix."""
    suffix = next(filter(spec.name.endswith, SUFFIXES), spec.suffix)
    return spec.name.removesuffix(suffix)


def default_path(spec: Path) -> Path:
    """Return the default path of the baseline of a spec."""
    return spec.parent / FOLDER / f"{spec_name(spec)}.json"


def is_report(path: Path) -> bool:
    """Return whether a file is the JSON report of a run."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        stored = json.loads(path.read_bytes())
        return isinstance(stored, dict) and REPORT_MARK in stored
    return False


def read_baseline(path: Path, shown: str) -> Contents:
    """Read a baseline file, or the JSON report of a run."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise BaselineError(f"{shown} cannot be read ({reason})", "correct the path") from None
    except UnicodeDecodeError:
        raise BaselineError(f"{shown} is not UTF-8", RECORD_ANEW) from None
    try:
        return _contents(load_strict(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {describe_error(first)}"
    except (AttributeError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
    except ValueError as error:
        what = str(error)
    raise BaselineError(f"{shown} is no baseline that can be used ({what})", RECORD_ANEW)


def _contents(stored: Any) -> Contents:  # noqa: ANN401 - what a file holds can be anything
    if not isinstance(stored, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - about a file
    if REPORT_MARK in stored:
        return Contents(is_report=True, specs=_of_report(stored))
    version = stored.get(MARK)
    if version not in KNOWN_VERSIONS:
        raise ValueError(f"'{MARK}' is {version}, not {VERSION}")
    if extra := stored.keys() - {MARK, "entries"}:
        raise ValueError(f"unknown key '{min(extra)}'")
    entries = {key: BaselineEntry.model_validate(entry) for key, entry in stored["entries"].items()}
    return Contents(is_report=False, specs={"": entries})


def _of_report(stored: Mapping[str, Any]) -> dict[str, dict[str, BaselineEntry]]:
    if stored[REPORT_MARK] not in READ_VERSIONS:
        known = " or ".join(map(str, READ_VERSIONS))
        raise ValueError(f"'{REPORT_MARK}' is {stored[REPORT_MARK]}, not {known}")
    models = {(row["spec"], row["model"]): row for row in stored["models"]}
    specs: dict[str, dict[str, BaselineEntry]] = {}
    for row in stored["results"]:
        if is_recordable(row):
            key = entry_key(row["model"], row["test"], row["layer"])
            entry = entry_of(row, models[row["spec"], row["model"]])
            specs.setdefault(row["spec"], {})[key] = entry
    return specs


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a baseline file, so that reading and writing are one step."""
    name = f"visualbias-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]}.lock"
    try:
        lock = FileLock(Path(tempfile.gettempdir()) / name)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise BaselineError(
            f"the lock {name} among the temporary files cannot be taken ({what}), so nothing was "
            "recorded",
            "remove that file, or set TMPDIR to another folder",
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_baseline(path: Path, entries: Entries) -> None:
    """Write entries sorted, so that versions differ only in lines of changed entries."""
    stored = {MARK: VERSION, "entries": {key: entry.written() for key, entry in entries.items()}}
    text = json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    lines = NUMBER_LIST.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", text)
    write_whole(path, f"{lines}\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text as UTF-8, making its folder; line breaks stay as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        # A pipe or /dev/stdout is written to; to rename onto it would put a file in its place.
        path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        return
    # A link goes on pointing to where it does.
    goal = path.resolve()
    # Not by tempfile, whose files nobody else may read: this one is shared.
    temporary = goal.with_name(f".{goal.name[:100]}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        temporary.replace(goal)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def load_strict(text: str) -> Any:  # noqa: ANN401 - what a file holds can be anything
    """Parse JSON strictly: no duplicate keys, no NaN."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse duplicate keys, which a bad merge leaves and of which the last would win."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' stands twice")
    return unique


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


def named_baseline(named: Path | Url, option: str, mirror: Mirror) -> Path:
    """Return the path that an option names, or a local copy of a URL."""
    if isinstance(named, Url):
        try:
            return mirror.file(named)
        except StorageError as error:
            raise UsageError(error.problem, error.remedy, place=option) from None
    if not named.exists():
        raise UsageError(
            f"{named} does not exist",
            "correct the path, or record it with --visualbias-update",
            place=option,
        )
    return named
