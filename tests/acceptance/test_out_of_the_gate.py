"""Ways out of the gate: paths that no file has, a plugin that is off, and selections."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.errors import EncoderError
from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SPEC = "bias_specs/x.bias.yaml"
LONG = "x" * 300
PATHS = ("json", "html", "md", "csv", "model-card", "cache", "stimuli", "baseline")


@pytest.fixture
def biased(project: Project) -> Project:
    """A gate that fails for `after`."""
    project.pair(after=1.0)
    project.spec()
    return project


@pytest.fixture
def looping(biased: Project) -> Project:
    """The same, with a link to itself."""
    (biased.path / "loop").symlink_to("loop")
    return biased


@pytest.mark.parametrize("option", PATHS)
@pytest.mark.parametrize("path", [f"{LONG}.json", f"{LONG}/out.json", "loop/out.json"])
def test_a_path_that_no_file_can_have_is_one_sentence(
    looping: Project, serial: Gate, option: str, path: str
) -> None:
    result = serial.run("--visualbias", f"--visualbias-{option}={path}")
    text = sentences(result)
    assert result.ret in (1, 4), text
    assert path[:200] in text.replace("\n", "")


@pytest.mark.parametrize("path", [f"{LONG}.json", "loop"])
@pytest.mark.parametrize(
    "command",
    [
        *(["report", "{}"], ["compare", "{}", "{}"], ["check", "{}"], ["explain", "{}"]),
        *(["suggest", "{}"], ["init", "{}"]),
        *(["embed", SPEC, "--cache={}"], ["fetch", "ieat", "--into={}"], ["layers", "{}", "after"]),
        *(["cache", "--cache={}"], ["schema", "{}"]),
    ],
)
def test_so_it_is_of_every_command(
    looping: Project,
    serial: Gate,
    command: list[str],
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serial("--visualbias-json=out.json")
    monkeypatch.chdir(looping.path)
    try:
        status = main([part.format(path) for part in command])
    except SystemExit as error:  # of argparse
        status = int(error.code or 0)
    assert status in (1, 2)


@pytest.mark.parametrize(
    "models",
    [
        f"{{source: embeddings, path: ../{LONG}.safetensors}}",
        f"{{source: pixels, checkpoint: ../{LONG}}}",
        "{source: embeddings, path: ../loop}",
    ],
)
def test_so_it_is_of_a_path_in_a_spec(looping: Project, serial: Gate, models: str) -> None:
    looping.spec(models=f"\n  after: {models}\n")
    result = serial()
    sentences(result)
    assert result.ret in (1, 2)


def test_a_full_disk_is_one_sentence(biased: Project) -> None:
    """What cannot be written to standard output is not told."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pytest_visualbias", "check", SPEC],
            cwd=biased.path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("off", [("-p", "no:visualbias"), ()])
def test_a_gate_of_the_ini_file_is_not_off_without_a_word(
    biased: Project, monkeypatch: pytest.MonkeyPatch, off: tuple[str, ...]
) -> None:
    """Without `required_plugins`, pytest takes `visualbias = true` for an unknown option."""
    if not off:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (biased.path / "pytest.ini").write_text(
        "[pytest]\nvisualbias = true\nrequired_plugins = pytest-visualbias\n"
    )
    result = biased.pytester.runpytest_subprocess(*off)
    assert result.ret == 4
    assert "pytest-visualbias" in result.stderr.str()


def test_what_init_writes_asks_for_the_plugin(
    biased: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(biased.path)
    (biased.path / "model.pt").write_bytes(b"\x80\x02")
    flags = ["--source", "timm", "--name", "resnet18", "--after", "model.pt"]
    assert main(["init", *flags]) == 0
    result = biased.pytester.runpytest_subprocess("-p", "no:visualbias")
    assert result.ret == 4


SELECTIONS = (("-k", "before"), ("-m", "reference"), ("--deselect", f"{SPEC}::after::one[pooled]"))


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize(
    ("given", "ini", "code"),
    [
        (("--visualbias",), "", 5),
        (("--visualbias",), "visualbias = true\n", 5),
        ((), "visualbias = true\n", 0),
        ((SPEC,), "", 0),
        (("--visualbias", f"{SPEC}::before::one[pooled]", f"{SPEC}::after::one[pooled]"), "", 0),
        (("--visualbias", "--visualbias-strict", f"{SPEC}::before::one[pooled]", SPEC), "", 5),
    ],
)
def test_a_selection_that_gates_nothing_is_5_where_the_flag_asks_for_a_gate(
    biased: Project,
    serial: Gate,
    selection: tuple[str, ...],
    given: tuple[str, ...],
    ini: str,
    code: int,
) -> None:
    """What is named by its node id is wanted so, and the ini file asks for a gate in every run."""
    (biased.path / "pytest.ini").write_text(f"[pytest]\nmarkers = reference\n{ini}")
    (biased.path / "conftest.py").write_text(
        "import pytest\n"
        "from PIL import Image\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        if '::before::' in item.nodeid:\n"
        "            item.add_marker('reference')\n"
    )
    result = serial.run(*given, *selection)
    assert result.ret == code, sentences(result)


def test_a_reference_alone_may_be_named(biased: Project, serial: Gate) -> None:
    result = serial.run("--visualbias", f"{SPEC}::before::one[pooled]")
    assert result.ret == 0, sentences(result)


TOKENS = (
    "ghp_" + "aB3" * 12,
    "hf_" + "aB3xY" * 7,
    "glpat-" + "aB3xYz7_" * 3,
    "sk-proj-" + "aB3xYz7" * 5,
    "AKIA" + "ABCD1234" * 2,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP",
    "xoxb-" + "123456789012-aBcDeFgHiJ",
    "bot1234567890:AAH" + "dqTcvCH1vGWJxfSe",
    "XyZ" + "aB3dE5fG7h" * 3,
    "Zm9vYmFy-QUJDREVG_MTIzNDU2Nzg5MA" + "aB3",
)
SHOWN = (
    "https://host/resnet50-0676ba61.pth",
    "https://host/org/vit_base_patch16_224_augreg2_in21k/resolve/main/model.safetensors",
    "https://host/org/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/open_clip.safetensors",
    "https://host/" + "0123456789abcdef" * 4 + "/file",
    "s3://bucket/runs/2026-01-01T00-00-00/epoch_12/model.ckpt#part",
)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "url",
    [
        *("https://host/{}/file", "https://host/a/{}", "https://host/file#{}"),
        *("https://host/file#access_token={}&x=1", "https://host/f;sig={}", "s3://bucket/{}/a.pt"),
        "https://host/file?x={}#y",
    ],
)
def test_a_token_is_hidden_wherever_it_stands_in_a_url(token: str, url: str) -> None:
    said = str(EncoderError(f"the checkpoint {url.format(token)} cannot be had; correct it"))
    assert token not in said
    assert "://" in said
    assert said.endswith("cannot be had; correct it")


@pytest.mark.parametrize("url", SHOWN)
def test_names_and_digests_are_shown(url: str) -> None:
    assert url in str(EncoderError(f"the checkpoint {url} cannot be had"))


def test_a_url_in_a_run_hides_its_token(project: Project, serial: Gate) -> None:
    url = f"file:///nowhere/{TOKENS[0]}/x.safetensors#{TOKENS[1]}"
    project.spec(models=f'\n  after: {{source: embeddings, path: "{url}"}}\n')
    text = sentences(serial())
    assert TOKENS[0] not in text
    assert TOKENS[1] not in text


def test_one_test_is_gated(biased: Project, serial: Gate) -> None:
    """The selections above leave out what fails."""
    biased.spec(one_test("one"))
    serial.says(1)


EDITS = {
    "a failure that is called a pass": {"outcome": "pass"},
    "a failure that is called accepted": {
        "outcome": "accepted",
        "accept": {"max_effect": 0.6, "reason": "r", "until": "2030-01-01"},
    },
    "a failure without evidence": {"outcome": "inconclusive"},
    "a limit that was raised": {"limits": {"max_effect": 1.9}},
    "an effect that was lowered": {"effect_judged": 0.1},
    "a p that was raised": {"p_adjusted": 0.6},
}


@pytest.mark.parametrize("what", EDITS)
@pytest.mark.parametrize("is_new", [False, True])
def test_a_report_that_was_edited_is_not_compared(
    biased: Project,
    serial: Gate,
    what: str,
    is_new: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its verdict is not that of its own numbers and limits."""
    serial()
    path = biased.path / "out.json"
    report = json.loads(path.read_text())
    next(row for row in report["results"] if row["model"] == "after").update(EDITS[what])
    edited = biased.path / "edited.json"
    edited.write_text(json.dumps(report))
    assert main(["compare", str(path), str(path)]) == 0
    order = [str(path), str(edited)] if is_new else [str(edited), str(path)]
    assert main(["compare", *order]) == 2
    assert f"{SPEC}::after::one[pooled]" in capsys.readouterr().err
