"""Replace models of a spec by those given on the command line."""

from __future__ import annotations

import glob
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_visualbias.errors import UsageError, without_secrets
from pytest_visualbias.spec.error_messages import did_you_mean
from pytest_visualbias.spec.fields import CALL, WHOLE_NAMES
from pytest_visualbias.spec.model_entries import IN_MEMORY, MODEL_SOURCES, PROGRAMS, SHIPPED_SOURCES
from pytest_visualbias.spec.urls import is_url, miswritten_url

PAIR = {"before": "after", "after": "before"}

# The key of an entry that says which weights or vectors it has, and what else says so.
WEIGHTS = ("checkpoint", "pretrained", "random_init")

# And of a series, which a pattern replaces by another one, and a file by itself.
SERIES = ("checkpoints", "series", "gate")

LOCAL = "local-dir:"

# What names a source before a colon; a drive letter is shorter, and a URL has slashes.
SOURCE = re.compile(r"([a-z][\w-]+):(?!//)")

# What a folder begins with where the name of a repository could stand as well.
FOLDERS = (".", "/", "~")

# What an entry says about images and layers holds for the model put in its place, too.
KEPT = ("preprocess", "transform", "layers", "labels", "growth_from")


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """A model's name and what to use for it: a path, or ``source:what``."""

    name: str
    source: str | None
    what: str = field(repr=False)

    @property
    def shown(self) -> str:
        """The override with secrets removed."""
        target = without_secrets(self.what)
        return f"{self.source}:{target}" if self.source else target


def option_for(model: str) -> str:
    """Return the option that replaces the checkpoint of a model, quoted for a shell."""
    if model in PAIR:
        return f"--visualbias-{model}=CHECKPOINT"
    return shlex.quote(f"--visualbias-model={model}=CHECKPOINT")


def parse_override(name: str, reference: str, folder: Path) -> Override:
    """Parse a model override such as ``timm:resnet50``."""
    source, separator, target = reference.partition(":")
    if not (separator and source in SHIPPED_SOURCES) or is_url(reference):
        source, target = "", reference
    if error := miswritten_url(target):
        raise UsageError(error.problem, error.remedy, place=f"the model '{name}'")
    kind = SOURCE.match(reference)
    if not source and kind and not (glob.has_magic(target) or (folder / target).exists()):
        raise UsageError(
            f"the model '{name}': '{kind[1]}' in '{reference}' is not a source of this package",
            f"use one of {', '.join(SHIPPED_SOURCES)}, or change the entry in the spec",
        )
    if not target or (source == "factory" and not re.match(CALL, target)):
        raise UsageError(
            f"'{reference}' is no model to put in the place of '{name}'",
            "give a PATH, timm:NAME, factory:module:function, embeddings:PATH, or another "
            "SOURCE:WHAT "
            f"({', '.join(SHIPPED_SOURCES)})",
        )
    if _is_path(source, target) and not is_url(target):
        target = str(folder / Path(target).expanduser())
    elif source == "open_clip" and target.startswith(LOCAL):
        target = f"{LOCAL}{folder / Path(target.removeprefix(LOCAL)).expanduser()}"
    return Override(name=name, source=source or None, what=target)


def _is_path(source: str, target: str) -> bool:
    if source == "transformers":
        return target.startswith(FOLDERS)
    return not source or MODEL_SOURCES[source].main_key == "path"


def apply_overrides(data: Any, overrides: tuple[Override, ...], file: str) -> Any:
    """Return the data of a spec with models replaced."""
    models = data.get("models") if isinstance(data, dict) else None
    if not overrides or not isinstance(models, dict):
        return data
    models = dict(models)
    for override in overrides:
        models[override.name] = _replace_model(models, override, file)
    return {**data, "models": models}


def _replace_model(models: dict[str, Any], override: Override, file: str) -> Any:
    name = override.name
    entry = _entry_for(models, name)
    known = entry if isinstance(entry, dict) else {}
    if override.source == IN_MEMORY and entry is None:
        raise UsageError(
            f"{file} has no model '{name}' that a module could replace", did_you_mean(name, models)
        )
    if override.source is not None:
        kept = {key: known[key] for key in KEPT if key in known}
        if override.source == "embeddings":
            kept = {key: kept[key] for key in kept if key not in ("preprocess", "transform")}
        if override.source == known.get("source") == "embeddings" and "prefix" in known:
            kept["prefix"] = known["prefix"]  # where the sets lie in such a file
        return {"source": override.source, **_main_keys(override.source, override.what), **kept}
    if entry is not None and not known:
        return entry  # not a mapping: a fault of the spec, and told as such
    if not known:
        raise UsageError(
            f"{file} has no model '{name}' whose checkpoint could be replaced",
            f"{did_you_mean(name, models)}, replace one by its name "
            f"(--visualbias-model=NAME=REF), or give SOURCE:WHAT ({', '.join(SHIPPED_SOURCES)})",
        )
    if known.get("source") in ("embeddings", *PROGRAMS) or _has_folder_weights(known):
        return {**known, "path": override.what}
    if "adapter" in known:
        return {**known, "adapter": override.what}
    if "checkpoints" in known and glob.has_magic(override.what):
        return {**known, "checkpoints": override.what}
    # A tag beside a checkpoint says how images were prepared.
    is_tag = isinstance(known.get("pretrained"), str)
    dropped = [key for key in (*WEIGHTS, *SERIES) if not (key == "pretrained" and is_tag)]
    rest = {key: value for key, value in known.items() if key not in dropped}
    return {**rest, "checkpoint": override.what}


def _entry_for(models: dict[str, Any], name: str) -> Any:
    """Return the entry of a model, else that of its counterpart before or after."""
    entry = models.get(PAIR.get(name, name))
    if name in models or not isinstance(entry, dict):
        return models.get(name, entry)
    return {key: value for key, value in entry.items() if key != "growth_from"}


def _has_folder_weights(entry: dict[str, Any]) -> bool:
    """Return whether an entry uses the weights in its folder."""
    return (
        entry.get("source") == "transformers"
        and "path" in entry
        and not any(key in entry for key in (*WEIGHTS, "adapter"))
    )


def _main_keys(source: str, target: str) -> dict[str, str]:
    """Return the keys of an entry that the text after the source fills."""
    if source == "transformers":
        return {"path" if Path(target).is_absolute() else "name": target}
    if source == "open_clip" and not target.startswith(WHOLE_NAMES) and "/" in target:
        name, _, tag = target.partition("/")
        return {"name": name, "pretrained": tag}
    return {MODEL_SOURCES[source].main_key: target}
