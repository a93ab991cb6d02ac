"""What goes wrong on the way to a verdict: it is said, and it is never green."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import PIXELS
from tests.plugin.conftest import one_test, sentences

if TYPE_CHECKING:
    from tests.acceptance.conftest import Gate
    from tests.plugin.conftest import Project

SETS = "{x: x, y: y, a: a, b: b}"
RECORDED = "bias_specs/__visualbias__/x.json"
ALONE = "\n  after: {source: pixels, checkpoint: ../after.txt}\n"
HOT = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3 * 8 * 8, 8)
        self.second = torch.nn.Linear(8, 8)
        torch.nn.init.normal_(self.first.weight, std=1e5)

    def forward(self, x):
        return self.second(self.first(x.flatten(1)))
"""
FACTORY = """
  after: {source: factory, call: "nets:Net", transform: {size: 8}, checkpoint: ../hot.pt}
"""


def process(project: Project, *arguments: str) -> pytest.RunResult:
    """Run the gate in a process of its own, which may be killed or run into walls."""
    plugins = ("-p", "xdist.plugin", "-p", "pytest_visualbias.plugin")
    json = "--visualbias-json=out.json"
    return project.pytester.runpytest_subprocess(*plugins, "--visualbias", json, *arguments)


def test_specs_of_which_nothing_is_selected_are_5(pixels: Project, gate: Gate) -> None:
    gate.says(5, given=("-m", "not visualbias"))
    assert pixels.report()["results"] == []


def test_a_suite_whose_images_were_not_fetched_is_an_error(pixels: Project, gate: Gate) -> None:
    (pixels.path / "bias_specs/x.bias.yaml").write_text(
        f"visualbias: 1\nmodels:{PIXELS}"
        "suite: {name: ieat, tests: [Insect-Flower, Weapon], limits: {max_growth: 0.2}}\n"
    )
    gate.says(1, "visualbias fetch ieat", "4 errors")
    assert set(pixels.outcomes().values()) == {"error"}


def test_a_folder_that_lost_half_of_its_images_is_not_compared(
    pixels: Project, serial: Gate, gate: Gate
) -> None:
    """With fewer images almost any growth would drown in chance."""
    pixels.spec(
        one_test("one", "{max_growth: 0.5}"),
        head="stimuli: ../stimuli",
        models=ALONE,
        concepts=SETS,
    )
    serial.says(0, "1 recorded", given=("--visualbias-update-new",))
    for name in ("3.png", "4.png"):
        (pixels.path / "stimuli/x" / name).unlink()
    gate.says(1, "not_comparable: ", RECORDED, "(5 images then, 3 now)")


def test_a_checkpoint_of_another_architecture_is_an_error(
    networks: Project, weights: Path, serial: Gate
) -> None:
    """Loading knows nothing of workers."""
    shutil.copy(weights / "vit.safetensors", networks.path / "after.safetensors")
    serial.says(1, "after.safetensors", "1 passed, 1 error")


def test_a_model_compared_with_itself_has_no_growth_and_is_warned_of(
    pixels: Project, gate: Gate
) -> None:
    shutil.copy(pixels.path / "before.txt", pixels.path / "after.txt")
    pixels.spec(
        one_test("one", "{max_growth: 0.2}"),
        head="stimuli: ../stimuli",
        models=PIXELS,
        concepts=SETS,
    )
    same = "'before' and 'after' "
    gate.says(0, same)
    row = pixels.row()
    assert (row["growth"]["value"], row["growth"]["p_verdict"]) == (0, 1)
    assert any(same in warning for warning in row["warnings"])


@pytest.mark.parametrize(
    "weights", ["0 " * 16 + "1", "0 " * 16, "nan " + "1 " * 15], ids=["constant", "zeros", "nan"]
)
def test_a_model_that_collapsed_is_an_error(pixels: Project, serial: Gate, weights: str) -> None:
    """Not an effect of zero. Numbers know nothing of workers."""
    (pixels.path / "after.txt").write_text(weights)
    serial.says(1, "1 passed, 1 error")
    assert pixels.row()["outcome"] == "error"


def test_an_overflow_in_half_precision_is_an_error(networks: Project, serial: Gate) -> None:
    """In float32 the same network can be judged. Numbers know nothing of workers."""
    import torch

    (networks.path / "nets.py").write_text(HOT)
    scope: dict[str, type[torch.nn.Module]] = {}
    exec(HOT, scope)
    torch.save(scope["Net"]().state_dict(), networks.path / "hot.pt")
    networks.spec(
        one_test("one", "{max_effect: 1.8}"),
        head="stimuli: ../stimuli",
        models=FACTORY,
        concepts=SETS,
    )
    serial()
    assert networks.row()["effect_size"] is not None
    serial.says(1, given=("--visualbias-precision=fp16",))
    assert networks.row()["outcome"] == "error"


@pytest.mark.parametrize("limits", ["{max_effect: 2}", "{max_growth: 1.95}"])
def test_a_limit_that_nothing_can_exceed_is_an_error_of_the_spec(
    pixels: Project, serial: Gate, limits: str
) -> None:
    """Specs are read alike in every process."""
    pixels.spec(one_test("one", limits), head="stimuli: ../stimuli", models=PIXELS, concepts=SETS)
    serial.says(2, "tests[0].limits.max_", "1.90")


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_failures_and_a_report(
    pixels: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does where memory runs out. Without workers there is nobody left to tell."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    with (pixels.path / "after.txt").open("a") as stream:
        stream.write(" SIGKILL")
    result = process(pixels, "-n2")
    assert result.ret == 1, result.stdout.str()
    result.assert_outcomes(passed=1, failed=1)
    assert "crashed while running" in result.stdout.str()
    assert pixels.outcomes() == {"before::one[pooled]": "pass", "after::one[pooled]": "error"}


def test_a_disk_that_is_full_while_caching_costs_no_result_and_is_said(
    pixels: Project, serial: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers cache as one process does."""
    serial("--visualbias-no-cache")
    right = pixels.report()["results"]
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if ".pytest_cache/d/visualbias" in path.as_posix():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        full = "No space left on device"
        assert serial.says(1, full).count(full) == 1
    assert pixels.report()["results"] == right
    assert full not in serial.says(1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("kind", ["json", "html", "md", "csv"])
def test_a_disk_that_is_full_while_a_report_is_written_fails_the_run(
    pixels: Project, serial: Gate, kind: str
) -> None:
    """With workers, one process writes, too."""
    pixels.spec(one_test("one", "{}"), head="stimuli: ../stimuli", models=PIXELS, concepts=SETS)
    result = serial.run("--visualbias", f"--visualbias-{kind}=/dev/full")
    assert result.ret == 1
    result.assert_outcomes(passed=2)
    assert "/dev/full" in sentences(result)


@pytest.mark.parametrize("option", [(), ("--visualbias-cache=taken/cache",)])
def test_a_cache_that_cannot_be_made_costs_no_result(
    pixels: Project, serial: Gate, option: tuple[str, ...]
) -> None:
    """The folder may be read-only, or a file may lie in its place. Workers have the same."""
    for name in (".pytest_cache", "taken"):
        (pixels.path / name).touch()
    # Pytest's own cache has a warning to give.
    serial.says(1, given=("-Wignore", *option))
    assert pixels.breaches() == [("effect", True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "finished"), [("after", {"before::one[pooled]": "pass"}), ("before", {})]
)
def test_an_interrupted_run_is_2_and_reports_what_it_finished(
    pixels: Project, monkeypatch: pytest.MonkeyPatch, model: str, finished: dict[str, str]
) -> None:
    """Its baseline keeps what was recorded. Workers are told to stop by pytest-xdist."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    baseline = pixels.path / RECORDED
    assert process(pixels, "--visualbias-update-new").ret == 1
    old = baseline.read_bytes()
    with (pixels.path / f"{model}.txt").open("a") as stream:
        stream.write(" SIGINT")
    result = process(pixels, "--visualbias-update")
    assert result.ret == 2, result.stdout.str()
    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert pixels.outcomes() == finished
    assert pixels.report()["summary"]["exit_status"] == 2
    assert baseline.read_bytes() == old
