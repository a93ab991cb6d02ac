"""A training run: the checkpoints of a series in their order, and which of them are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_visualbias.errors import EncoderError, SpecError
from pytest_visualbias.models.encoder import Context
from pytest_visualbias.models.identity import paths_of
from pytest_visualbias.pipeline.hidden import hidden_limits
from pytest_visualbias.remote.mirror import Mirror
from pytest_visualbias.spec.document import printable
from pytest_visualbias.spec.networks import Network
from pytest_visualbias.spec.series import axis_of, gates_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_visualbias.pipeline.measured import Trial
    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.stimuli import StimulusSet

__all__ = ["Run", "judged_together"]


def judged_together(file: SpecFile, mirror: Mirror | None = None) -> dict[str, int]:
    """Return how many checkpoints of each model are judged together, as far as they are there.

    Parameters
    ----------
    file : SpecFile
        The spec.
    mirror : Mirror or None
        What brings those that lie at URLs.

    Returns
    -------
    dict
        A model whose checkpoints cannot be counted is not in it.
    """
    context = Context(folder=file.folder, project=file.folder, mirror=mirror or Mirror())
    found = {}
    for name, entry in file.spec.models.items():
        found[name] = 1
        checkpoints = entry.checkpoints if isinstance(entry, Network) else None
        if checkpoints is not None and gates_all(entry):
            try:
                found[name] = len(paths_of(checkpoints, context))
            except EncoderError:
                del found[name]
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A training run.

    Attributes
    ----------
    file : SpecFile
        The spec.
    model : str
        The name of the series in it.
    steps : tuple of str
        The labels of its checkpoints in their order, the last one last.
    strict : bool
        Whether a test that its family hides is an error.
    """

    file: SpecFile
    model: str
    steps: tuple[str, ...]
    strict: bool = False

    @property
    def axis(self) -> str:
        """What it counts."""
        return axis_of(self.file.spec.models[self.model]) or ""

    @property
    def gates_all(self) -> bool:
        """Whether each of its checkpoints is judged, and not only the last one."""
        return gates_all(self.file.spec.models[self.model])

    def warnings(self, sets: Mapping[str, StimulusSet]) -> dict[str, tuple[str, ...]]:
        """Return, by test, that its limits cannot fail alone among the p of all checkpoints.

        Raises
        ------
        SpecError
            For such a test, where it is an error.
        """
        spec, count = self.file.spec, len(self.steps)
        if not self.gates_all or count == 1:
            return {}  # said before any model was loaded
        hidden = hidden_limits(spec, {self.model: sets}, checkpoints=count)
        if hidden is None:
            return {}
        sentence = self.file.sentence(hidden.path, hidden.message)
        if self.strict:
            raise SpecError([sentence])
        return {test: (sentence,) for _, test in hidden.tests}

    def named(self, step: str, trial: Trial | None = None) -> str:
        """Return a checkpoint as people know it."""
        return f"{self.axis} {step}" + ("" if trial is None else f" ({printable(trial.label)})")
