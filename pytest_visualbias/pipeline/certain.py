"""What will fail for certain, and shows before a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_visualbias.pipeline.judging import waiver_of
from pytest_visualbias.spec.layers import gated_layers_of
from pytest_visualbias.spec.schema import (
    EmbeddingsModel,
    FactoryModel,
    ProgramModel,
    TimmModel,
    TorchvisionModel,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from pytest_visualbias.spec.parsing import SpecFile
    from pytest_visualbias.spec.schema import BiasSpec, BiasTest, ModelEntry

__all__ = ["certain"]

# These never say what their classes are called.
NAMELESS = (EmbeddingsModel, FactoryModel, ProgramModel, TimmModel)


def certain(file: SpecFile, today: dt.date) -> Iterator[str]:
    """Yield sentences about tests that fail whatever a model shows, or cannot be measured.

    Parameters
    ----------
    file : SpecFile
        The spec.
    today : date
        In UTC.
    """
    for index, test in enumerate(file.spec.tests):
        if (ended := _ended(file.spec, test, today)) is not None:
            yield file.sentence(("tests", index, "accept", "until"), ended)
        for text in _classes(file.spec, test):
            yield file.sentence(("tests", index, "prediction", "class"), text)
    if not any(test.prediction is not None for test in file.spec.tests):
        return
    names = len(file.spec.classes)
    for model, entry in file.spec.models.items():
        count = _count(entry)
        if count is not None and names not in (0, count):
            text = f"is {count}, and 'classes' has {names} names; correct one of them"
            yield file.sentence(("models", model, "arguments", "num_classes"), text)


def _ended(spec: BiasSpec, test: BiasTest, today: dt.date) -> str | None:
    """Return that the waiver of a test is past its day, where a model has need of it."""
    places = ((model, layer) for model in spec.models for layer in gated_layers_of(spec, test))
    waivers = (waiver_of(spec, model, test, layer, today) for model, layer in places)
    waiver = next((one for one in waivers if one is not None), None)
    return None if waiver is None else waiver.ended


def _classes(spec: BiasSpec, test: BiasTest) -> Iterator[str]:
    """Yield why the class of a test is none of a model's, or nobody knows which."""
    if test.prediction is None:
        return
    asked = test.prediction.index
    if isinstance(asked, str):
        nameless = [f"'{name}'" for name, entry in spec.models.items() if _is_nameless(entry)]
        if nameless and not spec.classes:
            yield (
                f"nothing says which class '{asked}' of {', '.join(nameless)} is; write 'classes' "
                "in the spec, the names in the order of the logits, or the number of the class"
            )
        return
    fewer: dict[int, list[str]] = {}
    for name, entry in spec.models.items():
        count = _count(entry)
        if count is not None and asked >= count:
            fewer.setdefault(count, []).append(f"'{name}'")
    for count, names in fewer.items():
        yield (
            f"there is no class {asked}: 'num_classes' of {', '.join(names)} is {count}, and the "
            "first class is 0; correct one of them"
        )


def _count(entry: ModelEntry) -> int | None:
    """Return how many classes an entry says that its network has."""
    if not isinstance(entry, TimmModel | TorchvisionModel):
        return None
    count = entry.arguments.get("num_classes")
    if not isinstance(count, int) or isinstance(count, bool):
        return None
    return count or None


def _is_nameless(entry: ModelEntry) -> bool:
    """Whether a model cannot say what its classes are called."""
    if isinstance(entry, TorchvisionModel):
        # The names are those of published weights.
        return entry.files is not None or entry.random_init is not None
    return isinstance(entry, NAMELESS)
