"""Workers are looked for when there is work, and told then where to compute."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.embeddings.engines.connecting import crew_when_needed
from pytest_visualbias.embeddings.engines.late import LateCrew
from pytest_visualbias.embeddings.engines.plan import units_of
from pytest_visualbias.errors import UsageError
from tests.embeddings.engines.conftest import Hands, a_wish, stimuli

if TYPE_CHECKING:
    from pytest_visualbias.embeddings.engines.plan import Task
    from pytest_visualbias.embeddings.engines.worker import Order
    from tests.embeddings.engines.conftest import Run

IMAGES = stimuli(12)


@dataclass
class Noting(Hands):
    """Notes where workers are told to compute, and how many orders there are."""

    def give(self, worker: int, ticket: int, order: Order, task: Task) -> None:
        self.devices.append((id(order), order.job.context.device))
        super().give(worker, ticket, order, task)

    def __post_init__(self) -> None:
        self.devices: list[tuple[int, str]] = []


def late(hands: Hands, calls: list[str]) -> LateCrew:
    def connect() -> tuple[Hands, str]:
        calls.append("connected")
        return hands, "cuda"

    return LateCrew(connect=connect)


def test_nobody_is_looked_for_where_the_cache_has_everything(run: Run) -> None:
    wishes = [a_wish(0, "one", IMAGES), a_wish(1, "two", IMAGES[:5])]
    run.dispatch().run(units_of(wishes))
    calls: list[str] = []
    run.hands = late(run.hands, calls)  # type: ignore[assignment]
    run.seen.clear()
    run.dispatch().run(units_of(wishes))
    assert calls == []
    assert [run.outcomes[owner].embedded for owner in (0, 1)] == [0, 0]
    assert run.seen[-1] == (17, 17, "in the cache")


def test_workers_are_found_once_and_computing_is_where_the_cluster_says(run: Run) -> None:
    calls: list[str] = []
    hands = Noting()
    run.hands = late(hands, calls)  # type: ignore[assignment]
    run.dispatch().run(units_of([a_wish(0, "one", IMAGES)]))
    assert calls == ["connected"]
    assert run.outcomes[0].embedded == 12
    assert {device for _, device in hands.devices} == {"cuda"}
    assert len({order for order, _ in hands.devices}) == 1, "sent once, however many tasks"


def test_what_is_no_address_is_said_whether_or_not_there_is_work() -> None:
    with (
        pytest.raises(UsageError, match="'nowhere' is no address of Ray"),
        crew_when_needed("nowhere", cpus=1, gpus=None, device="auto"),
    ):
        raise AssertionError("never entered")


def test_ray_is_not_even_imported_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the engine 'ray' is an extra")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with crew_when_needed("127.0.0.1:9", cpus=1, gpus=None, device="auto") as crew:
        assert isinstance(crew, LateCrew)
