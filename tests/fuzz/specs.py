"""Specs that keep the rules: each kind of test, suites, chains of models, waivers, controls."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["KEYS", "SUITE", "valid_specs", "valid_suites"]

SETS = ("m", "f", "c", "g")
SUITE = "own.suite.yaml"
ENDS = ("after", "other")

KEYS = (
    *("visualbias", "title", "models", "layers", "stimuli", "suite", "concepts", "name"),
    *("known_duplicates", "settings", "tests", "kind", "targets", "attributes", "X", "Y", "A", "B"),
    *("limits", "max_effect", "max_gap", "max_growth", "max_shift", "max_excess", "min_effect"),
    *("accept", "reason", "until", "control", "scope", "alternative", "evidence", "sides"),
    *("growth_from", "excess_over", "tags", "about", "source", "checkpoint", "pretrained", "call"),
    *("random_init", "transform", "size", "crop", "mean", "std", "path", "pattern", "files"),
    *("prefix", "container", "before", "after", "labels", "module", "pooling", "alpha", "extends"),
    *(
        "timm",
        "factory",
        "embeddings",
        "in-memory",
        "ieat",
        "sc-eat",
        "similarity-gap",
        "gated_layers",
    ),
    *(
        "outcome-gap",
        "prediction",
        "class",
        "rate",
        "label",
        "threshold",
        "activation",
        "fpr",
        "tpr",
    ),
    *("intra-similarity", "positive", "interval", "point", "less", "untrained", *SETS),
)

limit = st.sampled_from((0, 0.1, 0.5, 1, 1.5))
FACTORY = {"source": "factory", "call": "nets:make", "transform": {"size": [8, 8], "crop": 0.9}}
TIMM = {"source": "timm", "name": "test_resnet"}


@st.composite
def _models(draw: st.DrawFn) -> dict[str, Any]:
    ends = (
        {**TIMM, "checkpoint": "after.safetensors", "layers": {"mid": "layer2:max"}},
        {**FACTORY, "checkpoint": ["a.pt", "runs/*.pt"], "ignore": ["fc."]},
        {"source": "embeddings", "path": "vectors.npz", "prefix": "{layer}/"},
        {**TIMM, "preprocess": "ieat", "arguments": {"num_classes": 3}, "labels": {"run": "a"}},
    )
    return {
        "before": dict(TIMM),
        **{name: dict(draw(st.sampled_from(ends))) for name in ENDS},
        "untrained": {**TIMM, "random_init": 2},
    }


@st.composite
def _tests(draw: st.DrawFn, index: int) -> dict[str, Any]:
    kind = draw(st.sampled_from(("ieat", "sc-eat", "similarity-gap", "intra-similarity")))
    roles = draw(st.permutations(SETS))
    test: dict[str, Any] = {"name": f"t{index}", "kind": kind, "targets": {"X": roles[0]}}
    if kind in ("ieat", "similarity-gap"):
        test["targets"]["Y"] = roles[1]
    if kind != "intra-similarity":
        test["attributes"] = {"A": roles[2]}
    if kind in ("ieat", "sc-eat"):
        test["attributes"]["B"] = roles[3]
    part = draw(st.sampled_from(("limits", "limits", "waiver", "positive", "nothing")))
    if kind == "intra-similarity":
        test["evidence"] = draw(st.sampled_from(("interval", "point")))
        part = "limits" if part == "positive" else part
    if part == "positive":
        test |= {"control": "positive", "limits": {"min_effect": draw(limit)}, "scope": "model"}
    elif part == "waiver":
        until = draw(st.dates()).isoformat()
        test["limits"] = {"max_effect": 0.5, "max_shift": draw(limit)}
        test["accept"] = {"max_effect": 1.2, "reason": "known", "until": until, "models": ["after"]}
    elif part == "limits":
        known = ("max_effect", "max_growth", "max_shift", "max_excess")
        test["limits"] = draw(st.dictionaries(st.sampled_from(known), limit, max_size=3))
    if draw(st.booleans()):
        test["tags"] = ["one", "two"]
    return test


@st.composite
def valid_specs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the plain data of a spec without faults."""
    spec: dict[str, Any] = {"visualbias": 1, "models": draw(_models())}
    if draw(st.booleans()):
        for base, end in zip(("before", *ENDS), ENDS, strict=False):
            spec["models"][end] |= {"growth_from": base, "labels": {"run": end}}
    spec["layers"] = draw(
        st.sampled_from(
            (["mid"], ["mid", "layer{1..3}:max"], [{"name": "mid", "module": "layer3"}])
        )
    )
    spec["concepts"] = {
        "m": "m",
        "f": {"path": "f", "files": ["0.png", "1.png"]},
        "c": {"path": "c", "pattern": "*.png"},
        "g": {"path": "g"},
    }
    spec["settings"] = {
        "alpha": draw(st.sampled_from((0.05, 0.5))),
        "alternative": draw(st.sampled_from(("two-sided", "greater", "less"))),
        "correction": draw(st.sampled_from(("holm", "bh", "none"))),
    }
    if draw(st.booleans()):
        spec["settings"]["gated_layers"] = ["mid"]
    tests = [draw(_tests(index)) for index in range(draw(st.integers(1, 4)))]
    if draw(st.booleans()):
        tests.append({**_ieat("idle"), "control": "idle"})
    if draw(st.booleans()):
        tests.append(draw(_predicting()))
    if draw(st.booleans()):
        tags = draw(st.sampled_from(({"tags": ["gender"]}, {"tests": ["s1"]}, {})))
        spec["suite"] = {"name": SUITE, **tags, "limits": {"max_effect": draw(limit)}}
        tests.append({"name": "s1", "limits": {"max_growth": draw(limit)}})
    return {**spec, "tests": tests}


@st.composite
def _predicting(draw: st.DrawFn) -> dict[str, Any]:
    asked = (
        {"class": 0, "rate": "share"},
        {"class": 1, "rate": "share", "threshold": 0.3, "activation": "sigmoid"},
        {"class": 2, "rate": "score", "label": ["m"]},
    )
    known = st.sampled_from(("max_gap", "max_growth", "max_shift", "max_excess"))
    size = st.sampled_from((0, 0.1, 0.5))
    return {
        "name": "said",
        "kind": "outcome-gap",
        "targets": {"X": "m", "Y": "f"},
        "prediction": draw(st.sampled_from(asked)),
        "limits": draw(st.dictionaries(known, size, max_size=3)),
    }


def _ieat(name: str) -> dict[str, Any]:
    sides = {"targets": {"X": "m", "Y": "f"}, "attributes": {"A": "c", "B": "g"}}
    return {"name": name, "kind": "ieat", **sides}


@st.composite
def valid_suites(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the plain data of a suite without faults, from which `valid_specs` can draw."""
    suite: dict[str, Any] = {"visualbias_suite": 1, "title": "Own"}
    if draw(st.booleans()):
        suite |= {"tags": {"gender": "women and men"}, "layers": ["mid"]}
    suite["concepts"] = {"old": "old", "young": {"path": "young", "pattern": "*"}}
    one = {**_ieat("s1"), "targets": {"X": "old", "Y": "young"}, "tags": ["gender"]}
    one["attributes"] = {"A": "young", "B": "old"}
    suite["tests"] = [one, {**one, "name": "s2", "control": "positive"}]
    return {**suite, "known_duplicates": ["a.png"]}
