"""A user's project: stored vectors with a known bias, a spec of them, and pytest run there."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image, ImageDraw

import pytest_visualbias.plugin.hooks
import pytest_visualbias.reports.html.page
import pytest_visualbias.reports.terminal  # noqa: F401 - see below

if TYPE_CHECKING:
    from collections.abc import Sequence

# Pytester forgets what a run inside this process imported, and numpy does not bear a second import.

DIM = 16
# At its end every run would import the whole of hypothesis. The order of tests is the usual one:
# pytester forgets PYTEST_ADDOPTS.
LEAN = ("-p", "no:hypothesispytest", "-p", "no:randomly")
GITHUB = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")
MODELS = """
  before: {source: embeddings, path: ../before.safetensors}
  after: {source: embeddings, path: ../after.safetensors}
"""
NETWORKS = """
  before: {source: timm, name: test_resnet, checkpoint: ../before.safetensors}
  after: {source: timm, name: test_resnet, checkpoint: ../after.safetensors}
"""
ALONE = """
  after: {source: embeddings, path: ../after.safetensors}
"""
SETS = "{x: x, y: y, a: a, b: b}"  # the concepts of drawn images
LAYERED = """
  after: {source: embeddings, path: ../layers.safetensors, prefix: "{layer}/"}
"""
KIND_SETS = {
    "ieat": "targets: {X: x, Y: y}\n    attributes: {A: a, B: b}",
    "sc-eat": "targets: {X: x}\n    attributes: {A: a, B: b}",
    "similarity-gap": "targets: {X: x, Y: y}\n    attributes: {A: a}",
    "intra-similarity": "targets: {X: x}",
}
KIND_LIMITS = "{max_effect: 0.3, max_growth: 0.2, max_shift: 0.2}"
# A day on which a waiver has not ended on the day of every test (`tests.conftest.NOW`).
LATER = "2027-03-01"
CONCEPTS = "{x: x, y: y, a: a, b: b, c: c, d: d, flower: flower, insect: insect}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what loads torch."""
    for item in items:
        is_here = item.path.parent == Path(__file__).parent
        if is_here and "weights" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.torch)


def vectors(*, bias: float = 0.0, control: float = 1.0, n: int = 8) -> dict[str, np.ndarray]:
    """Return sets ``(n, dim)``: x and y lie apart along a and b by `bias`, never along c and d."""
    random = np.random.default_rng(3)
    along, across = np.eye(DIM)[:2]
    noise = random.normal(size=(n, DIM)) * 0.3

    def around(pole: np.ndarray) -> np.ndarray:
        return np.asarray(random.normal(size=(n, DIM)) * 0.3 + pole, np.float32)

    def pair(strength: float) -> tuple[np.ndarray, np.ndarray]:
        # The same noise on both sides: without a bias, the effect of the targets is about zero.
        small = random.normal(size=(n, DIM)) * 0.01
        first, second = noise + strength * along, noise[::-1] + small - strength * along
        return first.astype(np.float32), second.astype(np.float32)

    sets = dict(zip(("x", "y"), pair(bias), strict=True))
    sets |= dict(zip(("flower", "insect"), pair(control), strict=True))
    poles = {"a": along, "b": -along, "c": across, "d": -across}
    return sets | {name: around(pole) for name, pole in poles.items()}


def one_test(name: str, limits: str = "{max_effect: 0.5}", **keys: str) -> str:
    """Return the YAML of a test."""
    roles = {"X": "x", "Y": "y", "A": "a", "B": "b"} | {
        role: keys.pop(role) for role in "XYAB" if role in keys
    }
    lines = [
        f"- name: {name}",
        "kind: ieat",
        f"targets: {{X: {roles['X']}, Y: {roles['Y']}}}",
        f"attributes: {{A: {roles['A']}, B: {roles['B']}}}",
        f"limits: {limits}",
        *(f"{key}: {value}" for key, value in keys.items()),
    ]
    return "\n    ".join(lines)


def kind_test(kind: str, limits: str = KIND_LIMITS, *, name: str = "", **keys: str) -> str:
    """Return the YAML of a test of a kind; a similarity within a set needs other evidence."""
    keys = ({"evidence": "interval"} if kind == "intra-similarity" else {}) | keys
    lines = [
        f"- name: {name or kind}",
        f"kind: {kind}",
        KIND_SETS[kind],
        f"limits: {limits}",
        *(f"{key}: {value}" for key, value in keys.items()),
    ]
    return "\n    ".join(lines)


def control_test(**keys: str) -> str:
    """Return the YAML of a positive control with the attributes a and b."""
    return one_test(
        "control", "{min_effect: 0.5}", X="flower", Y="insect", control="positive", **keys
    )


def strict_json(text: str) -> dict[str, Any]:
    """Return the object that a text of JSON is; NaN and Infinity are no JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return found


@dataclass
class Project:
    """A folder with vectors and specs, and pytest in it."""

    pytester: pytest.Pytester

    @property
    def path(self) -> Path:
        return self.pytester.path

    def store(
        self,
        file: str,
        sets: dict[str, np.ndarray] | None = None,
        *,
        label: str = "",
        bias: float = 0.0,
        control: float = 1.0,
        n: int = 8,
    ) -> Path:
        """Write a file of vectors; names of rows begin with `label`."""
        sets = vectors(bias=bias, control=control, n=n) if sets is None else sets
        names = {key: [f"{label}{row:03}.png" for row in range(len(sets[key]))] for key in sets}
        path = self.path / f"{file}.safetensors"
        safetensors.numpy.save_file(sets, path, metadata={"names": json.dumps(names)})
        return path

    def spec(
        self,
        *tests: str,
        head: str = "",
        models: str = MODELS,
        concepts: str = CONCEPTS,
        file: str = "bias_specs/x.bias.yaml",
    ) -> Path:
        """Write a spec; by default its models are before and after, stored in the root."""
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"visualbias: 1\nmodels:{models}concepts: {concepts}\n{head}\ntests:\n"
        text += "".join(f"  {test}\n" for test in tests or [one_test("one")])
        path.write_text(text, encoding="utf-8")
        return path

    def pair(
        self, *, before: float = 0.0, after: float = 0.0, control: float = 1.0, n: int = 8
    ) -> None:
        """Write the vectors of both models by their biases."""
        self.store("before", bias=before, control=control, n=n)
        self.store("after", bias=after, control=control, n=n)

    def layered(self, *layers: str) -> None:
        """Write the vectors of one model at several layers."""
        sets = vectors()
        self.store("layers", {f"{layer}/{key}": sets[key] for layer in layers for key in sets})

    def images(self, set_name: str, *, ground: tuple[int, int, int], n: int = 5) -> Path:
        """Draw a set of PNGs: a square of another size on a ground, no two of them alike."""
        folder = self.path / "stimuli" / set_name
        folder.mkdir(parents=True)
        for index in range(n):
            image = Image.new("RGB", (40, 40), ground)
            draw = ImageDraw.Draw(image)
            draw.rectangle((3, 3, 10 + 4 * index, 10 + 3 * index), fill=(250, 40 * index, 90))
            image.save(folder / f"{index}.png")
        return folder

    def drawn(self, **keys: str) -> None:
        """Draw four sets and write a spec of two networks over them."""
        grounds = [(200, 30, 30), (30, 30, 200), (180, 120, 0), (0, 120, 180)]
        for name, ground in zip("xyab", grounds, strict=True):
            self.images(name, ground=ground)
        self.spec(
            one_test("one", "{max_effect: 1.8}", **keys),
            head="stimuli: ../stimuli",
            models=NETWORKS,
            concepts="{x: x, y: y, a: a, b: b}",
        )

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process."""
        return self.pytester.runpytest_inprocess(*LEAN, *arguments)

    def gate(self, *arguments: str) -> pytest.RunResult:
        """Run the gate in this process, with a report in ``out.json``."""
        return self.run("--visualbias", "--visualbias-json=out.json", *arguments)

    def process(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in a process of its own."""
        return self.pytester.runpytest_subprocess(*LEAN, *arguments)

    def judge(self, *tests: str, options: Sequence[str] = (), **keys: str) -> pytest.RunResult:
        """Write a spec and run the gate."""
        self.spec(*tests, **keys)
        return self.gate(*options)

    def judge_images(
        self, *tests: str, models: str = NETWORKS, head: str = "", options: Sequence[str] = ()
    ) -> pytest.RunResult:
        """Write a spec over the drawn images and run the gate."""
        head = f"stimuli: ../stimuli\n{head}"
        return self.judge(*tests, models=models, head=head, concepts=SETS, options=options)

    def refuses(self, code: int, *places: str, options: Sequence[str] = ()) -> str:
        """Run the gate; check its exit code and that it names places, without a traceback."""
        result = self.gate(*options)
        text = sentences(result)
        assert result.ret == code, text
        for place in places:
            assert place in text, text
        return text

    def breaches(self, test: str = "one", model: str = "after") -> list[tuple[str, bool]]:
        """Return the kind of each limit that a result breaches, and whether with evidence."""
        return [(one["kind"], one["evidence"]) for one in self.row(test, model)["violations"]]

    def report(self) -> dict[str, Any]:
        """Return the report of the last run of the gate."""
        text = (self.path / "out.json").read_text(encoding="utf-8")
        return strict_json(text)

    def row(self, test: str = "one", model: str = "after") -> dict[str, Any]:
        """Return one result of the report."""
        rows: list[dict[str, Any]] = self.report()["results"]
        return next(row for row in rows if (row["test"], row["model"]) == (test, model))

    def row_at(self, layer: str) -> dict[str, Any]:
        """Return the only result at a layer."""
        (row,) = (row for row in self.report()["results"] if row["layer"] == layer)
        return dict(row)

    def outcomes(self) -> dict[str, str]:
        """Return all outcomes of the report by ``model::test[layer]``."""
        return {
            f"{row['model']}::{row['test']}[{row['layer']}]": row["outcome"]
            for row in self.report()["results"]
        }


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project on a wide screen, on a machine that is no CI."""
    monkeypatch.setenv("COLUMNS", "200")
    # Whole reports are compared, and a run has a moment.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    for name in ("CI", "BUILD_NUMBER", "VISUALBIAS_CACHE", "NO_COLOR", *GITHUB):
        monkeypatch.delenv(name, raising=False)
    return Project(pytester)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the untrained weights of two small networks; torch is loaded and warm.

    Of the session, and so set up before any pytester, which forgets what is imported after it.
    """
    import safetensors.torch  # only where a network is wanted
    import timm
    import torch

    import pytest_visualbias.models.timm  # noqa: F401 - see the top

    folder = tmp_path_factory.mktemp("weights")
    for seed, name in enumerate(("before", "after")):
        torch.manual_seed(seed)
        model = timm.create_model("test_resnet", pretrained=False).eval()
        safetensors.torch.save_model(model, str(folder / f"{name}.safetensors"))
    other = timm.create_model("test_vit", pretrained=False)
    safetensors.torch.save_model(other, str(folder / "vit.safetensors"))
    with torch.inference_mode():
        model(torch.zeros(1, 3, 160, 160))
    timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    return folder


@pytest.fixture
def networks(weights: Path, project: Project) -> Project:
    """A project with two small untrained networks and drawn images."""
    for name in ("before", "after"):
        shutil.copy(weights / f"{name}.safetensors", project.path)
    project.drawn()
    return project


def sentences(result: pytest.RunResult) -> str:
    """Return all that was shown, having made sure that none of it is a traceback."""
    text = "\n".join([*result.outlines, *result.errlines])
    for word in ("Traceback", "INTERNALERROR", "_pytest/", "site-packages"):
        assert word not in text, text
    return text
