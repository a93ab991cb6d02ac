"""What the file system refuses: locks, and a folder that must not be entered."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from pytest_visualbias.cli.main import main
from tests.plugin.conftest import Project, sentences

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = (
    NotImplementedError("FileSystem does not appear to support flock; use SoftFileLock instead"),
    OSError(errno.ENOLCK, "No locks available"),
    PermissionError(errno.EACCES, "Permission denied"),
)


@pytest.fixture(params=FAULTS, ids=lambda fault: type(fault).__name__)
def lockless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Exception:
    """Let every lock fail with a fault of the system."""

    def refuse(*_: object) -> None:
        raise request.param

    monkeypatch.setattr(filelock.FileLock, "_acquire", refuse)
    fault: Exception = request.param
    return fault


def test_images_are_embedded_and_kept(
    pixels: Project, lockless: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pixels.gate("--visualbias-cache=cache")
    assert (first.ret, pixels.row()["outcome"]) == (1, "fail")
    assert [*(pixels.path / "cache").rglob("*.safetensors")]
    effect = pixels.row()["effect_judged"]
    assert pixels.gate("--visualbias-cache=cache").ret == 1
    assert pixels.row()["effect_judged"] == effect
    assert main(["cache", "prune", "--max-size", "0KB", "--cache", str(pixels.path / "cache")]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_nothing_is_recorded(project: Project, lockless: Exception) -> None:
    """Two runs that record at once would lose each other's results."""
    project.pair()
    project.spec()
    result = project.gate("--visualbias-update")
    assert result.ret == 1
    assert "nothing was recorded" in sentences(result)
    assert not (project.path / "bias_specs/__visualbias__").exists()


def test_recorded_results_that_must_not_be_looked_at_are_not_missing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.pair()
    project.spec()
    project.gate("--visualbias-update")
    recorded = project.path / "bias_specs/__visualbias__/x.json"
    assert recorded.is_file()

    def refusing(method: Callable[..., Any]) -> Callable[..., Any]:
        def refused(path: Path, *arguments: object, **keys: object) -> object:
            if path == recorded:
                raise PermissionError(errno.EACCES, "Permission denied")
            return method(path, *arguments, **keys)

        return refused

    for name in ("stat", "read_text"):
        monkeypatch.setattr(Path, name, refusing(getattr(Path, name)))
    result = project.gate("--visualbias-update", "bias_specs/x.bias.yaml")
    assert result.ret == 1
    assert "Permission denied" in sentences(result)
