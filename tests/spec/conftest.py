"""A valid spec to spoil, and what is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_visualbias.errors import SpecError
from pytest_visualbias.spec.parser import parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

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
def spoilt() -> Callable[..., list[str]]:
    """Faults of the valid spec after replacing texts, each of which must stand in it once."""

    def faults(*changes: tuple[str, str]) -> list[str]:
        text = VALID
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
            text = text.replace(old, new)
        with pytest.raises(SpecError) as caught:
            parse_spec(text, file="s.yaml", folder=Path())
        return [*map(str, caught.value.faults)]

    return faults
