"""Accuracies of models, from a linear probe or written by hand, to set bias against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_visualbias.errors import ReportError
from pytest_visualbias.spec.faults import what_is_wrong

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Accuracies", "Accuracy", "read_accuracies"]

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Accuracy(BaseModel):
    """The accuracy of one model, at one layer or as a whole.

    Attributes
    ----------
    model : str
        Its name in the spec.
    accuracy : float
        Between 0 and 1.
    layer : str or None
        The layer that a probe read; null where the accuracy is that of the model as a whole.
    spec : str or None
        The spec that the name is from; null for any.
    fingerprint : str or None
        Of the weights, as in a report: it tells models apart that different runs call alike.
    ci_low, ci_high : float or None
        Its interval.
    n : int or None
        Number of images that were classified.
    trial : str or None
        Which of the networks of a model with several.
    strengths : list of float or None
        Inverse strengths of the penalty that a probe chose, one for each fold.
    has_converged : bool or None
        Whether its fits came to their end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    accuracy: Share
    layer: str | None = None
    spec: str | None = None
    fingerprint: str | None = None
    ci_low: Share | None = None
    ci_high: Share | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    trial: str | None = None
    strengths: list[float] | None = None
    has_converged: bool | None = None


class Accuracies(BaseModel):
    """A file of accuracies; what else stands in it says how they were had."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    accuracies: list[Accuracy]
    tool: dict[str, str] = {}
    data: dict[str, Any] = {}
    method: dict[str, Any] = {}


def read_accuracies(path: Path) -> tuple[Accuracy, ...]:
    """Read a file of accuracies.

    Raises
    ------
    ReportError
        For a file that cannot be read, or that has another shape.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"{path}: accuracies cannot be read ({error.strerror}); name another file"
        ) from None
    except UnicodeDecodeError:
        raise ReportError(f"{path} is no text of UTF-8; name a file of accuracies") from None
    try:
        return tuple(Accuracies.model_validate_json(text).accuracies)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        where = f"{path}: {place}" if place else f"{path}"
        raise ReportError(
            f"{where}: {what_is_wrong(first)}; the file is "
            '{"accuracies": [{"model": NAME, "layer": LAYER, "accuracy": 0 to 1}, ...]}'
        ) from None
