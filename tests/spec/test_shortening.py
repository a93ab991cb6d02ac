"""Paths in sentences: as a person would write them, and never another place than they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.error_messages import shorten

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "repo/bias specs/deep").mkdir(parents=True)
    return tmp_path / "repo"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("bias specs/../stimuli/x", "stimuli/x"),
        ("bias specs/deep/../../stimuli/x", "stimuli/x"),
        ("bias specs/deep/../stimuli/x", "bias specs/stimuli/x"),
        ("checkpoints/a.pt", "checkpoints/a.pt"),
    ],
)
def test_a_path_below_the_project_is_relative_to_it(project: Path, path: str, said: str) -> None:
    folder = project / "bias specs" / ("deep" if "deep" in path else "")
    text = f"the file {project}/{path} is gone; bring it"
    assert shorten(text, folder, project) == f"the file {said} is gone; bring it"


def test_a_path_outside_of_the_project_stays_whole_but_loses_its_dots(project: Path) -> None:
    text = f"{project}/bias specs/../../other/a.pt is gone"
    assert shorten(text, project / "bias specs", project) == f"{project.parent}/other/a.pt is gone"


def test_a_folder_within_another_path_is_left_alone(project: Path) -> None:
    text = f"/mnt{project}/a.pt is gone"
    assert shorten(text, project / "bias specs", project) == text


def test_dots_stay_where_a_link_leads_elsewhere(project: Path, tmp_path: Path) -> None:
    (tmp_path / "far/specs").mkdir(parents=True)
    folder = project / "linked"
    folder.symlink_to(tmp_path / "far/specs")
    text = f"{folder}/../stimuli is gone"
    assert shorten(text, folder, project) == "linked/../stimuli is gone"


def test_a_relative_folder_is_climbed_from_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    folder = (project / "bias specs").relative_to(project)
    assert shorten("bias specs/../a.pt is gone", folder, project) == "a.pt is gone"
