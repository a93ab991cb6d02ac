"""What was to be gated and what was: an exit code of 0 that hides something is none.

Pytest passes what a mark or a hook skips, expects to fail or takes away, and what a run that was
ended early never came to. Of tests that is right. Of a gate it is a pass that means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_visualbias.items import BiasItem
from pytest_visualbias.reports.outcomes import FAILING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

__all__ = ["Account"]

SHOWN = 3


@dataclass(kw_only=True, slots=True)
class Account:
    """Which items of specs there were, and whether a limit or a control judges each.

    Attributes
    ----------
    collected, selected : dict of str to bool
        By node id: all, and those that were to run.
    """

    collected: dict[str, bool] = field(default_factory=dict)
    selected: dict[str, bool] = field(default_factory=dict)

    def collect(self, item: pytest.Item) -> None:
        """Count an item as collected."""
        if isinstance(item, BiasItem):
            self.collected[item.nodeid] = item.is_judged

    def select(self, items: Sequence[pytest.Item]) -> None:
        """Count the items that are left once options, marks and hooks have chosen."""
        own = [item for item in items if isinstance(item, BiasItem)]
        self.selected = {item.nodeid: item.is_judged for item in own}

    @property
    def deselected(self) -> int:
        """How many were left out, whoever did it and whether it was told or not."""
        return len(self.collected.keys() - self.selected.keys())

    def plain(self) -> dict[str, dict[str, bool]]:
        """Return what a worker of xdist hands over."""
        return {"collected": self.collected, "selected": self.selected}

    def join(self, said: Mapping[str, Mapping[str, bool]]) -> None:
        """Take over what a worker counted: each of them collects everything."""
        self.collected |= said.get("collected", {})
        self.selected |= said.get("selected", {})

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
        """Return sentences about a run that pytest takes for passed, where it did not pass.

        Parameters
        ----------
        rows : sequence of mapping
            What the items carried.
        is_strict : bool
            Whether what is inconclusive fails.
        """
        failing = (*FAILING, "inconclusive") if is_strict else FAILING
        outcomes = {row["result"]["nodeid"]: row["result"]["outcome"] for row in rows}
        failed = [name for name, outcome in outcomes.items() if outcome in failing]
        missing = [name for name in self.selected if name not in outcomes]
        told = []
        if failed:
            told.append(
                f"not passed, though a mark or a hook hides it: {_listed(failed)}; "
                "accept an effect with 'accept' at its test"
            )
        if missing:
            told.append(
                f"not measured, as a mark or a hook skips it or the run was ended: "
                f"{_listed(missing)}; leave items out with -k, -m or --deselect"
            )
        return told


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
