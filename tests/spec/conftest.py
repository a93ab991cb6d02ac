"""A valid spec to spoil, and the places of what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.parser import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_visualbias.errors import LocatedFault

VALID = """\
visualbias: 1
title: Before and after
models:
  before: {source: timm, name: test_resnet}
  after: {source: timm, name: test_resnet, checkpoint: after.safetensors}
layers: [pooled]
stimuli: images
concepts:
  male: people/male
  female: people/female
  career: words/career
  family: words/family
settings: {alpha: 0.05}
tests:
  - name: gender-career
    kind: ieat
    targets: {X: male, Y: female}
    attributes: {A: career, B: family}
    limits: {max_effect: 0.5, max_growth: 0.2}
    tags: [gender]
"""


@pytest.fixture
def valid() -> str:
    """Text of a spec without faults, small enough to read beside a test."""
    return VALID


@pytest.fixture
def change() -> Callable[..., str]:
    """The valid spec after replacing texts, each of which must stand in it once."""

    def changed(*changes: tuple[str, str]) -> str:
        text = VALID
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
            text = text.replace(old, new)
        return text

    return changed


@pytest.fixture
def faults_in() -> Callable[..., tuple[LocatedFault, ...]]:
    """Faults of a spec."""

    def faults(text: str, folder: Path = Path()) -> tuple[LocatedFault, ...]:
        with pytest.raises(SpecError) as caught:
            parse_spec(text, file="s.yaml", folder=folder)
        return caught.value.faults

    return faults


@pytest.fixture
def places(faults_in: Callable[..., tuple[LocatedFault, ...]]) -> Callable[..., list[str]]:
    """Places of the faults of a spec, as ``line:column key``."""

    def found(text: str) -> list[str]:
        return [f"{one.line}:{one.column} {one.place}".rstrip() for one in faults_in(text)]

    return found
