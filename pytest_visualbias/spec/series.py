"""What a series of checkpoints must be to the rest of a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.spec.networks import Network
from pytest_visualbias.spec.roles import is_origin, measured_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec, ModelEntry

__all__ = ["axis_of", "gates_all", "series_findings"]


def axis_of(entry: ModelEntry) -> str | None:
    """Return what a series of checkpoints counts; None where an entry is no series."""
    return entry.series if isinstance(entry, Network) else None


def gates_all(entry: ModelEntry) -> bool:
    """Whether limits judge every checkpoint of a series, and not only the last one."""
    return isinstance(entry, Network) and entry.gate == "all"


def series_findings(spec: BiasSpec) -> Iterator[tuple[Path, str]]:
    """Yield the path of and the sentence about what does not fit together in series."""
    for name, entry in spec.models.items():
        if not isinstance(entry, Network):
            continue
        for key, message in _of_entry(entry):
            yield ("models", name, key), message
        if entry.series is not None and _starts_growth(spec, name):
            message = (
                f"growth is measured from '{name}', so it must be one network; name one file with "
                "'checkpoint', or give the series another name"
            )
            yield ("models", name, "series"), message


def _starts_growth(spec: BiasSpec, model: str) -> bool:
    """Whether growth is measured from a model."""
    return any(
        is_origin(spec, model, test) or model in measured_from(spec, test) for test in spec.tests
    )


def _of_entry(entry: Network) -> Iterator[tuple[str, str]]:
    if entry.checkpoints is not None and entry.checkpoint is not None:
        yield "checkpoints", "'checkpoint' is given too; keep one of them"
    elif entry.checkpoints is not None and entry.series is None:
        message = (
            "did you mean 'checkpoint', for trials of one recipe? For a training run say what it "
            "counts, as in 'series: epoch'"
        )
        yield "checkpoints", message
    elif entry.series is not None and entry.checkpoints is None:
        remedy = "add it" if entry.checkpoint is None else "did you mean that by 'checkpoint'?"
        yield "series", f"a series is of 'checkpoints'; {remedy}"
    if entry.gate is not None and entry.series is None:
        yield "gate", "is for a series of checkpoints; add 'series: epoch', or remove it"
