"""pytest-visualbias: a gate for bias in finetuned vision models.

Importing this package imports nothing else: pytest loads it in every run, with the plugin or not.
For Python code, `audit` measures networks that it holds, `Model` says how their images are
prepared, and an `Audit` is what comes of it; they are imported when they are first named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_visualbias.api import Audit, Model, audit

__all__ = ["Audit", "Model", "__version__", "audit"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has this name
    if name in ("Audit", "Model", "audit"):
        # Not an import statement: every module that reads the version would seem to import all.
        return getattr(importlib.import_module("pytest_visualbias.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
