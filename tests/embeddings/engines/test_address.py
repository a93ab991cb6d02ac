"""Where the cluster is, and what is said where it is not; no cluster is needed for that."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.embeddings.engines.connecting import _quietly
from pytest_visualbias.embeddings.engines.ray import Place, _cause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALL = ("embed", "x.bias.yaml", "--engine", "ray")
SPEC = """visualbias: 1
models: {after: {source: timm, name: test_resnet}}
concepts: {x: x, y: y, a: a, b: b}
tests:
  - name: one
    kind: ieat
    targets: {X: x, Y: y}
    attributes: {A: a, B: b}
    limits: {max_effect: 1.9}
"""

BEFORE_IT_BEGAN = """The actor died because of an error raised in its creation task, \x1b[36mray::W
  File "x.py", line 4, in __init__
ModuleNotFoundError: No module named 'pytest_visualbias'
"""
ON_THE_WAY = """The actor died unexpectedly before finishing this task.
\tpid: 1
The actor is dead because its node has died. Node Id: 8f. Some common causes include: (1) the
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spec, whose images nobody looks for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.bias.yaml").write_text(SPEC)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def needs_ray() -> None:
    pytest.importorskip("ray", reason="the engine 'ray' is an extra")


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which something answers that is not Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one sentence of a call that cannot be made."""
    start = time.monotonic()
    assert main([*CALL, *arguments]) == 1
    assert time.monotonic() - start < 15
    text = capsys.readouterr().err.strip()
    assert text.count("\n") == 0
    return text


def test_without_ray_it_is_said_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert said(capsys) == (
        "the engine 'ray' needs Ray, which is not installed; pip install 'pytest-visualbias[ray]'"
    )


@pytest.mark.usefixtures("needs_ray")
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nothing_answers_it_is_said_at_once(
    capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"{scheme}127.0.0.1:{port}"
    assert said(capsys, "--address", address) == (
        f"nothing answers at '{address}' (Connection refused); start Ray there, or correct "
        "--address"
    )


@pytest.mark.usefixtures("needs_ray")
def test_where_something_else_answers_it_is_said_too(
    capsys: pytest.CaptureFixture[str], port: int
) -> None:
    assert said(capsys, "--address", f"127.0.0.1:{port}") == (
        f"what answers at '127.0.0.1:{port}' is not Ray; correct --address"
    )


@pytest.mark.usefixtures("needs_ray")
@pytest.mark.parametrize("address", ["somewhere", "host:port", ":", ""])
def test_what_is_no_address_is_said(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert "is no address of Ray; give auto, local, HOST:PORT" in said(
        capsys, f"--address={address}"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--device=cuda:1",), "--device cuda:1 is a GPU of one machine; leave it out, for Ray"),
        (("--engine=local", "--workers=2"), "--workers is for --engine ray; add that, or leave"),
        (("--engine=local", "--gpus-per-task=0"), "--gpus-per-task is for --engine ray; add"),
    ],
)
def test_options_without_effect_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in said(capsys, *arguments)


@pytest.mark.parametrize("gpus", ["1.5", "-1", "nan", "inf", "half"])
def test_a_number_of_gpus_is_a_share_or_whole(
    capsys: pytest.CaptureFixture[str], gpus: str
) -> None:
    with pytest.raises(SystemExit):
        main([*CALL, f"--gpus-per-task={gpus}"])
    assert f"'{gpus}' is no number of GPUs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "resources", "workers"),
    [
        (Place(cpus=1, gpus=0.0), {"CPU": 8.0}, 8),
        (Place(cpus=3, gpus=0.0), {"CPU": 8.0}, 2),
        (Place(cpus=1, gpus=1.0), {"CPU": 64.0, "GPU": 8.0}, 8),
        (Place(cpus=16, gpus=1.0), {"CPU": 64.0, "GPU": 8.0}, 4),
        (Place(cpus=1, gpus=0.5), {"CPU": 64.0, "GPU": 2.0}, 4),
        (Place(cpus=1, gpus=0.1), {"CPU": 64.0, "GPU": 1.0}, 10),
        (Place(cpus=1, gpus=0.6), {"CPU": 64.0, "GPU": 2.0}, 2),
        (Place(cpus=1, gpus=2.0), {"CPU": 64.0, "GPU": 5.0}, 2),
        (Place(cpus=1, gpus=1.0), {"CPU": 64.0}, 0),
        (Place(cpus=1, gpus=0.0), {}, 0),
    ],
)
def test_a_machine_holds_as_many_workers_as_its_resources(
    place: Place, resources: dict[str, float], workers: int
) -> None:
    """A share is of one GPU: what is over of several holds nobody."""
    assert place.on(resources) == workers


@pytest.mark.parametrize(
    ("of_ray", "cause"),
    [
        (BEFORE_IT_BEGAN, "ModuleNotFoundError: No module named 'pytest_visualbias'"),
        (ON_THE_WAY, "its node has died. Node Id: 8f"),
        ("The actor died.", "The actor died"),
        ("", "Exception"),
    ],
)
def test_of_all_that_ray_says_about_a_lost_worker_the_cause_is_told(
    of_ray: str, cause: str
) -> None:
    assert _cause(Exception(of_ray)) == cause


def test_only_the_main_thread_is_heard(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray prints the last lines of its logs from a thread where a machine is lost."""
    with _quietly():
        thread = threading.Thread(target=print, args=("of Ray",))
        thread.start()
        thread.join()
        sys.stdout.write("of ours\n")
    assert capsys.readouterr().out == "of ours\n"
