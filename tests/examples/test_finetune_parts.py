"""The parts of the finetuning example: which images it chooses, what it loads, how it trains."""

from __future__ import annotations

import csv
import hashlib
import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pytest_visualbias.spec.parser import parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "finetune_gate"
TABLE = ROOT / "docs" / "figures" / "dose_response.csv"
NAMES = ("cifar_resnet", "dose", "figure", "finetune", "images", "selection", "weights")
ASKED = {"labels": ("sports", "fashion"), "groups": ("man", "woman")}
KEYS = ("", "_low", "_high")
SIZES = {"sports_man": 12, "sports_woman": 4, "fashion_man": 6, "fashion_woman": 15}

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's modules are found for one test, and torch is left as it was."""
    import torch

    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)
    for name in NAMES:
        sys.modules.pop(name, None)


def module(name: str) -> ModuleType:
    """Import a module of the example."""
    return importlib.import_module(name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four folders of small images, no two of them alike."""
    rng = np.random.default_rng(1)
    for name, size in SIZES.items():
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for number in range(size):
            pixels = rng.integers(0, 256, size=(32, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
        (folder / "notes.txt").write_text("no image")
    return tmp_path / "data"


@pytest.fixture
def init(tmp_path: Path) -> Path:
    """A checkpoint of an untrained network, with the classifier of another task."""
    import torch

    torch.manual_seed(0)
    network = module("cifar_resnet").resnet20()
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    weights["module.linear.weight"] = torch.zeros(10, 64)
    path = tmp_path / "init.th"
    torch.save({"state_dict": weights}, path)
    return path


@pytest.mark.parametrize("correlation", [0.5, 0.75, 1.0])
def test_labels_are_equally_many_and_show_their_group_in_the_share_asked_for(
    data: Path, correlation: float
) -> None:
    """Eight images of a label: what 4 women in sports allow at a correlation of 0.5."""
    chosen = module("selection").select(data, **ASKED, correlation=correlation, seed=0)
    counts = dict.fromkeys(SIZES, 0)
    for one in chosen.learned:
        counts[one.path.parent.name] += 1
        assert one.label == ("sports", "fashion").index(one.path.parent.name.split("_")[0])
    agreeing = round(8 * correlation)
    assert counts == {
        "sports_man": agreeing,
        "sports_woman": 8 - agreeing,
        "fashion_man": 8 - agreeing,
        "fashion_woman": agreeing,
    }


def test_no_image_is_chosen_twice_and_none_is_lost(data: Path) -> None:
    chosen = module("selection").select(data, **ASKED, correlation=0.75, seed=0)
    paths = [one.path for one in chosen.learned + chosen.left_over]
    assert sorted(paths) == sorted(data.rglob("*.png"))


def test_another_correlation_exchanges_no_more_images_than_it_must(data: Path) -> None:
    """Of each label a quarter changes its group from 0.5 to 0.75, and the rest stays."""
    select = module("selection").select
    half, more = (set(select(data, **ASKED, correlation=c, seed=3).learned) for c in (0.5, 0.75))
    assert len(half & more) == 12
    assert half != set(select(data, **ASKED, correlation=0.5, seed=4).learned)


@pytest.mark.parametrize("correlation", [0.49, 1.01, float("nan")])
def test_a_correlation_out_of_range_is_refused(data: Path, correlation: float) -> None:
    selection = module("selection")
    with pytest.raises(selection.UserError, match=r"0\.5"):
        selection.select(data, **ASKED, correlation=correlation, seed=0)


def test_the_finetuning_sees_images_as_the_gate_does(tmp_path: Path) -> None:
    """The same pixels, of an image that has to be shrunk, cropped and turned."""
    from pytest_visualbias.models.preprocessing import make_transform
    from pytest_visualbias.spec.model_entries import Transform
    from pytest_visualbias.stimuli.decoding import decode

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, size=(50, 91, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    path = tmp_path / "turned.png"
    image.save(path, exif=turned)
    example = module("selection").Example(path=path, label=1)
    loaded = module("images").load_images([example], 32)
    shown = make_transform(Transform(size=32))(decode(path))
    assert np.abs(loaded.pixels[0].numpy() - shown).max() < 1e-5


def finetuned(data: Path, init: Path, out: Path, *arguments: str) -> Path:
    """Finetune for one epoch by the command line."""
    names = ["--labels", "sports,fashion", "--groups", "man,woman"]
    given = [f"--data={data}", f"--init={init}", f"--out={out}", "--epochs=1", *names]
    module("finetune").main([*given, *arguments])
    return out


def test_a_seed_gives_the_same_bytes_again_and_another_seed_does_not(
    data: Path, init: Path, tmp_path: Path
) -> None:
    first, second, other = (
        finetuned(data, init, tmp_path / f"{name}.safetensors", f"--seed={seed}").read_bytes()
        for name, seed in (("first", 7), ("second", 7), ("other", 8))
    )
    assert first == second
    assert first != other


def test_the_note_has_the_digests_of_exactly_the_images_learned_from(
    data: Path, init: Path, tmp_path: Path
) -> None:
    out = finetuned(data, init, tmp_path / "after.safetensors", "--correlation=1")
    note = module("weights").read_note(out)
    chosen = module("selection").select(data, **ASKED, correlation=1.0, seed=0)
    digests = {hashlib.sha256(one.path.read_bytes()).hexdigest() for one in chosen.learned}
    assert set(note["learned_images"]) == digests
    assert str(tmp_path) not in str(note)


def test_all_weights_learn_batch_statistics_too_and_the_classifier_stays_behind(
    data: Path, init: Path, tmp_path: Path
) -> None:
    """Training is in training mode; what is written loads into the network that was named."""
    import torch
    from safetensors.torch import load_file

    before = module("cifar_resnet").resnet20().state_dict()
    before |= {
        name.removeprefix("module."): value
        for name, value in torch.load(init, weights_only=True)["state_dict"].items()
    }
    after = load_file(finetuned(data, init, tmp_path / "after.safetensors"))
    assert before.keys() - after.keys() == {"linear.weight"}
    assert [name for name in after if torch.equal(before[name], after[name])] == []
    assert {value.dtype for value in after.values()} == {torch.float32, torch.int64}


def test_the_trained_network_is_in_evaluation_mode(data: Path, init: Path) -> None:
    finetune, weights = module("finetune"), module("weights")
    chosen = module("selection").select(data, **ASKED, correlation=0.5, seed=0)
    recipe = finetune.Recipe(correlation=0.5, seed=0, epochs=1, learning_rate=0.01)
    network = weights.load_network("cifar_resnet:resnet20", init)
    model = finetune.train(network, module("images").load_images(chosen.learned, 32), recipe)
    assert not any(part.training for part in model.modules())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--labels=sports"], "'sports' is not two names with a comma between them"),
        (["--labels=sports,sports"], "'sports,sports' is not two names"),
        (["--labels=sports,cars"], "cars_man holds no images; correct --data, --labels or"),
        (["--epochs=0"], "'0' is no number from 1"),
        (["--correlation=0.3"], "the correlation is 0.3; give one from 0.5"),
        (["--init=absent.th"], "absent.th is no checkpoint"),
        (["--architecture=absent:resnet20"], "No module named 'absent'; give module:function"),
        (["--architecture=cifar_resnet"], "give module:function on Python's path"),
        (["--architecture=cifar_resnet:resnet32"], "the checkpoint has no layer1.3.bn1.bias;"),
    ],
)
def test_a_users_mistake_is_one_sentence(
    data: Path,
    init: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    with pytest.raises(SystemExit) as stopped:
        finetuned(data, init, tmp_path / "after.safetensors", *arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "after.safetensors").exists()


def test_a_file_that_is_no_checkpoint_is_refused_in_a_sentence(tmp_path: Path) -> None:
    import torch

    weights = module("weights")
    (tmp_path / "damaged.safetensors").write_bytes(b"no header")
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    for name in ("damaged.safetensors", "tensor.pt"):
        with pytest.raises(module("selection").UserError, match=rf"{name} is no checkpoint \("):
            weights.load_network("cifar_resnet:resnet20", tmp_path / name)


def test_a_checkpoint_of_a_deeper_network_is_not_cut_short(tmp_path: Path) -> None:
    """Its names are all there, and more: loaded loosely, it would be another network."""
    import torch

    path = tmp_path / "deeper.th"
    torch.save(module("cifar_resnet").resnet56().state_dict(), path)
    weights = module("weights")
    with pytest.raises(module("selection").UserError, match=r"layer1\.3\.bn1"):
        weights.load_network("cifar_resnet:resnet20", path)


def test_stimuli_that_were_learned_from_are_refused(data: Path, init: Path, tmp_path: Path) -> None:
    out = finetuned(data, init, tmp_path / "after.safetensors")
    learned = module("weights").read_note(out)["learned_images"]
    refuse = module("dose").refuse_overlap
    refuse([out], {"sets": {"X": {"images": ["0" * 64]}}})
    with pytest.raises(module("selection").UserError, match="1 of the stimuli"):
        refuse([out], {"sets": {"X": {"images": ["0" * 64, learned[0]]}}})


def test_the_architecture_is_the_one_of_the_other_example() -> None:
    """A model repository has its own copy; ours are kept alike."""
    other = EXAMPLE.parent / "own_architecture" / "cifar_resnet.py"
    assert (EXAMPLE / "cifar_resnet.py").read_bytes() == other.read_bytes()


@pytest.mark.parametrize("name", ["gender", "recipe"])
def test_the_specs_are_valid(name: str) -> None:
    path = EXAMPLE / "bias_specs" / f"{name}.bias.yaml"
    parsed = parse_spec(path.read_text("utf-8"), file=path.name, folder=path.parent)
    assert [test.name for test in parsed.spec.tests][:2] == ["gender-sports", "labels"]


def test_the_readme_shows_the_numbers_of_the_table() -> None:
    """Effect, growth, p and the seeds' growth of every correlation are as they were measured."""
    text = (EXAMPLE / "README.md").read_text("utf-8").replace("−", "-")
    with TABLE.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    for correlation in ("0.5", "0.7", "0.9", "1"):
        *seeds, mean = [row for row in rows if row["correlation"] == correlation]
        assert (len(seeds), mean["seed"]) == (5, "all")
        effect, growth = (
            "{:.2f} ({:.2f} to {:.2f})".format(*(float(mean[key + end]) for end in KEYS))
            for key in ("after", "growth")
        )
        grown = ", ".join(f"{float(row['growth']):.2f}" for row in seeds)
        caught = sum(row["outcome"] == "fail" for row in seeds)
        p = f"{float(mean['growth_p']):.2g}"
        cells = [correlation, effect, growth, p, grown, f"{caught} of 5"]
        assert f"| {' | '.join(cells)} |" in text


def test_a_table_without_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "empty.csv").write_text(TABLE.read_text("utf-8").splitlines()[0])
    with pytest.raises(SystemExit):
        module("figure").main([str(tmp_path / "empty.csv"), str(tmp_path / "figure.svg")])
    assert "empty.csv" in capsys.readouterr().err


def test_the_figure_has_a_curve_for_every_seed_and_one_for_all(tmp_path: Path) -> None:
    """The same table gives the same file, with its words as text."""
    pytest.importorskip("matplotlib")
    figure = module("figure")
    for name in ("first", "second"):
        figure.main([str(TABLE), str(tmp_path / f"{name}.svg"), "--limit=0.2"])
    svg = (tmp_path / "first.svg").read_text("utf-8")
    assert svg == (tmp_path / "second.svg").read_text("utf-8")
    words = re.findall(r"<text[^>]*>(.*?)</text>", svg)
    assert {"effect size d, judged", "growth of |d|", "one seed", "limit 0.2"} <= {*words}
    single, together = figure.read_rows(TABLE)
    assert (len(single), len(together)) == (20, 4)
    axes = figure.draw(single, together, None).axes
    # Five seeds and the one of their legend, all together, and a level to compare with.
    assert [len(one.get_lines()) for one in axes] == [5 + 1 + 1 + 1] * 2
