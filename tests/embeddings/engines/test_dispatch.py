"""Tasks reach workers once, those of lost workers once more, and what came is in the cache."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_visualbias.embeddings.cache import EmbeddingCache
from pytest_visualbias.embeddings.engines.plan import units_of
from pytest_visualbias.embeddings.engines.worker import Fault
from pytest_visualbias.errors import EngineError
from tests.embeddings.engines.conftest import a_wish, stimuli

if TYPE_CHECKING:
    from pytest_visualbias.embeddings.engines.plan import Task, Wish
    from pytest_visualbias.embeddings.engines.worker import Order
    from tests.embeddings.engines.conftest import Run

IMAGES = stimuli(20)


def kept(run: Run, wish: Wish, layer: str = "pooled", loaded: str = "") -> set[str]:
    """Return the images of which the cache has the vectors that they must have."""
    key, _ = wish.job.keys(wish.job.identity.fingerprint(loaded))[layer]
    vectors = EmbeddingCache(folder=run.cache.folder).load(key).vectors
    for identity, vector in vectors.items():
        value = int(identity, 16)
        np.testing.assert_array_equal(vector, np.array([value, value + 1], np.float32))
    return {*vectors}


def test_every_image_is_embedded_once_and_is_in_the_cache(run: Run) -> None:
    wishes = [a_wish(0, "one", IMAGES), a_wish(1, "two", IMAGES[:7])]
    dispatch = run.dispatch()
    dispatch.run(units_of(wishes))
    assert [kept(run, wish) for wish in wishes] == [
        {one.identity for one in wish.job.own.stimuli} for wish in wishes
    ]
    assert Counter((name, task.number) for _, name, task in run.hands.log) == dict.fromkeys(
        [*(("one", number) for number in range(5)), ("two", 0), ("two", 1)], 1
    )
    assert (dispatch.done, dispatch.again, dispatch.lost) == (7, 0, 0)
    assert run.outcomes[0].images == run.outcomes[0].embedded == 20
    assert run.seen[-1][:2] == (27, 27)


def test_a_network_is_loaded_by_as_few_workers_as_can_be(run: Run) -> None:
    wishes = [a_wish(owner, f"net{owner}", IMAGES) for owner in range(8)]
    run.dispatch().run(units_of(wishes))
    loads, last = 0, dict[int, str]()
    for worker, name, _ in run.hands.log:
        loads += last.get(worker) != name
        last[worker] = name
    assert loads == 8, "a worker goes on with its network, and two take two of them"


def test_what_the_cache_has_is_not_planned(run: Run) -> None:
    run.dispatch().run(units_of([a_wish(0, "one", IMAGES[:9])]))
    run.hands.log.clear()
    run.dispatch().run(units_of([a_wish(0, "one", IMAGES)]))
    assert [one for _, _, task in run.hands.log for one in task.stimuli] == [*IMAGES[9:]]
    hired = next(run.hands.numbers)
    run.dispatch().run(units_of([a_wish(0, "one", IMAGES)]))
    assert next(run.hands.numbers) == hired + 1, "no worker is hired for nothing"
    assert (run.outcomes[0].images, run.outcomes[0].embedded) == (20, 0)


def test_a_call_that_is_cut_off_keeps_what_was_done(run: Run) -> None:
    wish = a_wish(0, "one", IMAGES)

    def interrupt(worker: int, order: Order, task: Task) -> str:
        if task.number == 3:
            raise KeyboardInterrupt
        return ""

    run.hands.accident = interrupt
    with pytest.raises(KeyboardInterrupt):
        run.dispatch().run(units_of([wish]))
    before = kept(run, wish)
    assert len(before) >= 8
    run.hands.accident = lambda *_: ""
    run.hands.log.clear()
    run.hands.waiting.clear()
    run.dispatch().run(units_of([wish]))
    again = {one.identity for _, _, task in run.hands.log for one in task.stimuli}
    assert before.isdisjoint(again)
    assert before | again == {one.identity for one in IMAGES}


def test_the_tasks_of_a_lost_worker_are_done_again_and_nothing_else(run: Run) -> None:
    lost: list[tuple[int, Task]] = []

    def accident(worker: int, order: Order, task: Task) -> str:
        if worker == 1 and not lost:
            lost.append((worker, task))
            return "lost"
        return ""

    run.hands.accident = accident
    wish = a_wish(0, "one", IMAGES)
    dispatch = run.dispatch()
    dispatch.run(units_of([wish]))
    assert len(kept(run, wish)) == 20
    given = Counter(task.number for _, _, task in run.hands.given)
    held = {task.number for worker, _, task in run.hands.given if worker == 1}
    assert {number for number, times in given.items() if times > 1} == held
    assert (dispatch.lost, dispatch.again) == (1, len(held))
    assert Counter(task.number for _, _, task in run.hands.log)[lost[0][1].number] == 2


@pytest.mark.parametrize("accident", ["lost", "raised"])
def test_a_task_that_is_never_done_is_named_and_leaves_the_others(run: Run, accident: str) -> None:
    poison = IMAGES[5]
    run.hands.accident = lambda _worker, _order, task: accident if poison in task.stimuli else ""
    wish = a_wish(0, "one", IMAGES)
    run.dispatch().run(units_of([wish]))
    assert sum(poison in task.stimuli for _, _, task in run.hands.log) == 3
    assert kept(run, wish) == {one.identity for one in (*IMAGES[:4], *IMAGES[8:])}
    (told,) = run.outcomes[0].faults
    cause = {"lost": "out of memory", "raised": "ValueError: no"}[accident]
    assert told == (
        "the network 'one' was tried 3 times on the images from 004.png to 007.png, and then given "
        f"up ({cause}); run again"
    )
    assert run.outcomes[0].images == 16


def test_vectors_that_were_damaged_on_the_way_are_made_again(run: Run) -> None:
    damaged: list[Task] = []

    def accident(worker: int, order: Order, task: Task) -> str:
        if len(damaged) < 2:
            damaged.append(task)
            return "damaged"
        return ""

    run.hands.accident = accident
    wish = a_wish(0, "one", IMAGES)
    dispatch = run.dispatch()
    dispatch.run(units_of([wish]))
    assert len(kept(run, wish)) == 20, "and they are the right ones"
    assert dispatch.again == 2
    assert run.outcomes[0].faults == ()


def test_a_network_that_costs_every_worker_is_given_up_and_others_go_on(run: Run) -> None:
    run.hands.accident = lambda _w, order, _t: "lost" if order.job.identity.label == "huge" else ""
    wishes = [a_wish(0, "huge", stimuli(400)), a_wish(1, "one", IMAGES)]
    run.dispatch().run(units_of(wishes))
    assert run.outcomes[1].images == 20
    assert run.outcomes[0].failed
    assert (
        "the network 'huge' was given up after 6 lost workers in a row"
        in (run.outcomes[0].faults[0])
    )


def test_workers_that_never_get_anything_done_end_the_run(run: Run) -> None:
    run.hands.accident = lambda *_: "lost"
    wishes = [a_wish(owner, f"net{owner}", IMAGES) for owner in range(50)]
    with pytest.raises(EngineError, match=r"9 workers were lost one after the other \(out of mem"):
        run.dispatch().run(units_of(wishes))


def test_a_cluster_without_a_place_is_said_at_once(run: Run) -> None:
    run.hands.places = 0
    with pytest.raises(EngineError, match="no machine of the cluster has 1 processor; ask for "):
        run.dispatch().run(units_of([a_wish(0, "one", IMAGES)]))


def test_a_machine_that_comes_later_is_used_where_somebody_says_that_it_will(run: Run) -> None:
    run.hands.places = 0
    run.dispatch(most=3).run(units_of([a_wish(0, "one", IMAGES)]))
    assert {worker for worker, _, _ in run.hands.log} == {0, 1, 2}


def test_a_cluster_that_stays_without_a_place_is_not_waited_for_forever(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All machines are lost while a task is out; those that were hired anew never come."""
    monkeypatch.setattr("pytest_visualbias.embeddings.engines.staff.PATIENCE_S", 0.0)
    monkeypatch.setattr("pytest_visualbias.embeddings.engines.staff.FILLED_EVERY_S", 0.0)

    def accident(worker: int, order: Order, task: Task) -> str:
        if task.number < 2:
            return ""
        run.hands.places = 0
        return "lost"

    run.hands.accident = accident
    wish = a_wish(0, "one", IMAGES)
    with pytest.raises(EngineError, match="had 1 processor for 0 s; run again when there is one"):
        run.dispatch().run(units_of([wish]))
    assert len(kept(run, wish)) == 8


def test_no_more_workers_than_tasks_are_hired(run: Run) -> None:
    run.hands.places = 64
    run.dispatch().run(units_of([a_wish(0, "one", IMAGES)]))
    assert next(run.hands.numbers) == 5


def test_what_one_model_gets_wrong_is_no_error_of_another(run: Run) -> None:
    run.hands.accident = lambda _worker, order, _task: (
        Fault(reason="there is no layer 'typo'")
        if any(point.module == "typo" for point in order.job.want.points)
        else ""
    )
    wishes = [a_wish(0, "one", IMAGES, "typo"), a_wish(1, "one", IMAGES, "pooled")]
    run.dispatch().run(units_of(wishes))
    assert run.outcomes[0].failed
    assert run.outcomes[0].faults == ("there is no layer 'typo'",)
    assert (run.outcomes[1].failed, run.outcomes[1].images) == (False, 20)
    assert run.seen[-1][0] == run.seen[-1][1]


def test_a_network_that_only_says_what_it_is_once_loaded_is_asked_first(run: Run) -> None:
    wish = a_wish(0, "own weights", IMAGES, is_whole=False)
    run.dispatch().run(units_of([wish]))
    first, *rest = run.hands.log
    assert first[2].stimuli == ()
    assert len(rest) == 5
    assert len(kept(run, wish, loaded="weights")) == 20
    run.hands.log.clear()
    run.dispatch().run(units_of([wish]))
    assert len(run.hands.log) == 1, "it is asked again, and embeds nothing"


def test_a_cache_that_cannot_be_written_is_said(run: Run) -> None:
    assert run.cache.folder is not None
    run.cache.folder.write_text("a file")
    with pytest.raises(EngineError, match=r"the cache in .* cannot be written \(.*\); free space"):
        run.dispatch().run(units_of([a_wish(0, "one", IMAGES)]))
