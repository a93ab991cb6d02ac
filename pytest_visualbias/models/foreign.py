"""Sources of other packages: what their vectors depend on, whatever they say of it themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_visualbias.models.code import code_files, digest_of_code, module_path
from pytest_visualbias.models.outside import outside_root

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.metadata import EntryPoint

    from pytest_visualbias.models.encoder import Context, Encoder, Identity, Source
    from pytest_visualbias.spec.schema import ModelEntry

__all__ = ["ForeignSource"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ForeignSource:
    """A source that an entry point names.

    Attributes
    ----------
    point : EntryPoint
        What names it.
    source : Source
        What it leads to.
    """

    point: EntryPoint
    source: Source

    def identify(self, entry: ModelEntry, context: Context) -> Sequence[Identity]:
        """Return its identities, with the version of its code and the digest of its file."""
        code = self._code(context)
        return [
            dataclasses.replace(one, facts={**one.facts, **code, **_checkpoint(one, context)})
            for one in self.source.identify(entry, context)
        ]

    def open(self, entry: ModelEntry, identity: Identity, context: Context) -> Encoder:
        """Load one of them."""
        return self.source.open(entry, identity, context)

    def _code(self, context: Context) -> dict[str, str]:
        package = self.point.dist
        facts = {"package": "" if package is None else f"{package.name} {package.version}"}
        # Code that is edited where it lies changes under one version.
        root = outside_root(self.point.module.partition(".")[0])
        start = None if root is None else module_path(self.point.module, root)
        if root is None or start is None:
            return facts
        files = code_files(start, dataclasses.replace(context, folder=root))
        return {**facts, "package code": digest_of_code(files)}


def _checkpoint(identity: Identity, context: Context) -> dict[str, str]:
    path = identity.checkpoint
    if path is None or "checkpoint" in identity.facts or not path.is_file():
        return {}
    return {"checkpoint": context.digest(path)}
