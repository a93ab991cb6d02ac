"""Check rules for predictions, preprocessing and texts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_visualbias.spec.effective_settings import (
    LOGITS,
    POOLED,
    is_random,
    layer_points,
    model_points,
)
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.fields import WHOLE_NAMES
from pytest_visualbias.spec.model_entries import (
    MODEL_SOURCES,
    EmbeddingsModel,
    NetworkEntry,
    OpenClipModel,
    ProgramModel,
    TimmModel,
    TorchvisionModel,
    TransformersModel,
)
from pytest_visualbias.spec.schema import ConceptWords
from pytest_visualbias.spec.test_kinds import CONDITIONAL, concepts_of, part_of
from pytest_visualbias.spec.yaml_document import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_visualbias.spec.model_entries import ModelEntry
    from pytest_visualbias.spec.schema import BiasSpec, Suite
    from pytest_visualbias.spec.test_kinds import BiasTest
    from pytest_visualbias.spec.yaml_document import KeyPath

    Findings = Iterator[tuple[KeyPath, Mistake]]

Finding = tuple["KeyPath", Mistake]


def has_predictions(spec: BiasSpec, *, every: bool = False) -> bool:
    """Return whether any test of a spec, or every test, is about predictions."""
    predicting = [test.prediction is not None for test in spec.tests]
    return all(predicting) if every else any(predicting)


def prediction_findings(test: BiasTest) -> Iterator[Finding]:
    """Yield contradictions in the prediction of a test."""
    prediction = test.prediction
    if prediction is None:
        return
    if prediction.rate in CONDITIONAL and prediction.label is None:
        which = "of" if prediction.rate == "tpr" else "not of"
        mistake = Mistake(
            f"of rate '{prediction.rate}' only images count that are {which} the class",
            "add 'label', the folder of those that are, or ask for rate 'share'",
        )
        yield ("prediction",), mistake
    if not prediction.is_rate and prediction.threshold is not None:
        mistake = Mistake(
            "a mean probability has no threshold", "remove it, or ask for rate 'share'"
        )
        yield ("prediction", "threshold"), mistake


def class_findings(spec: BiasSpec) -> Iterator[Finding]:
    """Yield predicted classes that `classes` does not name."""
    if not spec.classes:
        return
    for index, test in enumerate(spec.tests):
        label = None if test.prediction is None else test.prediction.index
        path: KeyPath = ("tests", index, "prediction", "class")
        if isinstance(label, int) and label >= len(spec.classes):
            last = len(spec.classes) - 1
            yield (
                path,
                Mistake(
                    f"'classes' names those from 0 to {last}", "correct it, or add names there"
                ),
            )
        if isinstance(label, str) and label not in spec.classes:
            yield (path, Mistake(f"'classes' has no '{label}'", did_you_mean(label, spec.classes)))


def logit_findings(spec: BiasSpec) -> Iterator[Finding]:
    """Yield layers that predictions do not use, and layers wrongly named `logits`."""
    if not has_predictions(spec):
        return
    if has_predictions(spec, every=True) and "layers" in spec.model_fields_set:
        for index, layer in enumerate(spec.layers):
            if (layer if isinstance(layer, str) else layer.name) != LOGITS:
                mistake = Mistake(
                    f"no test is made here: predictions are read at '{LOGITS}'", "remove it"
                )
                yield ("layers", index), mistake
    with contextlib.suppress(ValueError):  # said of the layers themselves
        for point in model_points(spec, {}):
            if point.name == LOGITS and point.module != LOGITS:
                mistake = Mistake(
                    f"predictions are read at '{LOGITS}', and it is another one's name", "rename it"
                )
                yield ("layers",), mistake


DEPARTURE = (
    "iEAT's preprocessing is not the model's own: a square from the top left, not normalised; "
    "compare with published numbers by it, and gate without it"
)
OF_THE_WEIGHTS = Mistake("says which weights are loaded", "say it with the keys of the model")
OF_THE_OUTPUT = Mistake("changes what the network returns", "name what you want under 'layers'")

# Arguments of a library that an entry says with keys of its own, by how they start.
ARGUMENTS: Mapping[type, Mapping[str, Mistake]] = {
    TimmModel: {
        **dict.fromkeys(
            ("pretrained", "checkpoint_path", "cache_dir", "model_name"), OF_THE_WEIGHTS
        ),
        **dict.fromkeys(
            ("features_only", "out_indices", "feature_cfg", "exportable", "scriptable"),
            OF_THE_OUTPUT,
        ),
    },
    OpenClipModel: {
        **dict.fromkeys(
            ("pretrained", "load_weights", "require_pretrained", "weights_only", "cache_dir"),
            OF_THE_WEIGHTS,
        ),
        **dict.fromkeys(("model_name", "cache_dir"), OF_THE_WEIGHTS),
        **dict.fromkeys(("jit", "output_dict", "device", "precision"), OF_THE_OUTPUT),
    },
    TorchvisionModel: dict.fromkeys(("weights", "progress", "name"), OF_THE_WEIGHTS),
}


def model_findings(entry: ModelEntry) -> Findings:
    """Yield the path of and the message about contradictions in a model entry."""
    if isinstance(entry, NetworkEntry):
        yield from _weights(entry)
    if isinstance(entry, NetworkEntry | ProgramModel):
        yield from _preparation(entry)
    for start, mistake in ARGUMENTS.get(type(entry), {}).items():
        for name in getattr(entry, "arguments", {}):
            if name.startswith(start):
                yield ("arguments", name), mistake
    if isinstance(entry, OpenClipModel):
        yield from _open_clip(entry)
    elif isinstance(entry, TransformersModel):
        yield from _transformers(entry)


def _weights(entry: NetworkEntry) -> Findings:
    if entry.files is not None and entry.random_init is not None:
        yield ("random_init",), Mistake("a checkpoint is given too", "keep one of them")
    for key in ("container", "prefix"):
        if getattr(entry, key) is not None and entry.files is None:
            yield (
                (key,),
                Mistake("there is no checkpoint to read it in", "add 'checkpoint' or remove this"),
            )
    if getattr(entry, "pretrained", None) is True:
        for key in ("checkpoint", "checkpoints", "random_init"):
            if getattr(entry, key) is not None:
                yield ("pretrained",), Mistake(f"{key} is given too", "keep one of them")


def _preparation(entry: NetworkEntry | ProgramModel) -> Findings:
    transform = getattr(entry, "transform", None)
    if getattr(entry, "preprocess", None) != "ieat" or transform is None:
        return
    for key in ("crop", "mean", "std", "interpolation", "channels"):
        if getattr(transform, key) is not None:
            yield ("transform", key), Mistake("'preprocess: ieat' says it already", "remove it")
    if not isinstance(transform.size, int) and transform.size[0] != transform.size[1]:
        yield ("transform", "size"), Mistake("'preprocess: ieat' cuts a square", "write one number")


def _open_clip(entry: OpenClipModel) -> Findings:
    given = (entry.files, entry.random_init, entry.pretrained)
    if entry.name.startswith(WHOLE_NAMES):
        if isinstance(entry.pretrained, str):
            yield ("pretrained",), Mistake("this name brings its own weights", "remove it")
    elif all(value is None for value in given):
        mistake = Mistake(
            "nothing says which weights",
            "add 'pretrained: TAG', a 'checkpoint', or 'pretrained: false' for untrained weights",
        )
        yield ("name",), mistake


def _transformers(entry: TransformersModel) -> Findings:
    if (entry.name is None) == (entry.path is None):
        yield (
            (),
            Mistake("give either the 'name' of a repository on the hub or the 'path' of a folder"),
        )
    elif entry.revision is not None and entry.name is None:
        yield ("revision",), Mistake("a folder has none", "remove it")
    several = isinstance(entry.path, tuple) and len(entry.path) > 1
    if several and (entry.files is not None or entry.random_init is not None):
        yield ("path",), Mistake("name the one folder whose architecture is meant")
    if entry.adapter is not None and (several or is_random(entry)):
        yield ("adapter",), Mistake("is for one trained network", "name that")


def has_words(spec: BiasSpec | Suite, test: BiasTest) -> bool:
    """Return whether a concept of a test consists of words."""
    named = concepts_of(test).values()
    return any(isinstance(spec.concepts.get(name), ConceptWords) for name in named)


def word_findings(spec: BiasSpec) -> Iterator[Finding]:
    """Yield models that cannot embed texts, and layers at which texts cannot be compared."""
    used = [test.name for test in spec.tests if test.prediction is None and has_words(spec, test)]
    if not used:
        return
    for name, entry in spec.models.items():
        source = MODEL_SOURCES.get(entry.source)  # of another package, only its encoder knows
        if source is not None and not source.reads_texts:
            mistake = Mistake(
                f"a model of source '{entry.source}' reads no texts, and '{used[0]}' has words",
                "use 'open_clip' or 'transformers', or 'embeddings' with vectors of the words",
            )
            yield ("models", name), mistake
        elif not isinstance(entry, EmbeddingsModel):
            yield from _layers(spec, name, entry, used[0])


def _layers(spec: BiasSpec, model: str, entry: ModelEntry, test: str) -> Iterator[Finding]:
    with contextlib.suppress(ValueError):  # said of the layers themselves
        for point in layer_points(spec.layers, entry.layers):
            if point.module == POOLED:
                continue
            is_renamed = point.name in entry.layers
            path: KeyPath = ("models", model, "layers", point.name) if is_renamed else ("layers",)
            mistake = Mistake(
                f"at '{point.module}' images and texts share no space, and '{test}' has words",
                f"read '{POOLED}' alone, and other layers in a spec without words",
            )
            yield path, mistake


def word_test_findings(spec: BiasSpec | Suite) -> Iterator[Finding]:
    """Yield repeated words, words shared by two concepts, and tests that allow no words."""
    for name, concept in spec.concepts.items():
        if isinstance(concept, ConceptWords):
            for path, mistake in _repeated_words(concept):
                yield ("concepts", name, *path), mistake
    for index, test in enumerate(spec.tests):
        for role, mistake in (*_predicted_words(spec, test), *_shared_words(spec, test)):
            yield ("tests", index, part_of(role), role), mistake


def _repeated_words(concept: ConceptWords) -> Iterator[Finding]:
    for key, values in (("text", concept.text), ("templates", concept.templates)):
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (key, index), Mistake(f"'{value}' stands twice", "remove one")


def _predicted_words(spec: BiasSpec | Suite, test: BiasTest) -> Iterator[tuple[str, Mistake]]:
    """Yield the roles with words in a test of predictions."""
    for role in _words(spec, test) if test.prediction is not None else ():
        yield (
            role,
            Mistake("a classifier is asked about images, and this is words", "name another set"),
        )


def _shared_words(spec: BiasSpec | Suite, test: BiasTest) -> Iterator[tuple[str, Mistake]]:
    """Yield roles whose words also belong to another role of the test."""
    roles, words = concepts_of(test), _words(spec, test)
    for first, second in test.apart:
        if first in words and second in words and roles[first] != roles[second]:
            both = [word for word in words[first] if word in words[second]]
            if both:
                names = ", ".join(f"'{word}'" for word in both)
                yield (
                    second,
                    Mistake(
                        f"{first} and {second} share {names}", "leave each word to one of them"
                    ),
                )


def _words(spec: BiasSpec | Suite, test: BiasTest) -> dict[str, tuple[str, ...]]:
    """Return the words of each role that has words."""
    concepts = {role: spec.concepts.get(name) for role, name in concepts_of(test).items()}
    return {
        role: concept.text
        for role, concept in concepts.items()
        if isinstance(concept, ConceptWords)
    }
