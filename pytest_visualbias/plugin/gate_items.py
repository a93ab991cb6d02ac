"""Track collected and selected gate items, so that a run that judged nothing cannot pass."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias.evaluation.baseline.file import SUFFIXES
from pytest_visualbias.plugin.items import BiasItem
from pytest_visualbias.reports.formatting import FAILING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

MAX_SHOWN = 3


@dataclass(kw_only=True, slots=True)
class GateItemTracker:
    """Which items of specs there were, and whether a limit or a control judges each."""

    collected: dict[str, bool] = field(default_factory=dict)
    selected: dict[str, bool] = field(default_factory=dict)

    def collect(self, item: pytest.Item) -> None:
        """Count an item as collected."""
        if isinstance(item, BiasItem):
            self.collected[item.nodeid] = item.is_judged

    def select(self, items: Sequence[pytest.Item]) -> None:
        """Count the items that are left once options, marks and hooks have chosen."""
        self.selected = {
            item.nodeid: item.is_judged for item in items if isinstance(item, BiasItem)
        }

    @property
    def deselected(self) -> int:
        """How many were left out, whoever did it and whether it was told or not."""
        return len(self.collected.keys() - self.selected.keys())

    def plain(self) -> dict[str, dict[str, bool]]:
        """Return what a worker of xdist hands over."""
        return {"collected": self.collected, "selected": self.selected}

    def join(self, counted: Mapping[str, Mapping[str, bool]]) -> None:
        """Take over what a worker counted: each of them collects everything."""
        self.collected |= counted.get("collected", {})
        self.selected |= counted.get("selected", {})

    def nothing_gated(self) -> str | None:
        """Return the sentence about a selection that leaves only what cannot fail, if it does."""
        judged = sum(self.collected.values())
        if not judged or any(self.selected.values()):
            return None
        return (
            f"every item that a limit or a control judges was deselected ({judged}): nothing was "
            "gated"
        )

    def hidden(self, rows: Sequence[Mapping[str, Any]], *, is_strict: bool) -> list[str]:
        """Return sentences about a run that pytest takes for passed, where it did not pass."""
        failing = (*FAILING, "inconclusive") if is_strict else FAILING
        outcomes = {row["result"]["nodeid"]: row["result"]["outcome"] for row in rows}
        failed = [name for name, outcome in outcomes.items() if outcome in failing]
        missing = [name for name in self.selected if name not in outcomes]
        problems = []
        if failed:
            problems.append(
                f"not passed, though a mark or a hook hides it: {_listed(failed)}; "
                "accept an effect with 'accept' at its test"
            )
        if missing:
            problems.append(
                f"not measured, as a mark or a hook skips it or the run was ended: "
                f"{_listed(missing)}; leave items out with -k, -m or --deselect"
            )
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutcome:
    """What pytest does not know of a run: whether it gated anything, and what it hides."""

    is_strict: bool
    fault: int  # the exit code that collecting asks for, else 0
    is_empty: bool = False  # the flag was given, and no item ran that can fail
    ungated: str = ""  # why nothing was gated, also where that is allowed
    hidden: tuple[str, ...] = ()
    uncollected: tuple[str, ...] = ()

    def exit_code(self, status: int) -> int:
        """Return pytest's exit code, corrected."""
        code = pytest.ExitCode
        if status == code.OK and self.is_empty:
            return code.NO_TESTS_COLLECTED
        if status == code.OK and (self.hidden or (self.is_strict and self.uncollected)):
            return code.TESTS_FAILED
        if status in (code.INTERRUPTED, code.TESTS_FAILED):
            return self.fault or status  # xdist runs what it could collect: 1
        return status

    def problems(self, status: int, *, was_stopped: bool) -> list[str]:
        """Return what to print about a run that ended with an exit code of pytest."""
        if self.is_empty and not was_stopped:
            return [self.ungated]
        if status != pytest.ExitCode.OK:
            return []
        remark = [self.ungated] if self.ungated else []
        return [*(self.hidden or remark), *self.uncollected]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


YAML = (".yaml", ".yml")
SUITES = (".suite.yaml", ".suite.yml")


def uncollected_specs(folder: Path, known: Collection[Path], *, is_ours: bool) -> Iterator[str]:
    """Yield a sentence about each file that was not read as a spec and may be meant as one."""
    read = {path.resolve() for path in known}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[:1] not in "._")
        specs = [name for name in folders if name.endswith(SUFFIXES)]
        for path in (Path(place) / name for name in sorted([*files, *specs])):
            lower = path.name.lower()
            if lower.endswith(SUFFIXES):
                if path.resolve() not in read:
                    yield f"{path} was not read: {_why(path)}"
            elif is_ours and _may_be_meant(lower):
                yield f"{path} is no spec by its name; call it *.bias.yaml, or move it away"


def _may_be_meant(name: str) -> bool:
    return name.endswith(YAML) and not name.endswith(SUITES) and not name.startswith(".")


def _why(path: Path) -> str:
    if not path.name.endswith(SUFFIXES):
        return f"the end of its name is written {SUFFIXES[0]} in small letters; rename it"
    if not path.exists():
        return "it links to nothing; mend the link, or remove it"
    if not path.is_file():
        return "it is no file; move it away"
    return "pytest leaves it or its folder out (norecursedirs, --ignore); name it, or move it"
