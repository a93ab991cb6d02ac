"""Figures as files."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.errors import ReportError
from pytest_visualbias.reports.document import Accuracy
from pytest_visualbias.reports.figures.writing import write
from pytest_visualbias.results import to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.results import Report, ResultRecord

    Make = Callable[..., ResultRecord]
    Reported = Callable[..., Report]

HOSTILE = [
    "$x^{2$ $",
    "</text><script>alert(1)</script>",
    "_hidden",
    "\u202eright to left\u202c",
    "a\nb\x00c\x1b[31m",
    "long " * 60,
    "%s {x} \\frac \\$ 日本 \U0001f600",
    "../../etc/passwd",
]


@pytest.mark.slow
def test_every_figure_is_written_as_svg_pdf_and_png(
    study: list[ResultRecord], report: Reported, tmp_path: Path
) -> None:
    accuracies = [Accuracy(model=one, accuracy=0.5) for one in ("before", "after")]
    paths = write([report(study)], tmp_path / "new" / "figures", accuracies=accuracies)
    kinds = {
        *(
            f"{kind}-x-{layer}"
            for kind in ("forest", "before-after")
            for layer in ("early", "late")
        ),
        *(
            f"{kind}-x-{layer}"
            for kind in ("bias-counts", "transfer")
            for layer in ("early", "late")
        ),
        *("layers-x", "bias-map-x", "labels-size", "accuracy-x-early", "accuracy-x-late"),
    }
    assert {path.name for path in paths} == {
        f"{one}.{end}" for one in kinds for end in ("svg", "pdf", "png")
    }
    assert {path.name for path in (tmp_path / "new" / "figures").iterdir()} == {
        path.name for path in paths
    }
    for path in paths:
        start = path.read_bytes()[:8]
        assert start.startswith(
            {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}[path.suffix]
        )


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(
    study: list[ResultRecord], report: Reported, tmp_path: Path
) -> None:
    own = [one for one in study if one.layer == "late"]
    first, second = (write([report(own)], tmp_path / name) for name in "ab")
    assert first, "there are figures"
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_names_are_text_and_nothing_else(make: Make, report: Reported, tmp_path: Path) -> None:
    records = [
        make(
            test,
            model=model,
            layer=layer,
            spec=spec,
            labels={HOSTILE[0]: HOSTILE[1]},
        )
        for test, model, layer, spec in (
            *((name, HOSTILE[2], HOSTILE[3], HOSTILE[7]) for name in HOSTILE),
            *((name, HOSTILE[0], HOSTILE[5], HOSTILE[7]) for name in HOSTILE),
        )
    ]
    folder = tmp_path / "figures"
    paths = write([report(records)], folder)
    assert {path.parent for path in paths} == {folder}
    assert [one.name for one in tmp_path.iterdir()] == ["figures"]
    for path in (one for one in paths if one.suffix == ".svg"):
        root = ET.fromstring(path.read_text("utf-8"))
        assert not [one for one in root.iter() if one.tag.endswith("script")]


@pytest.mark.slow
def test_the_command_puts_reports_of_several_days_and_known_accuracies_into_one_figure(
    make: Make, report: Reported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for day, model in enumerate(("byol", "moco"), 1):
        text = to_json(report([make("a", model=model)], **{model: str(day)}))
        Path(f"{day}.json").write_text(text, encoding="utf-8")
    known = [{"model": "byol", "accuracy": 0.7}, {"model": "moco", "accuracy": 0.6}]
    Path("known").write_text(json.dumps({"accuracies": known}), encoding="utf-8")
    assert main(["report", "1.json", "2.json", "--plots", "out", "--accuracy", "known"]) == 0
    assert {path.stem for path in Path("out").iterdir()} == {"forest-x-pooled", "accuracy-x-pooled"}
    drawn = Path("out/accuracy-x-pooled.svg").read_text(encoding="utf-8")
    assert all(f'id="{part}"' in drawn for part in ("model-byol", "model-moco", "front"))


def test_names_are_cut_in_their_middle_and_shown_in_one_line() -> None:
    from pytest_visualbias.reports.figures.style import clip

    assert clip("short") == "short"
    assert clip("_hidden") == " _hidden"
    assert clip("a\nb\x00\u202e") == r"a\nb\x00\u202e"
    cut = clip("abcdefghijklmnopqrstuvwxyz", 11)
    assert cut == "abcde…vwxyz"


def test_names_with_dollars_are_drawn_as_they_are(
    make: Make, report: Reported, tmp_path: Path
) -> None:
    """As a formula, this one would fail."""
    paths = write([report([make("$\\frac{$", model="$a$")])], tmp_path)
    assert [path.name for path in paths] == [
        f"forest-x-pooled.{kind}" for kind in ("svg", "pdf", "png")
    ]


def test_reports_of_nothing_have_no_figures(make: Make, report: Reported, tmp_path: Path) -> None:
    error = make(measured=False, outcome="error")
    assert write([], tmp_path / "a") == []
    assert write([report([]), report([error])], tmp_path / "b") == []


def test_a_folder_that_cannot_be_written_is_said(report: Reported, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ReportError, match="figures cannot be written"):
        write([report([])], tmp_path / "file" / "figures")
