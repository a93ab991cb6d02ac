"""What the console script says about suites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pytest_visualbias.cli.main import main
from pytest_visualbias.spec.suites import suite_names

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """\
visualbias_suite: 1
title: Two sets
licence: CC0
known_duplicates: [one]
concepts: {x: sets/x, y: {path: sets, files: [a.png, b.png]}, z: more}
tests:
  - {name: gap, kind: similarity-gap, about: How near., targets: {X: x, Y: y}, attributes: {A: z},
     tags: [home]}
"""


def test_all_suites_that_ship_are_listed_with_sizes_tags_licence_and_citation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["suites"]) == 0
    said = capsys.readouterr().out
    heads = [line.partition(":")[0] for line in said.splitlines() if line[:1].strip()]
    shipped = ("drawings", "ieat", "ranjit-coco", "ranjit-openimages", "sb-ssl")
    assert tuple(heads) == suite_names() == shipped
    blocks = dict(zip(heads, said.split("\n\n"), strict=True))
    assert "  3 tests, 8 sets\n" in blocks["drawings"]
    assert "data/quickstart/stimuli (there)" in blocks["drawings"].replace("\n", "")
    assert "  39 tests, 53 sets, 826 images\n" in blocks["ieat"]
    assert "  39 tests, 53 sets, 826 images\n" in blocks["sb-ssl"]
    assert "  30 tests, 13 sets, 205 images\n" in blocks["ranjit-coco"]
    assert "  40 tests, 17 sets, 1925 images\n" in blocks["ranjit-openimages"]
    assert "intersectional (20)" in blocks["ieat"]
    assert all("  licence: " in block and "  citation: " in block for block in blocks.values())


def test_one_suite_is_said_in_full(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISUALBIAS_DATA", str(tmp_path))
    assert main(["suites", "ieat"]) == 0
    said = capsys.readouterr().out
    words = " ".join(said.split())  # a long path moves to a line of its own
    assert f" stimuli: {tmp_path / 'ieat'} (not there; visualbias fetch ieat) " in words
    assert (
        """\
  Gender-Career (ieat; stereotype, gender, career)
    Men with career and women with family, rather than the other way round.
    X gender/male (40), Y gender/female (40), A gender/career (21), B gender/family (21)
"""
        in said
    )


def test_a_suite_of_the_users_own_is_said_by_its_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.suite.yaml").write_text(SUITE)
    assert main(["suites", "own.suite.yaml"]) == 0
    assert (
        capsys.readouterr().out
        == """\
own: Two sets
  licence: CC0
  stimuli: . (there)
  layers: pooled, unless the spec has others
  duplicates: one
tags
tests
  gap (similarity-gap; home)
    How near.
    X x, Y y (2), A z
"""
    )


def test_of_a_suite_whose_images_ship_there_is_nothing_to_fetch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fetch", "drawings"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("the images of drawings are in ")
    assert said.endswith("data/quickstart/stimuli; there is nothing to fetch\n")


def test_an_unknown_suite_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suites", "sb-sl"]) == 2
    assert capsys.readouterr().err == "there is no suite 'sb-sl'; did you mean 'sb-ssl'?\n"


def test_a_faulty_suite_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.suite.yaml").write_text(SUITE.replace("Y: y", "Y: z"))
    assert main(["suites", "own.suite.yaml"]) == 1
    assert "own.suite.yaml:7:" in capsys.readouterr().err


@pytest.mark.parametrize("is_there", [True, False])
def test_a_spec_that_draws_on_a_suite_is_checked_with_its_images(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_there: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISUALBIAS_DATA", str(tmp_path / "data"))
    (tmp_path / "s.bias.yaml").write_text(
        "visualbias: 1\nmodels: {after: {source: timm, name: test_resnet, pretrained: false}}\n"
        "suite: {name: ranjit-coco, tests: [stop_sign-alike]}\n"
    )
    folder = tmp_path / "data" / "ranjit-coco" / "stop_sign"
    if is_there:
        folder.mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(folder / f"{index}.png")
    status = main(["check", "s.bias.yaml"])
    said = capsys.readouterr().out
    if is_there:
        warning = (
            "warning: ranjit-coco.suite.yaml:31:3: concepts.stop_sign: has 3 images, and 43 are "
            "published; results differ from those of the whole set"
        )
        ok = "s.bias.yaml: ok (1 test, 1 model)"
        lines = said.splitlines()
        assert (status, lines[0], lines[1]) == (0, ok, warning)
    else:
        assert status == 1
        assert said.splitlines()[1] == (
            "s.bias.yaml:3:1: suite: the stimuli of the suite 'ranjit-coco' are not in "
            "data/ranjit-coco; run 'visualbias fetch ranjit-coco' or give 'stimuli'"
        )
