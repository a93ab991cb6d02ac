"""Implement the `visualbias` fixture."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_visualbias.api import Auditor
from pytest_visualbias.plugin.options import read_options


def auditor_of(config: pytest.Config) -> Auditor:
    """Return an auditor with the options of a run."""
    options = read_options(config)
    # Models and recordings on the command line are about the specs that pytest collects.
    settings = dataclasses.replace(options.settings, overrides=(), recording=None)
    return Auditor(
        settings=settings,
        cache=options.cache,
        shared=options.shared,
        batch_size=options.batch_size,
    )


def expect_asked(auditor: Auditor) -> None:
    """Fail a test that made a failing audit and never looked at its outcome."""
    for audit in auditor.made:
        if audit.is_unasked:
            specs = ", ".join(dict.fromkeys(result.spec for result in audit.report.results))
            pytest.fail(
                f"the audit of {specs or 'a spec'} did not pass, and the test did not ask: call "
                ".check() on it, or look at .passed, .failures or .result(...)",
                pytrace=False,
            )
