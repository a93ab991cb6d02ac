"""Audits from Python code: the same numbers as a run, of networks that code holds."""

from __future__ import annotations

import importlib
import json
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.api import Model, audit
from pytest_visualbias.errors import SpecError, UsageError
from tests.plugin.conftest import LAYERED, one_test

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
# What is only known where torch is imported.
Network = Any


@pytest.fixture
def network(networks: Project) -> Network:
    """The network whose weights the project has as ``after``, in training mode."""
    import safetensors.torch
    import timm

    model = timm.create_model("test_resnet", pretrained=False)
    safetensors.torch.load_model(model, str(networks.path / "after.safetensors"))
    return model.train()


def plain(project: Project, **keys: object) -> list[dict[str, Any]]:
    """Return the results of an audit as the JSON report has them."""
    found = audit(SPEC, **keys)  # type: ignore[arg-type]
    return [json.loads(one.model_dump_json(by_alias=True)) for one in found]


# ------------------------------------------------------------------------------ as a run


def test_an_audit_has_the_results_of_a_run(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(one_test("one", "{max_growth: 0.2}"), one_test("two", "{}", A="c", B="d"))
    assert project.gate().ret == 1
    assert plain(project) == project.report()["results"]
    found = audit(SPEC)
    assert not found.passed
    assert [one.test for one in found.failures] == ["one"]
    with pytest.raises(AssertionError, match=r"::after::one\[pooled\]: growth "):
        found.check()


def test_a_spec_may_be_python_data(project: Project) -> None:
    project.pair(after=1.0)
    sets = {"targets": {"X": "x", "Y": "y"}, "attributes": {"A": "a", "B": "b"}}
    data = {
        "visualbias": 1,
        "models": {"after": {"source": "embeddings", "path": "after.safetensors"}},
        "concepts": {name: name for name in "xyab"},
        "tests": [{"name": "one", "kind": "ieat", **sets, "limits": {"max_effect": 0.5}}],
    }
    assert audit(data).result("one").outcome == "fail"
    with pytest.raises(SpecError, match=r"spec:.*unknown key"):
        audit({**data, "modles": {}})


def test_python_data_may_hold_the_same_value_twice(project: Project) -> None:
    project.pair()
    sets = {"targets": {"X": "x", "Y": "y"}, "attributes": {"A": "a", "B": "b"}}
    spec = {
        "visualbias": 1,
        "models": {"after": {"source": "embeddings", "path": "after.safetensors"}},
        "concepts": {name: name for name in "xyab"},
        "tests": [{"name": name, "kind": "ieat", **sets} for name in ("one", "two")],
    }
    assert [row.test for row in audit(spec)] == ["one", "two"]


@pytest.mark.parametrize("kind", ["path", "circle"])
def test_python_data_that_no_text_can_hold_is_said(project: Project, kind: str) -> None:
    spec: dict[str, Any] = {"visualbias": 1}
    spec["stimuli"] = project.path if kind == "path" else spec
    with pytest.raises(UsageError, match="YAML"):
        audit(spec)


def test_models_are_replaced_as_on_the_command_line(project: Project) -> None:
    project.pair(after=1.0)
    project.spec()
    assert audit(SPEC, models={"after": "before.safetensors"}).passed
    assert not audit(SPEC, models={"after": project.path / "after.safetensors"}).passed
    with pytest.raises(UsageError, match="'afetr'"):
        audit(SPEC, models={"afetr": "before.safetensors"})


def test_what_is_inconclusive_fails_when_strict(project: Project) -> None:
    project.pair(after=0.15)
    project.spec(one_test("one", "{max_effect: 0.5}"))
    assert audit(SPEC).result("one").outcome == "inconclusive"
    assert audit(SPEC).passed
    assert not audit(SPEC, strict=True).passed


def test_an_error_of_a_model_is_a_result(project: Project) -> None:
    project.store("before")
    project.spec()
    found = audit(SPEC)
    assert [one.outcome for one in found] == ["pass", "error"]
    assert not found.passed


def test_a_spec_that_is_not_there_is_said(project: Project) -> None:
    with pytest.raises(UsageError, match="nix"):
        audit("nix.bias.yaml")


# ----------------------------------------------------------------------- networks in memory


def test_a_module_has_the_numbers_of_its_checkpoint(networks: Project, network: Network) -> None:
    from_file = audit(SPEC).result("one")
    held = audit(SPEC, models={"after": network}).result("one")
    assert held.scores == from_file.scores
    assert held.growth == from_file.growth


def test_a_module_stays_as_it_was(networks: Project, network: Network) -> None:
    import torch

    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    audit(SPEC, models={"after": network})
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())


def test_vectors_of_modules_are_not_kept(networks: Project, network: Network) -> None:
    """Code in memory may have been changed without a trace: the same weights, another network."""
    cache = networks.path / "cache"
    first = audit(SPEC, models={"after": network}, cache=cache).result("one")
    head = network.forward_head
    network.forward_head = lambda features, **keys: head(features, **keys)[:, :4]
    again = audit(SPEC, models={"after": network}, cache=cache).result("one")
    assert first.scores != again.scores


def test_a_module_of_ones_own_says_how_images_are_prepared(networks: Project) -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 6))

    def transform(image: Network) -> Network:
        pixels = torch.frombuffer(bytearray(image.resize((8, 8)).tobytes()), dtype=torch.uint8)
        return pixels.reshape(8, 8, 3).permute(2, 0, 1).float()

    spec = networks.path / SPEC
    spec.write_text(spec.read_text().replace("max_effect: 1.8", "max_effect: 1.7"))
    found = audit(SPEC, models={"after": Model(module, transform)})
    assert found.result("one").effect_judged is not None
    (after,) = [one for one in found.report.models if one.model == "after"]
    assert "transform" in after.preprocessing


def test_a_plain_module_is_compared_with_a_network_of_timm_where_images_are_prepared_alike(
    networks: Project, network: Network
) -> None:
    """What is done to images has the same names whatever the network is, and the same pixels."""
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, images: Network) -> Network:
            features = self.inner.forward_features(images)
            return self.inner.forward_head(features, pre_logits=True)

    numbers = "mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.3], interpolation: bicubic"
    transform = f"transform: {{size: 64, crop: 0.9, {numbers}}}"
    networks.spec(
        one_test("one", "{max_growth: 1.8}"),
        head="stimuli: ../stimuli",
        models="\n"
        + "".join(
            f"  {name}: {{source: timm, name: test_resnet, checkpoint: ../{name}.safetensors, "
            f"{transform}}}\n"
            for name in ("before", "after")
        ),
        concepts="{x: x, y: y, a: a, b: b}",
    )
    of_timm = audit(SPEC).result("one")
    wrapped = audit(SPEC, models={"after": Wrapped()}).result("one")
    assert wrapped.growth is not None, wrapped.reasons
    assert wrapped.scores == of_timm.scores
    assert wrapped.growth == of_timm.growth


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (None, "Model(module, transform"),
        (lambda _image: [[1.0]], "gives (1, 1)"),
        (lambda _image: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_it_is_said(networks: Project, transform: Network, said: str) -> None:
    import torch

    networks.spec(
        head="stimuli: ../stimuli",
        models="\n  after: {source: embeddings, path: nix.npz}\n",
        concepts="{x: x, y: y, a: a, b: b}",
    )
    found = audit(SPEC, models={"after": Model(torch.nn.Flatten(), transform)})
    assert said in " ".join(found.result("one").reasons)


def test_what_is_no_module_is_refused(networks: Project) -> None:
    for given in (Model([1, 2]), [1, 2], 3):
        with pytest.raises(UsageError, match=r"'after' is a (list|int); give a torch"):
            audit(SPEC, models={"after": given})


def test_a_module_replaces_a_model_that_is_there(networks: Project, network: Network) -> None:
    """A mistyped name would add a model, and leave the one that was meant as it was."""
    with pytest.raises(UsageError, match="'aftr'"):
        audit(SPEC, models={"aftr": network})


def test_a_spec_cannot_name_what_only_code_holds(project: Project) -> None:
    project.spec(models="\n  after: {source: in-memory, key: after}\n")
    project.refuses(1)
    assert project.row()["outcome"] == "error"


# ---------------------------------------------------------------------------- what comes of it


def test_a_result_is_found_by_its_test_and_otherwise_said(project: Project) -> None:
    project.layered("early", "late")
    project.spec(head="layers: [early, late]", models=LAYERED)
    found = audit(SPEC)
    assert found.result("one", layer="late").layer == "late"
    for keys, said in (
        ({"test": "one"}, "early, late"),
        ({"test": "oen"}, "'oen'"),
        ({"test": "one", "model": "afetr"}, "'afetr'"),
        ({"test": "one", "layer": "middle"}, "'one'"),
    ):
        with pytest.raises(UsageError, match=said):
            found.result(**keys)


def test_it_is_a_text_and_a_table_of_a_notebook_and_files(project: Project) -> None:
    project.pair(after=1.0)
    project.spec(one_test("'<b>one</b>'"))
    found = audit(SPEC)
    assert str(found).startswith("FAILED: 1 of 2 tests ")
    table = found._repr_html_()
    assert "&lt;b&gt;one&lt;/b&gt;" in table
    assert "<b>" not in table
    assert len(found) == 2
    for ending in ("json", "csv", "md"):
        path = project.path / f"r.{ending}"
        found.save(path)
        assert path.stat().st_size > 100
    with pytest.raises(UsageError, match="ends in"):
        found.save(project.path / "r.pdf")


# --------------------------------------------------------------------------------- the fixture


def write_test(project: Project, body: str) -> None:
    project.pytester.makepyfile(f"def test_it(visualbias):\n    {body}")


@pytest.mark.parametrize("arguments", [(), ("--visualbias",)])
def test_the_fixture_measures_from_the_root(project: Project, arguments: tuple[str, ...]) -> None:
    project.pair(after=1.0)
    project.spec()
    write_test(
        project, f"visualbias.audit('{SPEC}', models={{'after': 'before.safetensors'}}).check()"
    )
    project.run(*arguments, "test_the_fixture_measures_from_the_root.py").assert_outcomes(passed=1)
    write_test(project, f"visualbias.audit('{SPEC}').check()")
    result = project.run(*arguments, "test_the_fixture_measures_from_the_root.py")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*after::one?pooled?: effect *"])


def test_the_fixture_takes_the_options_of_the_run(project: Project, tmp_path: Path) -> None:
    project.pair(after=0.15)
    project.spec()
    write_test(project, f"assert visualbias.audit('{SPEC}').passed")
    name = "test_the_fixture_takes_the_options_of_the_run.py"
    project.run(name).assert_outcomes(passed=1)
    project.pytester.makeini("[pytest]\nvisualbias_strict = true")
    project.run(name).assert_outcomes(failed=1)


def test_networks_are_built_before_any_image_and_held_one_at_a_time(
    networks: Project, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from pytest_visualbias.stimuli.decoding import decode

    events: list[str] = []
    held: list[weakref.ref[object]] = []
    source = importlib.import_module("pytest_visualbias.models.factory")
    opened = source.open_in_memory

    def opens(*arguments: Any) -> Any:  # noqa: ANN401
        assert not any(one() for one in held)
        events.append("network")
        found = opened(*arguments)
        held.append(weakref.ref(found))
        return found

    def decodes(*arguments: Any) -> Any:  # noqa: ANN401
        events.append("image")
        return decode(*arguments)

    monkeypatch.setattr(source, "open_in_memory", opens)
    monkeypatch.setattr("pytest_visualbias.embeddings.extraction.decode", decodes)
    narrow = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten())
    found = audit(
        SPEC, models={"before": network, "after": Model(narrow, lambda _: torch.zeros(3, 8, 8))}
    )
    assert found.result("one", model="after").outcome == "error"
    assert found.result("one", model="before").outcome != "error"
    assert "image" in events
    assert events[:2] == ["network", "network"], events
