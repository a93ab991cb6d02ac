"""A training run as a series of checkpoints: what is judged, what is shown, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import LATER, SETS, control_test, one_test, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from PIL import Image

    from pytest_visualbias.models.encoder import Context, Identity
    from pytest_visualbias.models.torch_encoder import TorchEncoder
    from pytest_visualbias.spec.model_entries import TimmModel
    from tests.plugin.conftest import Project

BEFORE = "\n  before: {source: timm, name: test_resnet, checkpoint: ../before.safetensors}"
SERIES = """
  after:
    source: timm
    name: test_resnet
    checkpoints: ../run/epoch_*.safetensors
    series: epoch
"""
ALONE = """
  after: {{source: timm, name: test_resnet, checkpoint: ../run/epoch_{step}.safetensors}}
"""
LIMITS = "{max_effect: 0.1, max_growth: 0.1}"
PLACE = "bias_specs/x.bias.yaml:7:5: models.after.checkpoints: "
NUMBERS = ("effect_size", "effect_size_attributes", "effect_judged", "gap", "ci_low", "ci_high")
PS = ("p_value", "p_attributes", "p_welch", "p_verdict")


@pytest.fixture(scope="session")
def epochs(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints on the way from one network to another: epochs 1, 2 and 10."""
    import safetensors.torch  # only where a network is wanted

    folder = tmp_path_factory.mktemp("epochs")
    start, end = (
        safetensors.torch.load_file(str(weights / f"{name}.safetensors"))
        for name in ("before", "after")
    )
    for step, share in ((1, 0.2), (2, 0.6), (10, 1.0)):
        mixed = {
            key: value + share * (end[key] - value) if value.is_floating_point() else value
            for key, value in start.items()
        }
        safetensors.torch.save_file(mixed, str(folder / f"epoch_{step}.safetensors"))
    return folder


@pytest.fixture
def run(networks: Project, epochs: Path) -> Project:
    """A project with a training run of three epochs."""
    shutil.copytree(epochs, networks.path / "run")
    return networks


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Names of the checkpoints that were opened, and how many networks were there beside each."""
    from pytest_visualbias.models import timm as source

    opened: list[tuple[str, int]] = []
    held: list[weakref.ref[TorchEncoder]] = []
    original = source.open_timm

    def noted(entry: TimmModel, identity: Identity, context: Context) -> TorchEncoder:
        opened.append((identity.label, sum(one() is not None for one in held)))
        found = original(entry, identity, context)
        held.append(weakref.ref(found))
        return found

    monkeypatch.setattr(source, "open_timm", noted)
    return opened


def specify(project: Project, *tests: str, models: str = BEFORE + SERIES, head: str = "") -> None:
    project.spec(
        *(tests or [one_test("one", LIMITS)]),
        head=f"stimuli: ../stimuli\n{head}",
        models=models,
        concepts=SETS,
    )


def gated(gate: str) -> str:
    return f"{BEFORE}{SERIES}    gate: {gate}\n"


def series(project: Project, test: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = project.row(test)["series"]
    return found


def points(project: Project, test: str = "one") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = series(project, test)["points"]
    return found


class TestPoints:
    def test_each_is_what_a_run_with_that_checkpoint_alone_gives(self, run: Project) -> None:
        specify(run)
        run.gate()
        found = points(run)
        assert [one["label"] for one in found] == ["1", "2", "10"]
        assert [one["checkpoint"] for one in found] == [
            f"epoch_{step}.safetensors" for step in (1, 2, 10)
        ]
        for point in found:
            alone = BEFORE + ALONE.format(step=point["label"])
            specify(run, models=alone, head="settings: {correction: none}")
            run.gate("--visualbias-no-cache")
            row = run.row()
            assert {key: point[key] for key in (*NUMBERS, *PS)} == {
                key: row[key] for key in (*NUMBERS, *PS)
            }
            assert point["growth"] == {**row["growth"], "p_adjusted": None}
            assert point["outcome"] == row["outcome"]
            (model,) = (one for one in run.report()["models"] if one["model"] == "after")
            assert point["fingerprint"] == model["trials"][0]["fingerprint"]
            assert point["digest"] == model["trials"][0]["checkpoint"]

    def test_copies_of_one_checkpoint_are_flat_and_have_not_grown(self, run: Project) -> None:
        shutil.rmtree(run.path / "run")
        (run.path / "run").mkdir()
        for step in range(4):
            shutil.copy(run.path / "before.safetensors", run.path / f"run/epoch_{step}.safetensors")
        specify(run)
        run.gate()
        found = points(run)
        assert [one["label"] for one in found] == ["0", "1", "2", "3"]
        assert len({one["digest"] for one in found}) == 1
        assert len({one["effect_judged"] for one in found}) == 1
        assert {one["growth"]["value"] for one in found} == {0.0}
        assert any("they are not the same weights" in one for one in run.row()["warnings"])

    def test_each_is_compared_with_recorded_results_where_there_is_no_model_before(
        self, run: Project
    ) -> None:
        specify(run, models=ALONE.format(step=1))
        run.gate("--visualbias-update")
        specify(run, models=SERIES)
        run.gate()
        first, *_, last = points(run)
        assert (first["growth"]["from"], first["growth"]["value"]) == ("baseline", 0.0)
        assert last["growth"] == {**run.row()["growth"], "p_adjusted": None}

    def test_the_last_one_is_what_is_recorded(self, run: Project) -> None:
        specify(run, models=SERIES)
        run.gate("--visualbias-update")
        text = next((run.path / "bias_specs/__visualbias__").iterdir()).read_text()
        stored = json.loads(text)
        assert points(run)[-1]["fingerprint"] in text
        assert points(run)[0]["fingerprint"] not in text
        assert "after::one[pooled]" in json.dumps(stored)

    def test_limits_tell_since_when_they_are_exceeded(self, run: Project) -> None:
        specify(run, one_test("one", "{max_effect: 1.87, max_growth: 0.1}"))
        run.gate()
        assert [one["over"] for one in points(run)] == [{"max_effect": True}, {}, {}]
        assert (series(run)["first_over"], series(run)["first_evident"]) == (
            {"max_effect": "1"},
            {"max_effect": "1"},
        )


class TestTheLast:
    def test_its_verdict_does_not_depend_on_how_many_came_before(self, run: Project) -> None:
        """The whole row, to the last digit, but for what says that there is a series."""
        tests = (one_test("one", LIMITS), one_test("two", "{max_effect: 0.3}", X="a", Y="b"))
        tests = (tests[0], tests[1].replace("{A: a, B: b}", "{A: x, B: y}"))
        specify(run, *tests, models=BEFORE + ALONE.format(step=10))
        run.gate()
        alone = run.report()
        specify(run, *tests)
        run.gate()
        found = run.report()
        own = ("series", "spec_digest", "line", "warnings")
        for before, after in zip(alone["results"], found["results"], strict=True):
            assert (after["series"] is not None) == (after["model"] == "after")
            strip = [{k: v for k, v in row.items() if k not in own} for row in (before, after)]
            assert json.dumps(strip[0]) == json.dumps(strip[1])
            told = [
                [one.replace(f":{row['line']}:", ":") for one in row["warnings"]]
                for row in (before, after)
            ]
            assert told[0] == told[1], "but for the line"
        assert found["models"] == alone["models"]

    def test_those_before_it_are_shown_by_their_own_p(self, run: Project) -> None:
        specify(run)
        run.gate()
        assert (series(run)["gate"], series(run)["correction"]) == ("last", "none")
        assert {one["p_adjusted"] for one in points(run)} == {None}
        assert [one["outcome"] for one in points(run)] == ["fail", "fail", "inconclusive"]
        assert run.row()["outcome"] == "inconclusive"
        assert run.row()["family_size"] == 2

    def test_a_control_that_an_earlier_one_does_not_show_is_no_matter(self, run: Project) -> None:
        limit = "{min_effect: 0.1}"
        control = control_test(alternative="less").replace("{min_effect: 0.5}", limit)
        control = control.replace("{X: flower, Y: insect}", "{X: x, Y: y}")
        specify(run, one_test("one", LIMITS), control)
        run.gate()
        assert [one["outcome"] for one in points(run)] == ["invalid"] * 3
        assert {json.dumps(one["over"]) for one in points(run)} == {"{}"}, "it says nothing"
        assert [one["outcome"] for one in points(run, "control")] == ["fail"] * 3


class TestAll:
    def test_the_p_of_every_checkpoint_are_corrected_together(self, run: Project) -> None:
        specify(run, models=gated("all"))
        result = run.gate()
        assert result.ret == 1
        found = points(run)
        raw = [p for one in found for p in (one["p_verdict"], one["growth"]["p_verdict"])]
        shown = [p for one in found for p in (one["p_adjusted"], one["growth"]["p_adjusted"])]
        assert shown == pytest.approx(holm(raw))
        assert run.row()["family_size"] == len(raw)
        assert run.row()["p_adjusted"] == found[-1]["p_adjusted"]
        assert series(run)["correction"] == "holm"

    def test_one_checkpoint_that_fails_fails_the_test_and_is_named(self, run: Project) -> None:
        specify(run, models=gated("all"))
        run.gate()
        assert run.row()["outcome"] == "fail"
        (reason,) = run.row()["reasons"]
        assert "1, 2" in reason
        assert run.breaches() == [("effect", True)]
        specify(run, one_test("one", "{max_effect: 1.895}"), models=gated("all"))
        assert run.gate().ret == 0
        assert run.row()["outcome"] == "pass"

    def test_many_checkpoints_that_fail_are_one_reason_with_the_worst_of_them(
        self, run: Project
    ) -> None:
        for step in range(11, 16):
            target = run.path / f"run/epoch_{step}.safetensors"
            shutil.copy(run.path / "run/epoch_1.safetensors", target)
        test = one_test("one", "{max_effect: 0.6}", evidence="point")
        specify(run, test, models=gated("all"))
        run.gate()
        assert [one["outcome"] for one in points(run)] == ["fail", "fail", "pass", *["fail"] * 5]
        (reason,) = run.row()["reasons"]
        assert "1, 2, 11 to 15" in reason

    def test_of_one_checkpoint_it_is_what_the_last_one_is(self, run: Project) -> None:
        for step in (1, 2):
            (run.path / f"run/epoch_{step}.safetensors").unlink()
        rows = []
        for gate in ("last", "all"):
            specify(run, models=gated(gate))
            run.gate()
            rows.append({**run.row(), "series": None, "spec_digest": None})
        rows[0]["reasons"] = rows[1]["reasons"]
        assert rows[0] == rows[1]

    def test_a_waiver_is_needed_while_one_checkpoint_needs_it(self, run: Project) -> None:
        accept = f"{{max_effect: 1.895, reason: known, until: {LATER}}}"
        waived = one_test("one", "{max_effect: 1.5}", accept=accept)
        specify(run, waived, models=gated("all"))
        run.gate()
        assert run.row()["outcome"] == "accepted"
        assert [one["outcome"] for one in points(run)] == ["accepted", "accepted", "pass"]
        specify(run, waived)
        run.gate()
        assert run.row()["outcome"] == "fail", "the last one alone does not need it"
        assert run.row()["violations"] == []

    def test_what_so_many_p_hide_is_a_warning_and_an_error_where_warnings_count(
        self, run: Project
    ) -> None:
        specify(run, one_test("one", "{max_effect: 0.1}"), models=gated("all"))
        run.gate("--visualbias-strict")
        assert run.row()["outcome"] == "fail"
        for step in range(11, 16):
            target = run.path / f"run/epoch_{step}.safetensors"
            shutil.copy(run.path / "run/epoch_10.safetensors", target)
        run.gate()
        assert any("8 of 8" in one for one in run.row()["warnings"])
        assert run.row()["smallest_detectable_effect"] is None
        run.gate("--visualbias-strict")
        assert run.row()["outcome"] == "error"


def holm(raw: list[float]) -> list[float]:
    """Correct p as Holm (1979) has it, written down anew."""
    order = sorted(range(len(raw)), key=lambda index: raw[index])
    found, least = [0.0] * len(raw), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(raw) - rank) * raw[index]))
        found[index] = least
    return found


class TestWhatIsWrong:
    """What cannot be measured at any checkpoint is an error, whichever of them is judged."""

    @pytest.mark.parametrize("gate", ["last", "all"])
    @pytest.mark.parametrize("is_cut", [True, False])
    def test_a_damaged_checkpoint_in_the_middle_or_one_without_numbers_is_named(
        self, run: Project, gate: str, *, is_cut: bool
    ) -> None:
        import safetensors.torch

        path = run.path / "run/epoch_2.safetensors"
        state = safetensors.torch.load_file(str(path))
        if is_cut:
            path.write_bytes(path.read_bytes()[:2000])
        else:
            nothing = {key: value * float("nan") for key, value in state.items()}
            safetensors.torch.save_file(nothing, str(path))
        specify(run, one_test("one", "{max_effect: 1.895}"), models=gated(gate))
        assert run.gate().ret == 1
        assert (run.row()["outcome"], run.row()["effect_judged"]) == ("error", None)
        (reason,) = run.row()["reasons"]
        assert "epoch 2" in reason
        assert "epoch_2.safetensors" in reason
        if is_cut:
            assert reason.startswith(PLACE)

    @pytest.mark.parametrize("file", ["run/epoch_last.safetensors", "run/epoch_02.safetensors", ""])
    def test_names_must_say_the_order(
        self, run: Project, file: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And the pattern must match something."""
        if file:
            shutil.copy(run.path / "before.safetensors", run.path / file)
        else:
            shutil.rmtree(run.path / "run")
        specify(run)
        assert run.gate().ret == 1
        (reason,) = run.row()["reasons"]
        assert reason.startswith(PLACE)
        assert main(["check", "bias_specs/x.bias.yaml"]) == 1
        assert reason in capsys.readouterr().out


TRIALS = SERIES.replace(
    "checkpoints: ../run/epoch_*.safetensors\n    series: epoch", "checkpoint: RUN"
)
TRIALS = TRIALS.replace("RUN", str([f"../run/epoch_{step}.safetensors" for step in (1, 2, 10)]))


class TestAnUnlikeCheckpoint:
    """One that does not fit is built before any image is embedded, whatever its place."""

    @pytest.fixture
    def events(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names of the checkpoints that were opened, and "image" for each image that was read."""
        from pytest_visualbias.models import timm as source
        from pytest_visualbias.stimuli.decoding import decode

        found: list[str] = []
        opened = source.open_timm

        def opens(entry: TimmModel, identity: Identity, context: Context) -> TorchEncoder:
            found.append(identity.label)
            return opened(entry, identity, context)

        def decodes(path: Path, content: bytes) -> Image.Image:
            found.append("image")
            return decode(path, content)

        monkeypatch.setattr(source, "open_timm", opens)
        monkeypatch.setattr("pytest_visualbias.embeddings.extraction.decode", decodes)
        return found

    @pytest.mark.parametrize(
        ("models", "step", "suffix"),
        [
            (SERIES, 10, "safetensors"),
            (SERIES, 2, "pt"),
            (BEFORE + SERIES, 10, "pt"),
            (TRIALS, 10, "safetensors"),
        ],
    )
    def test_of_another_number_of_classes_is_an_error_at_once(
        self, models: str, step: int, suffix: str, run: Project, events: list[str]
    ) -> None:
        import safetensors.torch
        import torch

        for path in (run.path / "run").iterdir():
            weights = safetensors.torch.load_file(str(path))
            if path.stem == f"epoch_{step}":
                weights["fc.weight"] = torch.zeros(7, weights["fc.weight"].shape[1])
                weights["fc.bias"] = torch.zeros(7)
            path.unlink()
            if suffix == "pt":
                torch.save({"state_dict": weights, "epoch": 1}, path.with_suffix(".pt"))
            else:
                safetensors.torch.save_file(weights, str(path))
        models = models.replace("epoch_*.safetensors", f"epoch_*.{suffix}")
        for one in (1, 2, 10):
            models = models.replace(f"epoch_{one}.safetensors", f"epoch_{one}.{suffix}")
        models = models.rstrip() + "\n    layers: {pooled: output}\n"
        specify(run, one_test("one", "{max_effect: 1.8}"), models=models)
        run.gate().assert_outcomes(errors=1, passed=int("before" in models))
        (reason,) = run.row()["reasons"]
        assert f"epoch {step}" in reason.replace("_", " ")
        assert "7 classes, the network's 1000" in reason
        assert "image" not in events[: events.index(f"epoch_{step}.{suffix}")]
        if "before" not in models:
            assert events == [f"epoch_1.{suffix}", f"epoch_{step}.{suffix}"]

    def test_of_another_network_is_an_error_at_once(
        self, run: Project, events: list[str], weights: Path
    ) -> None:
        shutil.copy(weights / "vit.safetensors", run.path / "run/epoch_10.safetensors")
        specify(run, one_test("one", "{max_effect: 1.8}"), models=SERIES)
        run.gate().assert_outcomes(errors=1)
        assert "epoch 10: " in run.row()["reasons"][0]
        assert events == ["epoch_1.safetensors", "epoch_10.safetensors"]


class TestCost:
    def test_one_network_is_there_at_a_time_and_an_epoch_more_costs_one(
        self, run: Project, alive: list[tuple[str, int]]
    ) -> None:
        specify(run)
        run.gate()
        # The first network of the second model is built once more, before any image.
        names = ("before", "epoch_1", "epoch_1", "epoch_10", "epoch_2")
        assert sorted(alive) == [(f"{name}.safetensors", 0) for name in names]
        alive.clear()
        run.gate()
        assert alive == []
        shutil.copy(run.path / "after.safetensors", run.path / "run/epoch_11.safetensors")
        run.gate()
        assert alive == [("epoch_11.safetensors", 0)] * 2, "built before any image, and embedded"
        assert [one["label"] for one in points(run)] == ["1", "2", "10", "11"]

    def test_embedding_ahead_embeds_with_all_of_them(
        self,
        run: Project,
        alive: list[tuple[str, int]],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        specify(run)
        monkeypatch.setattr("pytest_visualbias.cli.embed.EVERY_S", 0.0)
        assert main(["embed", "bias_specs/x.bias.yaml", "--cache", "ahead"]) == 0
        said, progress = capsys.readouterr()
        assert [step in line for step, line in zip(STEPS, progress.splitlines(), strict=True)]
        assert "after: 20 images, 3 networks, 1 layer; 60 embedded" in said
        alive.clear()
        run.gate("--visualbias-cache=ahead")
        assert alive == []
        assert len(points(run)) == 3


STEPS = ("before", "epoch 1 ", "epoch 2 ", "epoch 10 ")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt, as it does where nobody has asked for anything else."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_embedding_that_is_stopped_goes_on_where_it_was(
    run: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal comes in the third batch of the second epoch; only the rest is embedded then."""
    from pytest_visualbias.models.torch_encoder import TorchEncoder

    batches: list[int] = []
    checks: list[int] = []
    original = TorchEncoder.encode

    def counted(encoder: TorchEncoder, inputs: Sequence[Any], layers: Any) -> Any:  # noqa: ANN401
        if len(inputs) != 4:  # not images, but what the network is tried with
            checks.append(len(inputs))
            return original(encoder, inputs, layers)
        if len(batches) == 12 and 0 not in batches:
            batches.append(0)
            os.kill(os.getpid(), signal.SIGINT)
        batches.append(len(inputs))
        return original(encoder, inputs, layers)

    monkeypatch.setattr(TorchEncoder, "encode", counted)
    specify(run)
    call = ("embed", "bias_specs/x.bias.yaml", "--cache", "ahead", "--batch-size", "4")
    assert main([*call]) == 130
    assert ":: after" not in capsys.readouterr().out
    assert batches[:13] == [4] * 12 + [0]
    batches[:] = [0]
    assert main([*call]) == 0
    assert "32 embedded" in capsys.readouterr().out
    assert sum(batches) == 80 - 12 * 4
    batches[:], checks[:] = [0], []
    assert run.gate("--visualbias-cache=ahead").ret == 0
    assert (batches, checks) == ([0], []), "no network is there any more"


def test_a_series_at_a_url_is_what_it_is_in_a_folder(
    run: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a checkpoint of it is damaged: told by its URL, not by its copy here."""
    specify(run)
    run.gate()
    alone = run.report()["results"]
    shutil.copytree(run.path / "run", run.path / "store/run")
    url = f"{run.path.as_uri()}/store/run/epoch_*.safetensors"
    specify(run, models=BEFORE + SERIES.replace("../run/epoch_*.safetensors", f'"{url}"'))
    run.gate()
    strip = ("spec_digest",)
    for one, other in zip(alone, run.report()["results"], strict=True):
        assert {**one, **dict.fromkeys(strip)} == {**other, **dict.fromkeys(strip)}
    path = run.path / "store/run/epoch_2.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    assert run.gate().ret == 1
    (reason,) = run.row()["reasons"]
    assert reason.startswith(PLACE)
    assert f"epoch 2: the checkpoint {path.as_uri()} " in reason
    assert main(["check", "bias_specs/x.bias.yaml"]) == 1
    assert reason in capsys.readouterr().out


@pytest.mark.parametrize("gate", ["all", "last"])
def test_commands_and_reports_say_which_checkpoint_they_show(
    run: Project, capsys: pytest.CaptureFixture[str], gate: str
) -> None:
    """Where all are judged, the row is of the last one, which is not the one that failed."""
    specify(run, models=gated(gate))
    reports = {kind: f"out.{kind}" for kind in ("html", "md", "model-card")}
    shown = sentences(run.gate(*(f"--visualbias-{kind}={file}" for kind, file in reports.items())))
    which = "epoch 10 (all of 1 to 10" if gate == "all" else "epoch 10 (the last of 1 to 10"
    assert which in shown
    for file in reports.values():
        assert which in (run.path / file).read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["check", "bias_specs/x.bias.yaml"]) == 0
    assert "1, 2, 10" in capsys.readouterr().out
    assert main(["explain", "bias_specs/x.bias.yaml", "one", "--report", "out.json"]) == 0
    assert "epoch 10" in capsys.readouterr().out


@pytest.mark.slow
def test_several_processes_see_the_same_run(run: Project) -> None:
    specify(run, head="layers: [pooled, layer2]")
    run.gate()
    alone = run.report()["results"]
    run.gate("-n2", "--dist=loadscope")
    assert run.report()["results"] == alone
