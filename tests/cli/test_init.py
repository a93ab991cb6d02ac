"""`visualbias init`: what it lists, what it writes, and that its spec passes the check."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
import yaml
from PIL import Image

from pytest_visualbias import plugin
from pytest_visualbias.cli.init import GITHUB_JOB, GITLAB_JOB, SPEC
from pytest_visualbias.cli.main import main
from pytest_visualbias.cli.repository import scan_repository
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.models.source_code import module_file
from pytest_visualbias.spec.fields import quoted
from pytest_visualbias.spec.parser import read_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

Output = pytest.CaptureFixture[str]
NO_IMAGES = ("--stimuli", "none", "--targets", "x", "y", "--attributes", "a", "b")
RESNET = ("--source", "timm", "--name", "resnet18")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISUALBIAS_CACHE", raising=False)
    return tmp_path


def put(path: str, text: str = "") -> None:
    """Write a file; without a text one that holds weights by its header."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = b"\x80\x02" if file.suffix != ".safetensors" else b""
    file.write_bytes(text.encode() or stored or safetensors.numpy.save({"w": np.zeros(8)}))


def models() -> dict[str, Any]:
    """Return the models of the spec that was written."""
    file = read_spec(Path(SPEC), file=SPEC)
    return {
        name: entry.model_dump(exclude_defaults=True) for name, entry in file.spec.models.items()
    }


def job(path: str) -> dict[str, Any]:
    """Return the job of a workflow."""
    workflow = yaml.safe_load(Path(path).read_text())
    jobs: dict[str, dict[str, Any]] = workflow if path == GITLAB_JOB else workflow["jobs"]
    return jobs["visualbias"]


def test_one_checkpoint_and_one_network_need_no_flag() -> None:
    put("run/best.safetensors")
    put("train.py", "import timm\nnet = timm.create_model(model_name='resnet18')\n")
    assert main(["init"]) == 0
    entry = {"source": "timm", "name": "resnet18", "checkpoint": "../run/best.safetensors"}
    assert models() == {"after": entry}
    assert main(["check", SPEC]) == 0


NAMED = {"name": "resnet18", "checkpoint": "../w.pt"}
SOURCES: dict[str, tuple[str, Sequence[str], dict[str, Any]]] = {
    "timm": ("w.pt", ("--name", "resnet18"), NAMED),
    "torchvision": ("w.pt", ("--name", "resnet18"), NAMED),
    "open_clip": ("w.pt", ("--name", "ViT-B-32"), {**NAMED, "name": "ViT-B-32"}),
    "factory": (
        "w.pt",
        ("--name", "nets:build", "--size", "32"),
        {"call": "nets:build", "checkpoint": "../w.pt", "transform": {"size": 32}},
    ),
    **{
        program: ("w.pt", ("--size", "32"), {"path": "../w.pt", "transform": {"size": 32}})
        for program in ("torchscript", "export", "onnx")
    },
    "transformers": ("tuned", (), {"path": "../tuned"}),
}


@pytest.mark.parametrize("source", SOURCES)
def test_flags_choose_the_source(source: str, capsys: Output) -> None:
    put("w.pt")
    put("tuned/config.json", '{"model_type": "vit"}')
    after, flags, keys = SOURCES[source]
    assert main(["init", "--after", after, "--source", source, *flags, "--dry-run"]) == 0
    text = capsys.readouterr().out.partition(f"--- {SPEC}\n")[2].partition("\n--- ")[0]
    assert yaml.safe_load(text)["models"] == {"after": {"source": source, **keys}}


@pytest.mark.parametrize("source", ["timm", "torchvision", "open_clip", "factory"])
def test_what_flags_choose_passes_the_check(source: str) -> None:
    put("w.pt")
    put("nets.py", "def build(): ...\n")
    assert main(["init", "--source", source, *SOURCES[source][1]]) == 0
    assert main(["check", SPEC]) == 0


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        ((), {"--after", "--source", "--name"}),
        (("--after", "a.pt"), {"--source", "--name"}),
        (("--after", "a.pt", "--source", "timm"), {"--name"}),
        (("--after", "a.pt", "--source", "factory", "--name", "nets:build"), {"--size"}),
        (("--after", "a.pt", "--source", "onnx"), {"--size"}),
        ((*RESNET, "--after", "a.pt", "--stimuli", "images"), {"--targets", "--attributes"}),
        ((*RESNET, "--after", "a.pt", "--targets", "x", "y"), {"--stimuli"}),
        ((*RESNET,), {"--after"}),
    ],
)
def test_a_missing_flag_is_named_and_nothing_is_written(
    capsys: Output, repository: Path, flags: tuple[str, ...], missing: set[str]
) -> None:
    put("a.pt")
    put("b.pt")
    before = sorted(repository.rglob("*"))
    assert main(["init", *flags]) == 1
    assert missing <= set(re.findall(r"--[a-z]+", capsys.readouterr().err))
    assert sorted(repository.rglob("*")) == before


@pytest.mark.parametrize(
    "flags",
    [
        ("--source", "timm", "--name", "no_such_network", "--after", "a.pt"),
        (*RESNET, "--after", "no_such_file.pt"),
        (*RESNET, "--after", "pointer.pt"),
        ("--source", "factory", "--name", "no.module:build", "--size", "8", "--after", "a.pt"),
        (*RESNET, "--after", "a.pt", "--before", "no_such_file.pt"),
        (*RESNET, "--after", "a.pt", *NO_IMAGES),
    ],
)
@pytest.mark.parametrize("previous", [None, "mine"])
def test_a_spec_that_would_not_pass_the_check_is_not_written(
    flags: tuple[str, ...], previous: str | None
) -> None:
    put("a.pt")
    put("pointer.pt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    if previous is not None:
        put(SPEC, previous)
    assert main(["init", *flags, "--force"]) == 1
    assert not Path("pytest.ini").exists()
    assert (Path(SPEC).read_text() if Path(SPEC).exists() else None) == previous


def test_the_model_before_is_a_checkpoint_or_published_weights() -> None:
    put("a.pt")
    put("b.pt")
    assert main(["init", *RESNET, "--after", "a.pt", "--before", "b.pt"]) == 0
    assert models()["before"]["checkpoint"] == "../b.pt"
    assert main(["init", *RESNET, "--after", "a.pt", "--before", "pretrained", "--force"]) == 0
    assert models()["before"] == {"source": "timm", "name": "resnet18"}


def test_images_become_a_test_of_four_concepts() -> None:
    put("a.pt")
    for index, concept in enumerate(("women", "men", "career", "family")):
        Path("images", concept).mkdir(parents=True)
        for number in range(8):
            color = (index * 60, number * 30, 0)
            Image.new("RGB", (8, 8), color).save(f"images/{concept}/{number}.png")
    flags = ["--stimuli", "images", "--targets", "women", "men", "--attributes", "career", "family"]
    assert main(["init", *RESNET, *flags]) == 0
    test = read_spec(Path(SPEC), file=SPEC).spec.tests[0]
    assert test.kind == "ieat"
    assert test.attributes is not None
    sets = test.targets.model_dump() | test.attributes.model_dump()
    assert sets == {"X": "women", "Y": "men", "A": "career", "B": "family"}


CODE = {
    "annotated": ("def of(n): ...\ndef build() -> 'nn.Module':\n    raise SystemExit\n", {"build"}),
    "own class": ("class Net(nn.Module): ...\ndef make(): return Net()\n", {"Net", "make"}),
    "derived": ("class A(nn.Module): ...\nclass B(A): ...\n", {"A", "B"}),
    "lightning": ("class A(pl.LightningModule):\n def __init__(self, n=3): ...\n", {"A"}),
    "by name": ("def f():\n net = nn.Sequential(x)\n net.eval()\n return net\n", {"f"}),
    "torchvision": ("def f(k=1): return torchvision.models.resnet18()\n", {"f"}),
    "needs arguments": (
        "class A(nn.Module):\n def __init__(self, n): ...\ndef f(n): return nn.Sequential()\n",
        set(),
    ),
    "no network": ("class A: ...\ndef f(): return A()\ndef g(): return 1\n", set()),
    "private": ("def _f() -> nn.Module: ...\n", set()),
    "no Python": ("def (", set()),
}


@pytest.mark.parametrize("case", CODE)
def test_functions_and_classes_that_give_a_network_are_listed(repository: Path, case: str) -> None:
    text, names = CODE[case]
    put("src/nets/zoo.py", text)
    found = {network.name for network in scan_repository(repository).networks}
    assert found == {f"nets.zoo:{name}" for name in names}


def test_a_listed_factory_can_be_imported_by_the_gate(repository: Path) -> None:
    put("src/nets/zoo.py", "def build() -> nn.Module: ...\n")
    put("m.pt")
    assert main(["init", "--size", "32"]) == 0
    call = models()["after"]["call"]
    context = Context(folder=Path(SPEC).parent, project=repository)
    assert module_file(call.partition(":")[0], context) == repository / "src/nets/zoo.py"


def test_environments_caches_hidden_folders_links_and_tests_are_left_out(repository: Path) -> None:
    for folder in (".venv/lib", "cache", "node_modules/x", "build", "__pycache__"):
        put(f"{folder}/model.pt")
        put(f"{folder}/nets.py", "def build() -> nn.Module: ...\n")
    put("venv/pyvenv.cfg", "x")
    put("venv/lib/model.pt")
    put("tests/nets.py", "def build() -> nn.Module: ...\n")
    put("run/optimizer.pt")
    (repository / "link").symlink_to(repository / ".venv")
    Path("empty.pt").touch()
    scanned = scan_repository(repository)
    assert (scanned.checkpoints, scanned.networks) == ((), ())


def test_the_workflow_gates_strictly_keeps_embeddings_and_uploads_the_report() -> None:
    put("requirements.txt", "timm")
    put("out/a.pt")
    assert main(["init", *RESNET, "--ci", "github"]) == 0
    steps = job(GITHUB_JOB)["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs[0] == "uv pip install -r requirements.txt pytest-visualbias"
    assert runs[1] == "visualbias check --cache .visualbias bias_specs/*.bias.yaml"
    assert runs[2].split()[:3] == ["pytest", "--visualbias", "--visualbias-strict"]
    assert runs[2].split()[-4:] == ["&&", "test", "-s", "visualbias-report.json"]
    uses = {step["uses"].partition("@")[0]: step for step in steps if "uses" in step}
    restored = uses["actions/cache/restore"]["with"]
    assert restored["key"].endswith("${{ hashFiles('bias_specs/**', 'out/*') }}")
    saved = uses["actions/cache/save"]
    assert saved["if"] == "always() && steps.embeddings.outputs.cache-hit != 'true'"
    assert saved["with"]["path"] == restored["path"] == ".visualbias"
    assert uses["actions/upload-artifact"]["if"] == "always()"


def test_every_option_of_the_workflows_is_one_of_pytest() -> None:
    put("a.pt")
    names = {f"--visualbias-{name}" for name, *_ in (*plugin.VALUES, *plugin.SWITCHES)}
    for forge, path in (("github", GITHUB_JOB), ("gitlab", GITLAB_JOB)):
        main(["init", *RESNET, "--ci", forge])
        words = Path(path).read_text().split()
        used = {word.partition("=")[0] for word in words if word.startswith("--visualbias-")}
        assert len(used) >= 4
        assert used <= names


def test_gitlab_includes_a_file_of_its_own() -> None:
    put("a.pt")
    put(".git/config", '[remote "origin"]\n\turl = git@gitlab.example.org:me/github-tools.git\n')
    assert main(["init", *RESNET]) == 0
    including = yaml.safe_load(Path(".gitlab-ci.yml").read_text())
    assert including == {"include": [{"local": GITLAB_JOB}]}
    assert job(GITLAB_JOB)["cache"]["when"] == job(GITLAB_JOB)["artifacts"]["when"] == "always"
    assert job(GITLAB_JOB)["script"][-1].startswith("pytest --visualbias --visualbias-strict ")
    assert main(["init", *RESNET]) == 0


def test_an_existing_gitlab_configuration_is_not_changed(capsys: Output) -> None:
    put("a.pt")
    put(".gitlab-ci.yml", "stages: [test]\n")
    assert main(["init", *RESNET, "--force"]) == 0
    assert Path(".gitlab-ci.yml").read_text() == "stages: [test]\n"
    assert f"- local: {GITLAB_JOB}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "[project]\nname = 'x'\n[tool.pytest.ini_options]\naddopts = '-q'\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -q\n"),
        ("tox.ini", "[tox]\n[pytest]\naddopts = -q\n"),
        ("pytest.ini", "[pytest]\naddopts = -q\n"),
    ],
)
def test_a_configuration_of_pytest_is_not_changed(file: str, text: str) -> None:
    put("a.pt")
    put(file, text)
    assert main(["init", *RESNET]) == 0
    assert Path(file).read_text() == text
    assert not Path("pytest.ini").exists() or file == "pytest.ini"


def test_an_existing_spec_is_kept_unless_forced() -> None:
    put("a.pt")
    put(SPEC, "mine")
    assert main(["init", *RESNET]) == 1
    assert Path(SPEC).read_text() == "mine"
    assert main(["init", *RESNET, "--force"]) == 0
    assert models()["after"]["name"] == "resnet18"
    assert main(["init", *RESNET]) == 0


def test_a_link_is_replaced_and_never_written_through(repository: Path) -> None:
    put("a.pt")
    put("elsewhere.txt", "mine")
    Path(SPEC).parent.mkdir()
    Path(SPEC).symlink_to(repository / "elsewhere.txt")
    assert main(["init", *RESNET]) == 1
    assert main(["init", *RESNET, "--force"]) == 0
    assert Path("elsewhere.txt").read_text() == "mine"
    assert not Path(SPEC).is_symlink()


def test_a_dry_run_shows_every_file_and_writes_none(repository: Path, capsys: Output) -> None:
    put("a.pt")
    assert main(["init", *RESNET, "--dry-run", "--ci", "github", "--schema"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [line.removeprefix("--- ") for line in lines if line.startswith("--- ")]
    assert shown == [SPEC, "bias_specs/bias.schema.json", "pytest.ini", GITHUB_JOB]
    assert [path.name for path in repository.iterdir()] == ["a.pt"]


def test_a_folder_that_does_not_exist_is_a_wrong_call(capsys: Output) -> None:
    assert main(["init", "no\nwhere"]) == 2
    assert capsys.readouterr().err.startswith("no\\nwhere ")


def test_what_cannot_be_written_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    put("a.pt")
    put("bias_specs", "a file")
    assert main(["init", *RESNET]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("bias_specs").unlink()
    monkeypatch.setattr("pytest_visualbias.cli.init._write_file", full)
    assert main(["init", *RESNET]) == 2
    assert "None" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["a b.pt", "it's.pt", 'q".pt', "no: {x}, [y] # z.pt", "ünï.pt", "-.pt", "%s{0}.pt", "x'*?[.pt"],
)
def test_unusual_names_reach_the_spec_whole_and_the_workflow_stays_valid(name: str) -> None:
    put(f"run {name}/{name}")
    assert main(["init", *RESNET, "--ci", "github"]) == 0
    assert models()["after"]["checkpoint"] == f"../run {name}/{name}"
    steps = job(GITHUB_JOB)["steps"]
    key = next(step["with"]["key"] for step in steps if step.get("id") == "embeddings")
    assert key.endswith("${{ hashFiles('bias_specs/**') }}")


def test_the_schema_is_written_beside_the_spec() -> None:
    put("a.pt")
    assert main(["init", *RESNET, "--schema"]) == 0
    first = Path(SPEC).read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=bias.schema.json"
    assert Path("bias_specs/bias.schema.json").is_file()


@pytest.mark.parametrize(
    "text", ["no", "1e3", "null", "true", "x: y", "a #b", "- a", "", "{a", "~"]
)
def test_quoted_text_reads_back_as_itself(text: str) -> None:
    assert yaml.safe_load(f"k: {quoted(text)}") == {"k": text}
    assert yaml.safe_load(f"{{k: {quoted(text)}, l: 1}}") == {"k": text, "l": 1}
