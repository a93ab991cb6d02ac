"""How far the work is: lines now and then, a bar on a terminal."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from pytest_visualbias.cli.embed import EmbeddingProgress

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = EmbeddingProgress()
    with meter.display():
        meter(10, 40, "2 workers\n")
    assert capsys.readouterr().err == "", "short work needs no sign of life"
    monkeypatch.setattr("pytest_visualbias.cli.embed.EVERY_S", 0.0)
    meter = EmbeddingProgress()
    with meter.display():
        meter(20, 40, "2 workers\n")
        meter(40, 40, "2 workers\n")
    assert capsys.readouterr().err == (
        "2 workers\\n: 20 of 40 images embedded\n2 workers\\n: 40 of 40 images embedded\n"
    )


def test_where_there_were_lines_the_last_one_says_how_it_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_visualbias.cli.embed.EVERY_S", 0.0)
    meter = EmbeddingProgress()
    with meter.display():
        meter(20, 160, "2 workers")
        monkeypatch.setattr("pytest_visualbias.cli.embed.EVERY_S", 60.0)
        meter(40, 160, "2 workers")
        meter(100, 160, "2 workers")
        meter(160, 160, "2 workers")
    assert capsys.readouterr().err.splitlines() == [
        "2 workers: 20 of 160 images embedded",
        "2 workers: 40 of 160 images embedded",
        "2 workers: 160 of 160 images embedded",
    ]


def test_on_a_terminal_there_is_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, out = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    meter = EmbeddingProgress()
    with meter.display():
        meter(10, 40, "after [red]")
        meter(30, 40, "after [red]")
        sys.stdout.write("of ours\n")
    shown = terminal.getvalue()
    assert "30/40 images, after [red]" in shown
    assert out.getvalue() == "of ours\n", "what is read by another program has no bar in it"
