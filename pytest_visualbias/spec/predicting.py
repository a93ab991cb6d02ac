"""What tests of predictions must be, in themselves and beside those of embeddings."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_visualbias.spec.faults import did_you_mean
from pytest_visualbias.spec.layers import LOGITS, points_of
from pytest_visualbias.spec.prediction import CONDITIONAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_visualbias.spec.document import Path
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest

__all__ = ["class_findings", "logit_findings", "prediction_findings", "predicts"]

Finding = tuple["Path", str]


def predicts(spec: BiasSpec, *, every: bool = False) -> bool:
    """Whether a test of a spec, or every one, is of predictions."""
    predicting = [test.prediction is not None for test in spec.tests]
    return all(predicting) if every else any(predicting)


def prediction_findings(test: BiasTest) -> Iterator[Finding]:
    """Yield what does not fit together in what a test asks of a classifier."""
    asked = test.prediction
    if asked is None:
        return
    if asked.rate in CONDITIONAL and asked.label is None:
        which = "of" if asked.rate == "tpr" else "not of"
        message = (
            f"of rate '{asked.rate}' only images count that are {which} the class; add 'label', "
            "the folder of those that are, or ask for rate 'share'"
        )
        yield ("prediction",), message
    if not asked.is_rate and asked.threshold is not None:
        message = "a mean probability has no threshold; remove it, or ask for rate 'share'"
        yield ("prediction", "threshold"), message


def class_findings(spec: BiasSpec) -> Iterator[Finding]:
    """Yield classes that are not among the names that a spec gives to them."""
    if not spec.classes:
        return
    for index, test in enumerate(spec.tests):
        asked = None if test.prediction is None else test.prediction.index
        path: Path = ("tests", index, "prediction", "class")
        if isinstance(asked, int) and asked >= len(spec.classes):
            last = len(spec.classes) - 1
            yield path, f"'classes' names those from 0 to {last}; correct it, or add names there"
        if isinstance(asked, str) and asked not in spec.classes:
            yield path, f"'classes' has no '{asked}'; {did_you_mean(asked, spec.classes)}"


def logit_findings(spec: BiasSpec) -> Iterator[Finding]:
    """Yield layers that predictions leave unread, and one that only seems to be the logits."""
    if not predicts(spec):
        return
    if predicts(spec, every=True) and "layers" in spec.model_fields_set:
        for index, layer in enumerate(spec.layers):
            if (layer if isinstance(layer, str) else layer.name) != LOGITS:
                message = f"no test is made here: predictions are read at '{LOGITS}'; remove it"
                yield ("layers", index), message
    with contextlib.suppress(ValueError):  # said of the layers themselves
        for point in points_of(spec, {}):
            if point.name == LOGITS and point.module != LOGITS:
                message = (
                    f"predictions are read at '{LOGITS}', and it is another one's name; rename it"
                )
                yield ("layers",), message
