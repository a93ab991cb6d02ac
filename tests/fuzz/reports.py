"""Reports as the schema allows them, whatever no run would write."""

from __future__ import annotations

import datetime as dt
import functools
import types
import typing
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pytest_visualbias.results import ModelRecord, Report, ResultRecord
from pytest_visualbias.spec.test_kinds import KINDS
from tests.fuzz.mutations import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["reports"]

FEW = ("a", "b", "c")
SMALL = st.floats(-2.5, 2.5)
LARGEST = 1.7976931348623157e308
ODD = st.sampled_from((0.0, -0.0, 5e-324, 1e-12, 1e16, 1e308, -1e308, LARGEST, -LARGEST))
NUMBERS = SMALL | SMALL | ODD
# Half a character can stand in no name of the schema.
NAMES = st.sampled_from([word for word in WORDS if word.isascii() or word.isprintable()])
TEXTS = st.sampled_from(FEW) | NAMES | st.text(max_size=5)
PLAIN = st.none() | st.booleans() | TEXTS | NUMBERS | st.integers(-3, 2**63)
ANYTHING = PLAIN | st.lists(PLAIN, max_size=1) | st.dictionaries(TEXTS, PLAIN, max_size=1)
# What has few values in any report: where they are equal there are curves, groups and plots.
SAID: dict[str, st.SearchStrategy[Any]] = {
    "kind": st.sampled_from([*KINDS, "later"]),
    "alternative": st.sampled_from(("two-sided", "greater", "less", "later")),
    "sides": st.sampled_from((None, "both", "targets")),
    "control": st.sampled_from((None, None, "positive", "idle")),
    **dict.fromkeys(("spec", "model", "layer", "from"), st.sampled_from(FEW) | NAMES),
    "limits": st.dictionaries(
        st.sampled_from(("max_effect", "max_gap", "max_growth", "min_effect")) | TEXTS,
        NUMBERS,
        max_size=2,
    ),
}
LEAVES: dict[object, st.SearchStrategy[Any]] = {
    str: TEXTS,
    float: NUMBERS,
    int: st.integers(-2, 30) | st.sampled_from((2**63, 10**400)),
    bool: st.booleans(),
    Any: ANYTHING,
    type(None): st.none(),
    dt.date: st.sampled_from(("0001-01-01", "2099-01-01", "9999-12-31")),
}


def of(hint: Any) -> st.SearchStrategy[Any]:  # noqa: ANN401 - a type of any field
    """Return plain values of a type, as JSON has them."""
    if hint in LEAVES:
        return LEAVES[hint]
    inner = typing.get_args(hint)
    made: dict[object, Callable[[], st.SearchStrategy[Any]]] = {
        None: lambda: model(hint),
        typing.Annotated: lambda: of(inner[0]),
        typing.Literal: lambda: st.sampled_from(inner),
        typing.Union: lambda: st.one_of(*map(of, inner)),
        types.UnionType: lambda: st.one_of(*map(of, inner)),
        list: lambda: st.lists(of(inner[0]), min_size=1, max_size=2),
        dict: lambda: st.dictionaries(of(inner[0]), of(inner[1]), max_size=1),
    }
    return made[typing.get_origin(hint)]()


@functools.cache
def model(kind: Any) -> st.SearchStrategy[dict[str, Any]]:  # noqa: ANN401 - see `of`
    """Return plain data of a model or dataclass; of a report, all but its two lists."""
    parts: dict[str, st.SearchStrategy[Any]] = {}
    fields = getattr(kind, "model_fields", None) or kind.__dataclass_fields__
    for field, info in fields.items():
        name = getattr(info, "alias", None) or field
        if kind is Report and field in ("models", "results"):
            continue
        hint = typing.get_type_hints(kind, include_extras=True)[field]
        is_open = typing.get_origin(hint) is not typing.Literal
        parts[name] = SAID[name] if name in SAID and is_open else of(hint)
    return st.fixed_dictionaries(parts)


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the plain data of a report; its results say of each image what no report may lack."""
    report = draw(model(Report))
    results = report["results"] = [draw(model(ResultRecord))]
    # Of fewer than five tests there is no transfer, and of fewer than three no count.
    for n in range(5):
        own = {"test": f"t{n}", "effect_judged": draw(NUMBERS), "layer": f"l{n % 2}"}
        results.append({**results[0], **own})
    for row in results:
        # By what is none the numbers of biases cannot be counted: such a report is refused.
        row |= {name: draw(st.none() | st.floats(0, 1)) for name in ("p_value", "p_verdict")}
        for one in row["sets"].values():
            one["names"] = one["images"]
        row["scores"] = {
            role: {name: draw(NUMBERS) for name in one["images"]}
            for role, one in row["sets"].items()
        }
    pairs = dict.fromkeys((row["spec"], row["model"]) for row in results)
    first = draw(model(ModelRecord))
    report["models"] = [{**first, "spec": spec, "model": name} for spec, name in pairs]
    return report
