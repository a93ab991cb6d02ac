"""Implement the `visualbias` fixture."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_visualbias.api import Auditor
from pytest_visualbias.plugin.options import read_options


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


def expect_asked(auditor: Auditor) -> None:
    """Let a test fail that made an audit which fails, and never asked whether it does."""
    for found in auditor.made:
        if found.is_unasked:
            specs = ", ".join(dict.fromkeys(result.spec for result in found.report.results))
            pytest.fail(
                f"the audit of {specs or 'a spec'} did not pass, and the test did not ask: call "
                ".check() on it, or look at .passed, .failures or .result(...)",
                pytrace=False,
            )
