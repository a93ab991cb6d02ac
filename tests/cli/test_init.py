"""A first spec and a workflow, by what is in a repository."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
import yaml

from pytest_visualbias.cli import init
from pytest_visualbias.cli.main import main
from pytest_visualbias.cli.starting import looking
from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.spec.fields import quoted
from pytest_visualbias.spec.parser import read_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

SPEC = Path("bias_specs/first.bias.yaml")
WORKFLOW = Path(".github/workflows/visualbias.yml")
Output = pytest.CaptureFixture[str]


# What `check` takes for weights at a glance, all of one size.
STORED = safetensors.numpy.save({"w": np.zeros(8)})
SOUND = dict.fromkeys(looking.WEIGHTS, b"\x80\x02".ljust(len(STORED)))
SOUND[".safetensors"] = STORED


class Known:
    """An architecture that a fake recogniser finds."""

    def __init__(self, name: str, container: str | None = None) -> None:
        self.name = name
        self.container = container


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, which is the working directory; no checkpoint is really looked into."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISUALBIAS_CACHE", raising=False)
    recognising(monkeypatch, {})
    return tmp_path


def recognising(monkeypatch: pytest.MonkeyPatch, known: dict[str, Known]) -> list[tuple[Any, ...]]:
    """Let checkpoints be recognised by their names, and return what was asked."""
    asked: list[tuple[Any, ...]] = []

    def recognise(path: Path, *, named: Iterable[str] = (), guess: bool = True) -> Known | None:
        asked.append((path.name, tuple(named), guess))
        return known.get(path.name)

    monkeypatch.setattr(init, "_recognise", recognise)
    return asked


def put(path: str, content: str = "x", *, age: int = 0) -> None:
    """Write a file, so many seconds old."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    is_weights = content == "x" and file.suffix in looking.WEIGHTS
    file.write_bytes(SOUND[file.suffix] if is_weights else content.encode())
    os.utime(file, (2_000_000_000 - age, 2_000_000_000 - age))


def models() -> dict[str, Any]:
    """Return the models of the spec that was written, as they are parsed."""
    file = read_spec(SPEC, file=str(SPEC))
    return {
        name: entry.model_dump(exclude_defaults=True) for name, entry in file.spec.models.items()
    }


def test_timm_a_checkpoint_and_github_give_a_spec_a_workflow_and_the_next_command(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    put("requirements.txt", "torch\ntimm>=1.0\n")
    put("checkpoints/finetuned.safetensors")
    put(".github/dependabot.yml")
    recognising(monkeypatch, {"finetuned.safetensors": Known("resnet50")})
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert "timm: in requirements.txt\ncheckpoints: 1 file\n" in said
    assert "its weights fit timm's resnet50\n" in said
    assert said.endswith(
        "written: bias_specs/first.bias.yaml\nwritten: pytest.ini\n"
        "written: .github/workflows/visualbias.yml\n"
        "next: visualbias check bias_specs/first.bias.yaml\nthen: pytest --visualbias\n"
    )
    assert models() == {
        "after": {
            "source": "timm",
            "name": "resnet50",
            "checkpoint": "../checkpoints/finetuned.safetensors",
        }
    }
    assert "\n  # before: {source: timm, name: resnet50}\n" in SPEC.read_text()
    assert main(["check", str(SPEC)]) == 0


def test_the_workflow_gates_strictly_keeps_embeddings_and_uploads_what_was_found(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("requirements.txt", "timm")
    put("out/a.pt")
    recognising(monkeypatch, {"a.pt": Known("resnet18")})
    main(["init", "--ci", "github"])
    job = yaml.safe_load(WORKFLOW.read_text())["jobs"]["visualbias"]
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs[0] == "uv pip install -r requirements.txt pytest-visualbias"
    assert runs[1] == "visualbias check --cache .visualbias bias_specs/*.bias.yaml"
    assert runs[2].split()[:3] == ["pytest", "--visualbias", "--visualbias-strict"]
    assert "--visualbias-json=visualbias-report.json" in runs[2].split()
    assert runs[2].split()[-4:] == ["&&", "test", "-s", "visualbias-report.json"]
    uses = {step["uses"].partition("@")[0]: step for step in job["steps"] if "uses" in step}
    restored = uses["actions/cache/restore"]["with"]
    assert restored["key"].endswith("${{ hashFiles('bias_specs/**', 'out/*') }}")
    assert restored["key"].startswith(restored["restore-keys"])
    saved = uses["actions/cache/save"]
    assert saved["if"] == "always() && steps.embeddings.outputs.cache-hit != 'true'"
    assert saved["with"]["path"] == restored["path"] == ".visualbias"
    assert uses["actions/upload-artifact"]["if"] == "always()"


def test_every_option_of_the_workflows_is_one_of_pytest(repository: Path) -> None:
    """Those of reports that this release cannot write are left out."""
    from pytest_visualbias import plugin

    names = {f"--visualbias-{name}" for name, *_ in (*plugin.VALUES, *plugin.SWITCHES)}
    main(["init", "--ci", "github"])
    main(["init", "--ci", "gitlab"])
    for path in (WORKFLOW, Path(".gitlab/visualbias.gitlab-ci.yml")):
        words = path.read_text().split()
        used = {word.partition("=")[0] for word in words if word.startswith("--visualbias-")}
        assert len(used) >= 4
        assert used <= names


def test_a_checkpoint_called_like_one_before_is_the_model_before(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("w/pretrained.pth", "p" * 100)
    put("w/run3/epoch_10.pth", "e" * 100, age=50)
    put("w/run3/epoch_09.pth", "e" * 100, age=90)
    put("w/run3/epoch_11_optimizer.pth", "o" * 300)
    put("w/run3/head.pth", "small")
    known = {"pretrained.pth": Known("resnet18"), "epoch_10.pth": Known("resnet18", "ema")}
    asked = recognising(monkeypatch, known)
    assert main(["init"]) == 0
    assert models() == {
        "before": {"source": "timm", "name": "resnet18", "checkpoint": "../w/pretrained.pth"},
        "after": {
            "source": "timm",
            "name": "resnet18",
            "checkpoint": "../w/run3/epoch_10.pth",
            "container": "ema",
        },
    }
    assert asked == [("epoch_10.pth", (), True), ("pretrained.pth", ("resnet18",), False)]


def test_a_checkpoint_of_another_network_is_not_the_model_before(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("base.pt")
    put("tuned.pt")
    recognising(monkeypatch, {"tuned.pt": Known("resnet18")})
    main(["init"])
    assert [*models()] == ["after"]


def test_an_unknown_architecture_is_said_with_what_to_write_and_check_says_so_too(
    repository: Path, capsys: Output
) -> None:
    put("model.ckpt")
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert "no architecture of timm that was tried fits it" in said
    assert (
        "to do in bias_specs/first.bias.yaml: put the name of timm's architecture in the place of "
        "NAME_OF_ITS_ARCHITECTURE, or a 'factory' of yours: until then the run ends with an error "
        "that says so"
    ) in said
    assert models()["after"]["name"] == "NAME_OF_ITS_ARCHITECTURE"
    assert main(["check", str(SPEC)]) == 1
    assert "timm has no model 'NAME_OF_ITS_ARCHITECTURE'" in capsys.readouterr().out


def test_a_function_that_returns_a_network_is_proposed(repository: Path, capsys: Output) -> None:
    put("model.pt")
    put("src/nets/zoo.py", "def of(n): ...\ndef build() -> 'nn.Module':\n    raise SystemExit\n")
    assert main(["init"]) == 0
    assert models()["after"] == {
        "source": "factory",
        "call": "nets.zoo:build",
        "checkpoint": "../model.pt",
        "transform": {"size": 224},
    }
    assert "src/nets/zoo.py:2 seems to return the network" in capsys.readouterr().out
    assert main(["check", str(SPEC)]) == 0


def test_of_several_functions_that_the_path_names_is_proposed(repository: Path) -> None:
    """It returns a class of the file that is a network."""
    put("weights/resnet32_best.pth")
    put(
        "nets.py",
        "class Net(nn.Module): ...\nclass Other: ...\ndef resnet3() -> Other: ...\n"
        "def resnet20() -> Net: ...\ndef resnet32(classes: int = 10) -> Net: ...\n"
        "def resnet(n: int) -> Net: ...\n",
    )
    main(["init"])
    assert models()["after"]["call"] == "nets:resnet32"


def test_names_in_calls_of_timm_are_tried_first(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("train.py", "import timm\nnet = timm.create_model('swin_tiny', num_classes=3)\n")
    put("model.pt")
    asked = recognising(monkeypatch, {})
    main(["init"])
    assert asked == [("model.pt", ("swin_tiny",), True)]


def test_a_pointer_of_git_lfs_is_not_looked_into(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    put("model.pt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    put("train.py", "import timm\nnet = timm.create_model(model_name='resnet34')\n")
    asked = recognising(monkeypatch, {"model.pt": Known("resnet18")})
    assert main(["init"]) == 0
    assert asked == []
    assert models()["after"]["name"] == "resnet34"
    assert "run 'git lfs pull'" in capsys.readouterr().out


def test_a_checkpoint_that_cannot_be_read_is_said_and_kept(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    put("model.pt")

    def fail(path: Path, **_: object) -> None:
        raise EncoderError(f"the checkpoint {path.name} is damaged")

    monkeypatch.setattr(init, "_recognise", fail)
    assert main(["init"]) == 0
    assert "the checkpoint model.pt is damaged" in capsys.readouterr().out
    assert models()["after"]["checkpoint"] == "../model.pt"


def test_a_newest_checkpoint_that_breaks_off_is_left_out_and_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """A training that is under way is still writing it."""
    put("runs/whole.pt")
    put("runs/half.pt")
    os.utime("runs/whole.pt", (1, 1))

    def recognise(path: Path, **_: object) -> Known:
        if path.name == "half.pt":
            raise EncoderError(f"the checkpoint {path} is damaged; copy or save it again")
        return Known("resnet18")

    monkeypatch.setattr(init, "_recognise", recognise)
    assert main(["init"]) == 0
    assert models()["after"]["checkpoint"] == "../runs/whole.pt"
    said = capsys.readouterr().out
    assert "left out: the checkpoint runs/half.pt is damaged; copy or save it again\n" in said


def test_a_spec_that_is_kept_has_nothing_to_do_but_what_concerns_it(
    repository: Path, capsys: Output
) -> None:
    put(str(SPEC), "mine")
    assert main(["init", "--schema"]) == 1
    said = capsys.readouterr().out
    assert "to do in bias_specs/first.bias.yaml" not in said
    line = "# yaml-language-server: $schema=bias.schema.json"
    assert f"let bias_specs/first.bias.yaml begin with the line '{line}'" in said


def test_the_spec_says_where_the_size_of_images_goes(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("model.pt")
    recognising(monkeypatch, {"model.pt": Known("resnet18")})
    assert main(["init"]) == 0
    text = " ".join(SPEC.read_text().split())
    assert "Images are prepared as timm says for resnet18." in text
    assert "'transform: {size: 64}'" in text


def test_nothing_gives_an_untrained_stand_in_that_gates_nothing(
    repository: Path, capsys: Output
) -> None:
    assert main(["init"]) == 0
    said = capsys.readouterr().out
    assert models() == {"stand-in": {"source": "timm", "name": "test_resnet", "pretrained": False}}
    assert "put your model in the place of 'stand-in'" in said
    assert "no workflow is written; 'visualbias init --ci github' or '--ci gitlab' does" in said
    assert sorted(path.name for path in repository.iterdir()) == ["bias_specs", "pytest.ini"]
    assert main(["check", str(SPEC)]) == 0


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "[project]\nname = 'x'\n[tool.pytest.ini_options]\naddopts = '-q'\n"),
        ("setup.cfg", "[tool:pytest]\naddopts = -q\n"),
        ("tox.ini", "[tox]\n[pytest]\naddopts = -q\n"),
        ("pytest.ini", "[pytest]\naddopts = -q\n"),
    ],
)
def test_a_configuration_of_pytest_stays_as_it_is(
    repository: Path, capsys: Output, file: str, text: str
) -> None:
    put(file, text)
    assert main(["init"]) == 0
    assert Path(file).read_text() == text
    assert not Path("pytest.ini").exists() or file == "pytest.ini"
    assert f"{file} configures pytest and stays as it is" in capsys.readouterr().out


def test_a_pyproject_without_pytest_is_no_configuration(repository: Path) -> None:
    put("pyproject.toml", "[project]\nname = 'x'\ndependencies = ['timm']\n")
    main(["init", "--ci", "gitlab"])
    assert Path("pytest.ini").is_file()
    job = yaml.safe_load(Path(".gitlab/visualbias.gitlab-ci.yml").read_text())["visualbias"]
    assert job["script"][1] == "uv pip install --system . pytest-visualbias"


def test_gitlab_gets_a_file_of_its_own_that_its_configuration_includes(
    repository: Path, capsys: Output
) -> None:
    put(".git/config", '[remote "origin"]\n\turl = git@gitlab.example.org:me/github-tools.git\n')
    assert main(["init"]) == 0
    including = yaml.safe_load(Path(".gitlab-ci.yml").read_text())
    assert including == {"include": [{"local": ".gitlab/visualbias.gitlab-ci.yml"}]}
    job = yaml.safe_load(Path(including["include"][0]["local"]).read_text())["visualbias"]
    assert job["cache"]["when"] == job["artifacts"]["when"] == "always"
    assert job["script"][-1].startswith("pytest --visualbias --visualbias-strict ")
    capsys.readouterr()
    assert main(["init"]) == 0
    assert "to do in .gitlab-ci.yml" not in capsys.readouterr().out


def test_a_configuration_of_gitlab_that_is_there_is_not_touched(
    repository: Path, capsys: Output
) -> None:
    put(".gitlab-ci.yml", "stages: [test]\n")
    assert main(["init", "--force"]) == 0
    assert Path(".gitlab-ci.yml").read_text() == "stages: [test]\n"
    assert (
        "to do in .gitlab-ci.yml: add '- local: .gitlab/visualbias.gitlab-ci.yml' under 'include:'"
    ) in capsys.readouterr().out


def test_what_is_there_is_kept_unless_forced(repository: Path, capsys: Output) -> None:
    put(str(SPEC), "mine")
    assert main(["init", "--ci", "github"]) == 1
    assert SPEC.read_text() == "mine"
    assert "kept: bias_specs/first.bias.yaml; --force replaces it" in capsys.readouterr().out
    assert WORKFLOW.is_file()
    assert main(["init", "--ci", "github", "--force"]) == 0
    assert "visualbias: 1" in SPEC.read_text()
    said = capsys.readouterr().out
    assert "as it was: .github/workflows/visualbias.yml\n" in said
    assert main(["init", "--ci", "github"]) == 0


def test_a_link_is_replaced_and_never_written_through(repository: Path, tmp_path: Path) -> None:
    put("elsewhere.txt", "mine")
    SPEC.parent.mkdir()
    SPEC.symlink_to(repository / "elsewhere.txt")
    assert main(["init"]) == 1
    assert main(["init", "--force"]) == 0
    assert Path("elsewhere.txt").read_text() == "mine"
    assert not SPEC.is_symlink()


def test_a_dry_run_shows_every_file_and_writes_none(repository: Path, capsys: Output) -> None:
    assert main(["init", "--dry-run", "--ci", "github"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("--- ")] == [
        "--- bias_specs/first.bias.yaml",
        "--- pytest.ini",
        "--- .github/workflows/visualbias.yml",
    ]
    assert list(repository.iterdir()) == []


def test_a_folder_that_is_none_is_a_wrong_call(repository: Path, capsys: Output) -> None:
    assert main(["init", "no\nwhere"]) == 2
    assert capsys.readouterr().err == "no\\nwhere is no folder; name a repository\n"


def test_a_folder_that_cannot_be_made_is_one_sentence(repository: Path, capsys: Output) -> None:
    put("bias_specs", "a file")
    assert main(["init"]) == 2
    said = capsys.readouterr().err
    assert said.endswith("bias_specs cannot be written (File exists); correct it\n")
    assert len(said.splitlines()) == 1


def test_caches_environments_hidden_folders_and_links_are_left_out(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    for folder in (".venv/lib", "cache", "node_modules/x", "build", ".cache"):
        put(f"{folder}/model.pt")
    put("venv/pyvenv.cfg")
    put("venv/lib/model.pt")
    (repository / "link").symlink_to(repository / ".venv")
    put("empty.pt", "")
    main(["init"])
    assert "checkpoints: no file\n" in capsys.readouterr().out


def test_a_large_repository_is_looked_at_in_part_and_that_is_said(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    for index in range(30):
        put(f"f{index:02}.txt")
    monkeypatch.setattr(looking, "MOST_ENTRIES", 20)
    main(["init"])
    assert "the repository is large: not all of it was looked at" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["a b.pt", "it's.pt", 'q".pt', "no: {x}, [y] # z.pt", "ünï.pt", "-.pt", "%s{0}.pt", "x'*?[.pt"],
)
def test_strange_names_reach_the_spec_whole_and_the_workflow_stays_sound(
    repository: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    put(f"run {name}/{name}")
    recognising(monkeypatch, {name: Known("resnet18")})
    assert main(["init", "--ci", "github"]) == 0
    assert models()["after"]["checkpoint"] == f"../run {name}/{name}"
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["visualbias"]["steps"]
    key = next(step["with"]["key"] for step in steps if step.get("id") == "embeddings")
    assert key.endswith("${{ hashFiles('bias_specs/**') }}")


def test_the_schema_is_written_beside_the_spec_where_it_is_asked_for(repository: Path) -> None:
    assert main(["init", "--schema"]) == 0
    first = SPEC.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=bias.schema.json"
    assert (SPEC.parent / "bias.schema.json").is_file()
    assert main(["check", str(SPEC)]) == 0


@pytest.mark.parametrize(
    "text", ["no", "1e3", "null", "true", "x: y", "a #b", "- a", "", "{a", "~"]
)
def test_quoted_text_reads_back_as_itself(text: str) -> None:
    assert yaml.safe_load(f"k: {quoted(text)}") == {"k": text}
    assert yaml.safe_load(f"{{k: {quoted(text)}, l: 1}}") == {"k": text, "l": 1}


def test_the_place_of_a_factory_can_be_found_by_the_gate(repository: Path) -> None:
    from pytest_visualbias.models.source_code import module_file

    put("src/nets/zoo.py", "def build_model(): ...\n")
    put("m.pt")
    main(["init"])
    call = models()["after"]["call"]
    context = Context(folder=SPEC.parent, project=repository)
    assert module_file(call.partition(":")[0], context) == repository / "src/nets/zoo.py"


def test_a_disk_that_fills_up_is_named_by_its_folder(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pytest_visualbias.cli.init._write_file", full)
    assert main(["init"]) == 2
    assert "None" not in capsys.readouterr().err
