"""URLs wherever the gate takes a path, with stores that need no server."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.api import audit
from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.cache import SharedCache
from pytest_visualbias.errors import StorageError
from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Project

PLUGINS = ("-p", "xdist.plugin", "-p", "pytest_visualbias.plugin")


@pytest.fixture
def stored(project: Project) -> Project:
    """A project whose vectors lie at a URL, that of a folder beside it."""
    project.pair(after=0.6)
    project.spec(one_test("one", "{max_growth: 0.2}"), one_test("two"))
    return project


def away(project: Project) -> str:
    """Move the vectors to where only a URL leads; return it."""
    store = project.path / "store"
    store.mkdir()
    for name in ("before", "after"):
        shutil.move(project.path / f"{name}.safetensors", store)
    return store.as_uri()


def local(project: Project) -> list[dict[str, Any]]:
    project.gate()
    results: list[dict[str, Any]] = project.report()["results"]
    return results


def test_stored_vectors_at_a_url_give_the_same_results(stored: Project) -> None:
    alone = local(stored)
    url = away(stored)
    given = [f"--visualbias-{name}={url}/{name}.safetensors" for name in ("before", "after")]
    result = stored.gate(*given)
    assert stored.report()["results"] == alone
    assert result.ret == 1
    trials = [model["trials"][0] for model in stored.report()["models"]]
    assert [one["url"] for one in trials] == [
        f"{url}/before.safetensors",
        f"{url}/after.safetensors",
    ]
    assert [one["label"] for one in trials] == ["before.safetensors", "after.safetensors"]


def test_a_spec_names_urls_too(stored: Project) -> None:
    alone = local(stored)
    url = away(stored)
    models = "\n".join(
        f"  {name}: {{source: embeddings, path: '{url}/{name}.safetensors'}}"
        for name in ("before", "after")
    )
    stored.spec(one_test("one", "{max_growth: 0.2}"), one_test("two"), models=f"\n{models}\n")
    stored.gate()
    assert [row["scores"] for row in stored.report()["results"]] == [one["scores"] for one in alone]


def test_vectors_that_cannot_be_had_are_errors_of_their_tests(stored: Project) -> None:
    url = f"{stored.path.as_uri()}/nothing.safetensors"
    stored.refuses(1, url, options=[f"--visualbias-after={url}"])
    assert stored.outcomes()["after::one[pooled]"] == "error"


@pytest.mark.slow
def test_workers_of_xdist_share_a_cache_at_a_url(
    stored: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = local(stored)
    shutil.rmtree(stored.path / ".pytest_cache")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    url = f"{stored.path.as_uri()}/shared"
    result = stored.pytester.runpytest_subprocess(
        *PLUGINS, "--visualbias", "--visualbias-json=out.json", "-n2", f"--visualbias-cache={url}"
    )
    assert result.ret == 1
    assert stored.report()["results"] == alone


def test_an_ini_file_and_the_environment_name_urls_too(
    stored: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = stored.path.as_uri()
    (stored.path / "pytest.ini").write_text(f"[pytest]\nvisualbias_md = {base}/out/run.md\n")
    monkeypatch.setenv("VISUALBIAS_CACHE", f"{base}/shared")
    result = stored.gate()
    assert f"visualbias and {base}/shared" in sentences(result)
    assert (stored.path / "out/run.md").read_text(encoding="utf-8")


def test_the_option_names_the_url_and_the_environment_the_folder_before_it(
    stored: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALBIAS_CACHE", "near")
    result = stored.gate(f"--visualbias-cache={stored.path.as_uri()}/far")
    assert f"cache {stored.path}/near and {stored.path.as_uri()}/far" in sentences(result)


def test_without_pytests_cache_the_folder_before_a_url_goes_with_the_run(stored: Project) -> None:
    result = stored.gate(f"--visualbias-cache={stored.path.as_uri()}/far", "-pno:cacheprovider")
    assert result.ret == 1
    assert not (stored.path / ".pytest_cache").exists()


def test_growth_is_measured_from_a_report_at_a_url(stored: Project) -> None:
    stored.gate()
    last = f"{stored.path.as_uri()}/last.json"
    shutil.copy(stored.path / "out.json", stored.path / "last.json")
    stored.gate(f"--visualbias-baseline={last}")
    assert stored.row()["growth"]["value"] == pytest.approx(0.0, abs=1e-9)
    stored.gate(f"--visualbias-baseline={last}", "--visualbias-no-cache")
    assert stored.row()["growth"]["value"] == pytest.approx(0.0, abs=1e-9), "the copy is there yet"
    stored.spec(one_test("new", "{max_growth: 0.2}"))
    stored.gate(f"--visualbias-baseline={last}")
    (reason,) = stored.row("new")["reasons"]
    assert reason.startswith(f"{last} "), "not its copy on this machine"
    stored.refuses(4, last, options=[f"--visualbias-baseline={last}", "--visualbias-update"])
    nothing = f"{stored.path.as_uri()}/nothing.json"
    stored.refuses(4, nothing, options=[f"--visualbias-baseline={nothing}"])


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        (["--visualbias-cache=s3:/lab/cache"], ["--visualbias-cache: ", "s3://lab/cache?"]),
        (["--visualbias-after=s3:/lab/a.npz"], ["the model 'after': ", "s3://lab/a.npz?"]),
        (["--visualbias-html=s3://lab/out.html", "--visualbias-offline"], ["--visualbias-html: "]),
    ],
)
def test_what_cannot_be_reached_is_an_option_that_is_wrong(
    stored: Project, monkeypatch: pytest.MonkeyPatch, arguments: list[str], places: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    stored.refuses(4, *places, options=arguments)


def test_without_a_network_the_folder_before_a_url_is_the_cache(
    stored: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    result = stored.gate("--visualbias-cache=s3://lab/cache", "--visualbias-offline")
    assert result.ret == 1
    assert "s3://" not in sentences(result)


def test_a_report_that_a_store_refuses_fails_the_run(project: Project) -> None:
    project.pair()
    project.spec()
    (project.path / "file").write_text("no folder")
    url = f"{project.path.as_uri()}/file/out.md"
    project.refuses(1, url, options=[f"--visualbias-md={url}"])


def test_a_model_card_at_a_url_keeps_what_others_wrote(project: Project) -> None:
    project.pair()
    project.spec()
    card = project.path / "README.md"
    card.write_text("# A model\n\nOf somebody.\n", encoding="utf-8")
    for _ in range(2):
        result = project.run("--visualbias", f"--visualbias-model-card={card.as_uri()}")
        assert result.ret == 0
    text = card.read_text(encoding="utf-8")
    assert "Of somebody." in text
    assert text.count("x.bias.yaml") >= 1
    assert not list(project.path.glob("*.part"))


def test_code_names_urls(stored: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    url = away(stored)
    monkeypatch.chdir(stored.path)
    found = audit(
        "bias_specs/x.bias.yaml",
        models={name: f"{url}/{name}.safetensors" for name in ("before", "after")},
        cache=f"{url}/cache",
    )
    assert [one.outcome for one in found] == ["pass", "pass", "fail", "fail"]
    found.save(f"{url}/out.json")
    assert main(["report", f"{url}/out.json"]) == 0
    assert main(["compare", f"{url}/out.json", f"{url}/out.json"]) == 0
    models = {name: f"{url}/{name}.safetensors" for name in ("before", "after")}
    again = audit("bias_specs/x.bias.yaml", models=models, baseline=f"{url}/out.json")
    (one, *_) = (row for row in again if row.test == "one" and row.model == "after")
    assert one.growth is not None
    assert one.growth.base == "baseline"
    assert one.growth.value == pytest.approx(0.0, abs=1e-9)


def test_a_check_looks_at_what_lies_at_urls(
    stored: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = away(stored)
    models = f"\n  after: {{source: embeddings, path: '{url}/nothing.safetensors'}}\n"
    stored.spec(models=models)
    monkeypatch.chdir(stored.path)
    assert main(["check", "bias_specs/x.bias.yaml"]) == 1
    assert f"{url}/nothing.safetensors" in capsys.readouterr().out


@pytest.mark.torch
def test_a_cache_that_is_lost_while_a_run_goes_on_makes_errors_and_no_pass(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise StorageError("file:///far cannot be read (it cannot be reached); check the network")

    monkeypatch.setattr(SharedCache, "pull", fail)
    networks.refuses(1, "file:///far", options=[f"--visualbias-cache={networks.path.as_uri()}/far"])
    assert set(networks.outcomes().values()) == {"error"}


@pytest.mark.torch
def test_a_cache_that_may_only_be_read_is_told_at_the_end(
    networks: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("it cannot be written", reason="file:///far: access is refused")

    monkeypatch.setattr(SharedCache, "push", fail)
    networks.refuses(0, "file:///far", options=[f"--visualbias-cache={networks.path.as_uri()}/far"])


@pytest.mark.torch
def test_a_pattern_at_a_url_is_several_trials_as_a_local_one_is(
    networks: Project, weights: Path
) -> None:
    for folder in ("runs", "store/runs"):
        (networks.path / folder).mkdir(parents=True)
        for name in ("before", "after"):
            shutil.copy(
                weights / f"{name}.safetensors", networks.path / folder / f"{name}.safetensors"
            )
    networks.gate(f"--visualbias-after={networks.path}/runs/*.safetensors")
    alone = networks.report()["results"]
    networks.gate(f"--visualbias-after={networks.path.as_uri()}/store/runs/*.safetensors")
    assert networks.report()["results"] == alone
    assert len(networks.row()["trials"]["labels"]) == 2
