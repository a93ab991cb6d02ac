"""Every key that a spec or a suite may have is described."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.spec.model_entries import (
    SHIPPED_SOURCES,
    OpenClipModel,
    ProgramModel,
    TorchvisionModel,
    Transform,
    TransformersModel,
)
from pytest_visualbias.spec.schema import BiasSpec, Settings, Suite
from pytest_visualbias.spec.test_kinds import BiasTest, Limits
from tests.docs.pages import blocks_of, text_of

if TYPE_CHECKING:
    from pytest_visualbias.spec.fields import Strict


def test_the_suite_that_is_shown_has_every_key() -> None:
    (block,) = [one for one in blocks_of("docs/suites.md") if "visualbias_suite" in one.text]
    missing = [key for key in Suite.model_fields if f"{key}:" not in block.text]
    assert missing == ["extends"]  # what it is for stands below


@pytest.mark.parametrize("model", [BiasSpec, BiasTest, Limits, Settings, Transform])
def test_every_key_of_a_spec_is_described(model: type[BiasSpec]) -> None:
    text = text_of("docs/spec.md")
    missing = [key for key in model.model_fields if not re.search(rf"\b{key}\b", text)]
    assert missing == []


@pytest.mark.parametrize("source", SHIPPED_SOURCES)
def test_every_source_has_a_row_with_what_it_needs(source: str) -> None:
    assert f"`{source}`" in text_of("docs/sources.md")
    assert f"`{source}`" in text_of("docs/spec.md")


@pytest.mark.parametrize(
    "entry", [OpenClipModel, TorchvisionModel, TransformersModel, ProgramModel]
)
def test_every_key_of_an_entry_is_described(entry: type[Strict]) -> None:
    text = text_of("docs/spec.md")
    missing = [key for key in entry.model_fields if not re.search(rf"\b{key}\b", text)]
    assert missing == []
