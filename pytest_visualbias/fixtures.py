"""What the fixture ``visualbias`` gives to a test: audits with the options of the run."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.api import Auditor
from pytest_visualbias.options import read_options

if TYPE_CHECKING:
    import pytest

__all__ = ["auditor_of"]


def auditor_of(config: pytest.Config) -> Auditor:
    """Return what measures in a run, by its options and from its root.

    Models and recordings on the command line are about specs that pytest collects; they do not
    change what a test measures by its own code.
    """
    options = read_options(config)
    settings = dataclasses.replace(options.settings, overrides=(), recording=None)
    return Auditor(
        settings=settings,
        cache=options.cache,
        shared=options.shared,
        batch_size=options.batch_size,
    )
