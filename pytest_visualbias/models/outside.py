"""Code that a factory imports from outside the project, and that no version stands for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

__all__ = ["outside_root"]

# What lies there was installed, and changes with its version.
INSTALLED = frozenset({"dist-packages", "site-packages"})


def outside_root(top: str) -> Path | None:
    """Return the folder from which a top-level module comes that was not installed, if it does.

    Such are folders of ``PYTHONPATH`` and packages that are installed to be edited: their code
    changes under the same version. Nothing is imported.

    Parameters
    ----------
    top : str
        Its name, without a dot.
    """
    if not top or top in sys.stdlib_module_names:
        return None
    try:
        spec = _found(top)
    except (AttributeError, ImportError, ValueError):  # of finders
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    origin = folders[0] if folders else spec.origin
    if origin is None or not Path(origin).exists():  # built in, or frozen
        return None
    path = Path(origin).resolve()
    return None if INSTALLED & {*path.parts} else path.parent


def _found(top: str) -> ModuleSpec | None:
    """Return where a module would be imported from now, whatever was imported before."""
    # importlib.util.find_spec would answer from what another model's code has brought in.
    found = (finder.find_spec(top, None) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)
