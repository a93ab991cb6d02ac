"""The settings of a run from the command line."""

from __future__ import annotations

import datetime as dt
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_visualbias.evaluation.baseline import Baselines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_visualbias.evaluation.baseline import Recording
    from pytest_visualbias.models.encoder import InMemory
    from pytest_visualbias.spec.overrides import Override
    from pytest_visualbias.spec.urls import Url
    from pytest_visualbias.stimuli.mirror import Mirror

DEVICE = re.compile(r"auto|cpu|mps|cuda(?::\d+)?")
PRECISIONS = ("fp32", "bf16", "fp16")


def now() -> dt.datetime:
    """Return the moment in UTC; tests replace this function."""
    return dt.datetime.now(tz=dt.timezone.utc)


def utc_day() -> dt.date:
    """Return the day that waivers are judged by."""
    return now().date()


def _moment() -> dt.datetime:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        return dt.datetime.fromtimestamp(int(epoch), tz=dt.timezone.utc) if epoch else now()
    except (ValueError, OverflowError, OSError):
        return now()  # not a number, or out of range


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """The settings of a run from the command line."""

    project: Path
    overrides: tuple[Override, ...] = ()
    stimuli: Path | Url | None = None
    device: str = "auto"
    precision: str = "fp32"
    offline: bool = False
    strict: bool = False
    worker: int = 0
    threads: int = 1
    baseline: Path | None = None
    baseline_origin: str = ""
    baseline_mirror: Mirror | None = None
    recording: Recording | None = None
    modules: Mapping[str, InMemory] = field(default_factory=dict)
    started: str = field(default_factory=lambda: _moment().strftime("%Y-%m-%dT%H:%M:%SZ"))

    def baselines(self) -> Baselines:
        """Return the baselines of the run, which are read on demand."""
        return Baselines(
            project=self.project,
            path=self.baseline,
            recording=self.recording,
            origin=self.baseline_origin,
        )
