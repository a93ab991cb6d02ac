"""Reports to draw: small ones, large ones, and ones whose names mean harm."""

from __future__ import annotations

import hashlib
import io
import random
from typing import TYPE_CHECKING, Any

from PIL import Image

from pytest_visualbias.results import ModelRecord, Report, ResultRecord
from tests.reports.conftest import DECLARED, GROWTH, MEASURED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

HOSTILE = (
    "</script><script>window.harmed=1</script>",
    '"><img src=x onerror=window.harmed=1>',
    "' onmouseover='window.harmed=1",
    "</style><style>*{display:none}",
    "</title></svg><b>bold</b>",
    "<!--",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp;",
    "photo\u202egnp.exe",
    "\u2069\u202eout of its isolation",
    "line\nbreak\ttab\x00\x1b[31m\x85",
    "مرحبا بالعالم",
    "x" * 300,
)


def record(test: str = "gender-career", **keys: Any) -> ResultRecord:  # noqa: ANN401 - plain data
    """Return a result of the model ``after``, as `keys` have it."""
    plain: dict[str, object] = {
        **DECLARED,
        **MEASURED,
        "test": test,
        "model": "after",
        "layer": "pooled",
        "role": "gated",
        "outcome": "fail",
        "growth": GROWTH,
        **keys,
    }
    nodeid = f"{plain['spec']}::{plain['model']}::{test}[{plain['layer']}]"
    return ResultRecord.model_validate({"nodeid": nodeid, **plain})


def report(results: Iterable[ResultRecord] = (), **keys: Any) -> Report:  # noqa: ANN401 - plain
    """Return a report of results."""
    model = ModelRecord(
        spec="bias_specs/x.bias.yaml",
        model="after",
        source="timm",
        role="gated",
        trials=[{"label": "after.safetensors", "fingerprint": "1" * 64, "checkpoint": "2" * 64}],
        preprocessing={"input_size": [3, 64, 64], "mean": [0.5, 0.5, 0.5]},
        precision="fp32",
        description={"parameters": 372688, "left_out": []},
    )
    whole: dict[str, Any] = {
        "tool": {"name": "pytest-visualbias", "version": "0"},
        "environment": {
            "python": "3.12.1",
            "packages": {"numpy": "2.0"},
            "git": {"commit": "abc", "dirty": False},
        },
        "models": [model],
        "results": list(results),
        "summary": {"deselected": 0, "collection_errors": [], "exit_status": 1},
    }
    return Report(**{**whole, **keys})


def stimuli(role: str, names: Sequence[str], digests: Sequence[str], folder: str) -> dict[str, Any]:
    """Return the set of a role, as plain data."""
    digest = hashlib.sha256(role.encode()).hexdigest()
    return {
        "concept": f"concept {role}",
        "n": len(names),
        "digest": digest,
        "images": list(digests),
        "names": list(names),
        "folder": folder,
    }


def drawn(folder: Path, count: int, *, side: int = 120) -> dict[str, str]:
    """Draw pictures of noise, which compress worst, and return their digests by name."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for index in range(count):
        noise = random.Random(index).randbytes(3 * (side // 4) ** 2)
        image = Image.frombytes("RGB", (side // 4, side // 4), noise).resize((side, side))
        stream = io.BytesIO()
        image.save(stream, "png")
        (folder / f"{index:03}.png").write_bytes(stream.getvalue())
        found[f"{index:03}.png"] = hashlib.sha256(stream.getvalue()).hexdigest()
    return found


def large(images: dict[str, str], *, tests: int = 39, layers: int = 6) -> Report:
    """Return a report of so many tests of two models at so many layers, each with 80 images."""
    source = random.Random(5)
    names = list(images)
    results = []
    for model, role in (("before", "reference"), ("after", "gated")):
        for number in range(tests):
            chosen = {r: source.sample(names, 20) for r in "XYAB"}
            sets = {
                r: stimuli(r, some, [images[name] for name in some], "stimuli")
                for r, some in chosen.items()
            }
            results += [
                _measured(source, f"Intersectional-Test-{number}", model, role, layer, sets)
                for layer in range(layers)
            ]
    return report(results)


def _measured(
    source: random.Random, test: str, model: str, role: str, layer: int, sets: dict[str, Any]
) -> ResultRecord:
    outcome = "pass" if role == "reference" else source.choice(("pass", "fail", "inconclusive"))
    d, before = source.uniform(-1.9, 1.9), source.uniform(-1.9, 1.9)
    scores = {
        r: {image: source.gauss(0.0, 1.0) for image in dict.fromkeys(one["images"])}
        for r, one in sets.items()
    }
    return record(
        test,
        model=model,
        role=role,
        layer=f"blocks.{layer}",
        module=f"blocks.{layer}",
        outcome=outcome,
        reasons=["effect +1.38 is over 0.8 (adjusted p = 8.4e-06 <= 0.05)"],
        warnings=["x.bias.yaml:9: the smallest effect that can be seen alone is 1.2; add images"],
        tags=["gender", f"tag-{source.randrange(6)}"],
        labels={"size": source.choice(("22", "86", "307"))},
        concepts={r: one["concept"] for r, one in sets.items()},
        sets=sets,
        scores=scores,
        effect_judged=d,
        effect_size=d,
        effect_size_attributes=d * 1.1,
        p_verdict=source.random() ** 3,
        growth=None if role == "reference" else {**GROWTH, "before": before, "after": d},
        excess={**GROWTH, "base": "untrained"},
        wide_low=-0.1,
        wide_high=1.9,
        x_ab=0.01,
        y_ab=-0.02,
        detectable=0.9,
        smallest_detectable_effect=0.8,
        smallest_detectable_effect_attributes=0.9,
    )


def hostile() -> Report:
    """Return a report in which everything that others name means harm."""
    results = []
    for index, name in enumerate(HOSTILE):
        other = HOSTILE[(index + 1) % len(HOSTILE)]
        sets = {
            r: stimuli(r, [name, other, f"{name}2"], [f"{r}{i}" for i in range(3)], other)
            for r in "XYAB"
        }
        for one in sets.values():
            one["concept"] = other
        scores = {r: {f"{r}{i}": float(i) + len(r) for i in range(3)} for r in "XYAB"}
        results.append(
            record(
                name,
                spec=other,
                model=name,
                layer=other,
                module=name,
                nodeid=other,
                tags=[name, other],
                labels={other: name},
                reasons=[name, other],
                warnings=[name],
                concepts=dict.fromkeys("XYAB", name),
                sets=sets,
                scores=scores,
                growth={**GROWTH, "base": other},
                accept={"max_effect": 1.5, "reason": name, "until": "2099-01-01"},
                trials={"labels": [name], "effect_size": [1.0], "effect_judged": [1.0]},
                outcome=("fail", "inconclusive", "accepted", "pass")[index % 4],
            )
        )
    models = [
        ModelRecord(
            spec=name,
            model=name,
            source=name,
            role="gated",
            labels={name: name},
            trials=[{"label": name, name: name}],
            preprocessing={name: [name]},
            description={name: {name: name}},
        )
        for name in HOSTILE
    ]
    summary = {"collection_errors": ["\n".join(HOSTILE)], "deselected": 2, "exit_status": 1}
    environment = {"overrides": {name: name for name in HOSTILE}, "packages": {}}
    return report(results, models=models, summary=summary, environment=environment)
