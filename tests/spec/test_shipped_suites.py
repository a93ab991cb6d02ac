"""The suites that ship are what was published, as far as numbers and names can tell."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.schema import ConceptFiles
from pytest_visualbias.spec.suites import read_suite, shipped_folder, suite_names, suite_path
from pytest_visualbias.stimuli.manifest import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_visualbias.spec.schema import Suite

COCO = {
    "car": 12,
    "car_man": 9,
    "car_woman": 6,
    "man": 12,
    "woman": 15,
    "random": 20,
    "refrigerator": 18,
    "refrigerator_man": 8,
    "refrigerator_woman": 9,
    "stop_sign": 43,
    "surfboard": 14,
    "surfboard_man": 23,
    "surfboard_woman": 16,
}


def suite_of(name: str) -> Suite:
    return read_suite(suite_path(name), file=name).suite


def sizes(name: str) -> dict[str, int]:
    return dict(Counter(entry.folder for entry in read_manifest(name)))


def test_the_families_of_ieat_are_those_of_the_paper() -> None:
    tags = Counter(tag for test in suite_of("ieat").tests for tag in test.tags)
    families = ("baseline", "picture", "valence", "stereotype", "intersectional")
    assert [tags[family] for family in families] == [1, 4, 12, 2, 20]


def test_the_manifest_of_ieat_has_the_published_sizes(reference_data: Path) -> None:
    found = sizes("ieat")
    with (reference_data / "ieat/published.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert found == {row[role]: int(row[f"n_{role.lower()}"]) for row in rows for role in "XYAB"}


def test_the_manifest_of_ieat_notes_the_image_that_may_be_missing() -> None:
    noted = [entry for entry in read_manifest("ieat") if entry.note]
    assert [entry.path for entry in noted] == ["gender/career/professional2_google.jpg"]
    assert noted[0].url is None
    assert "20 images, not 21" in noted[0].note


def test_sb_ssl_is_ieat_at_six_depths_over_the_same_images() -> None:
    theirs, ours = suite_of("ieat"), suite_of("sb-ssl")
    assert (ours.tests, ours.concepts, ours.tags) == (theirs.tests, theirs.concepts, theirs.tags)
    names = [layer if isinstance(layer, str) else layer.name for layer in ours.layers or ()]
    assert names == ["stem", "layer1", "layer2", "layer3", "layer4", "pooled"]
    file = read_suite(suite_path("sb-ssl"), file="")
    assert {home.suite for home in file.homes.values()} == {"ieat"}


def test_the_sets_of_ranjit_have_the_published_sizes(reference_data: Path) -> None:
    """Of Open Images with the three files that are empty in the published copies."""
    assert sizes("ranjit-coco") == COCO
    folders = list((reference_data / "openimages_canonical").iterdir())
    there = {path.name: len(list(path.iterdir())) for path in folders}
    empty = Counter(entry.folder for entry in read_manifest("ranjit-openimages") if entry.note)
    assert empty == {"fashion": 1, "fashion_man": 1, "mammal_man": 1}
    assert sizes("ranjit-openimages") == {name: n + empty[name] for name, n in there.items()}


@pytest.mark.parametrize(
    ("name", "objects"),
    [
        ("ranjit-coco", ["refrigerator", "surfboard", "car"]),
        ("ranjit-openimages", ["sports", "car", "fashion", "mammal"]),
    ],
)
def test_every_object_of_ranjit_is_compared_with_its_own_pairs(
    name: str, objects: list[str]
) -> None:
    """A published configuration compares mammal_man and mammal_woman with sports."""
    tests = {test.name: test for test in suite_of(name).tests}
    for concept in objects:
        gap = tests[f"{concept}-with-man-woman"]
        assert gap.attributes is not None
        assert (f"{concept}_man", f"{concept}_woman") == (gap.targets.X, gap.targets.Y)
        assert concept == gap.attributes.A
    pairs = [test for test in tests.values() if test.kind == "ieat"]
    assert len(pairs) == len(objects) * (len(objects) - 1) // 2
    assert all((test.targets.X, test.targets.Y) == ("man", "woman") for test in pairs)


def test_no_set_of_open_images_is_compared_with_pictures_it_shares() -> None:
    """What the published random set shares with other sets stands in no comparison with them."""
    suite = suite_of("ranjit-openimages")
    apart = suite.concepts["random-apart"]
    assert isinstance(apart, ConceptFiles)
    listed = {f"random/{file}" for file in apart.files or ()}
    entries = [entry.path for entry in read_manifest("ranjit-openimages")]
    names = Counter(path.rpartition("/")[2] for path in entries)
    alone = {path for path in entries if names[path.rpartition("/")[2]] == 1}
    assert listed == {path for path in alone if path.startswith("random/")}
    assert len(listed) == 141


@pytest.mark.parametrize("name", suite_names())
def test_a_manifest_names_each_file_of_each_set_once_and_is_small(name: str) -> None:
    entries = read_manifest(name)
    assert len({entry.path for entry in entries}) == len(entries)
    paths = {path for path in suite_of(name).concepts.values() if isinstance(path, str)}
    assert {entry.folder for entry in entries} in (paths, set())
    assert all(entry.url is None or entry.url.startswith("http") for entry in entries)
    assert (
        sum(path.stat().st_size for path in (shipped_folder("data") / "manifests").iterdir()) < 1e6
    )
