"""How many cases a target gets, and what each of them may cost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["PLACE", "SENTENCE", "answered", "bounded", "cases", "in_time"]

CASES = "VISUALBIAS_FUZZ"
# Of the processor, not of the clock: a busy machine is no hang.
PATIENCE = 20.0
LONGEST = 2_000
PLACE = re.compile(r"[^\n]+?:[0-9]+:[0-9]+: [^\n]+")
SENTENCE = re.compile(r"[^\n]+")


def cases(quick: int) -> settings:
    """Return the settings of a target: `quick` cases that are always the same, or many new ones.

    A change is not to fail by a fault that it has not made, so what is new is looked for at night.
    """
    many = os.environ.get(CASES)
    return settings(
        max_examples=int(many) if many else quick,
        derandomize=not many,
        deadline=None,  # of the clock; `in_time` is of the processor
        print_blob=True,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,  # every case writes the same file anew
        ],
    )


def _late(*_: object) -> NoReturn:
    pytest.fail(f"did not end within {PATIENCE:g} s of the processor")


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Fail where what is done does not come to an end."""
    if not hasattr(signal, "setitimer"):  # pragma: no cover - Windows
        yield
        return
    before = signal.signal(signal.SIGPROF, _late)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def bounded(error: Exception, wanted: re.Pattern[str], most: int = LONGEST) -> None:
    """Fail where an error is not in sentences of a form, each a line of a length one can read."""
    lines = str(error).split("\n")
    assert [line for line in lines if not wanted.fullmatch(line)] == []
    assert [line for line in lines if not line.isprintable()] == []
    assert [len(line) for line in lines if len(line) > most] == []


def answered(
    ask: Callable[[Path], object],
    path: Path,
    content: bytes,
    *errors: type[Exception],
    most: int = LONGEST,
) -> object:
    """Return what comes of a file with a content; None for one of the errors, in one sentence."""
    path.write_bytes(content)
    with in_time():
        try:
            return ask(path)
        except errors as error:
            bounded(error, SENTENCE, most)
            return None
