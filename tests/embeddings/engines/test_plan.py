"""The tasks of a run: every image of every network once, in whole batches."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_visualbias.embeddings.engines.plan import Wish, aligned, apart, tasks_of, units_of
from pytest_visualbias.embeddings.request import CacheLookup
from pytest_visualbias.spec.effective_settings import parse_layer_point
from tests.embeddings.engines.conftest import a_wish, stimuli

IMAGES = stimuli(10)


def known(missing: int, *layers: str) -> CacheLookup:
    points = tuple(parse_layer_point(name, name) for name in layers)
    return CacheLookup(vectors={}, notes={}, missing=stimuli(missing), points=points)


@pytest.mark.property
@given(missing=st.integers(0, 60), shard=st.integers(1, 20), batch_size=st.integers(1, 9))
def test_tasks_are_what_is_missing_cut_between_batches(
    missing: int, shard: int, batch_size: int
) -> None:
    """The batches are those of one process, for a vector may depend on its batch on a GPU."""
    tasks = tasks_of(known(missing, "pooled"), shard=shard, batch_size=batch_size)
    assert [one for task in tasks for one in task.stimuli] == [*stimuli(missing)]
    assert all(len(task.stimuli) % batch_size == 0 for task in tasks[:-1])
    assert all(0 < len(task.stimuli) < shard + batch_size for task in tasks)
    assert [task.number for task in tasks] == [*range(len(tasks))]


def test_nothing_missing_is_no_task() -> None:
    assert tasks_of(known(0), shard=4, batch_size=2) == ()


def test_flattened_maps_are_one_task_for_they_are_compared_with_each_other_only() -> None:
    (task,) = tasks_of(known(50, "pooled", "layer1:flatten"), shard=4, batch_size=2)
    assert len(task.stimuli) == 50
    assert task.points == ("pooled", "layer1:flatten")


def test_a_task_is_whole_batches() -> None:
    assert [aligned(*pair) for pair in ((1, 32), (32, 32), (33, 32), (512, 48))] == [
        32,
        32,
        64,
        528,
    ]


def test_a_network_that_several_models_mean_is_one_unit() -> None:
    wishes = [
        a_wish(0, "one", IMAGES[:6], "pooled"),
        a_wish(1, "two", IMAGES[:2], "pooled"),
        a_wish(2, "one", IMAGES[4:], "layer1"),
    ]
    one, two = units_of(wishes)
    assert [wish.owner for wish in one.wishes] == [0, 2]
    assert one.job.want.stimuli == IMAGES, "an image that both want counts once"
    assert [point.module for point in one.job.want.points] == ["pooled", "layer1"]
    assert [wish.owner for wish in two.wishes] == [1]
    assert [unit.job.want for unit in apart(one)] == [wishes[0].job.own, wishes[2].job.own]


def test_the_plan_is_a_value_that_does_not_depend_on_when_it_is_made() -> None:
    wishes = [a_wish(owner, name, IMAGES) for owner, name in enumerate("aba")]
    assert units_of(wishes) == units_of(list(wishes))
    for order in itertools.permutations(wishes):
        assert {_of(unit.wishes) for unit in units_of(order)} == {frozenset({0, 2}), frozenset({1})}


def _of(wishes: tuple[Wish, ...]) -> frozenset[int]:
    return frozenset(wish.owner for wish in wishes)
