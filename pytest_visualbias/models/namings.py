"""The names by which one architecture's weights are known elsewhere.

Only what maps name by name and computes the same is here: the embeddings and the logits of
torchvision's own model and of timm's with its weights are compared in the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["COUNTER", "Naming", "namings"]

# A counter that inference never reads; older checkpoints do not have it.
COUNTER = "num_batches_tracked"

VIT = {
    r"cls_token": "class_token",
    r"pos_embed": "encoder.pos_embedding",
    r"patch_embed\.proj\.(\w+)": r"conv_proj.\1",
    r"blocks\.(\d+)\.norm([12])\.(\w+)": r"encoder.layers.encoder_layer_\1.ln_\2.\3",
    r"blocks\.(\d+)\.attn\.qkv\.(\w+)": (
        r"encoder.layers.encoder_layer_\1.self_attention.in_proj_\2"
    ),
    r"blocks\.(\d+)\.attn\.proj\.(\w+)": (
        r"encoder.layers.encoder_layer_\1.self_attention.out_proj.\2"
    ),
    r"blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.0.\2",
    r"blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.3.\2",
    r"norm\.(\w+)": r"encoder.ln.\1",
    r"head\.(\w+)": r"heads.head.\1",
}
# As torchvision's files were first published; its own loader renames them, too.
OLD_VIT = VIT | {
    r"blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.linear_1.\2",
    r"blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"encoder.layers.encoder_layer_\1.mlp.linear_2.\2",
}
# Stages and what lies between them are counted together there.
CONVNEXT = {
    r"stem\.([01])\.(\w+)": r"features.0.\1.\2",
    r"head\.norm\.(\w+)": r"classifier.0.\1",
    r"head\.fc\.(\w+)": r"classifier.2.\1",
    **{
        pattern.format(stage=stage): there.format(stage=2 * stage + 1, before=2 * stage)
        for stage in range(4)
        for pattern, there in {
            r"stages\.{stage}\.downsample\.([01])\.(\w+)": r"features.{before}.\1.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.conv_dw\.(\w+)": r"features.{stage}.\1.block.0.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.norm\.(\w+)": r"features.{stage}.\1.block.2.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.mlp\.fc1\.(\w+)": r"features.{stage}.\1.block.3.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.mlp\.fc2\.(\w+)": r"features.{stage}.\1.block.5.\2",
            r"stages\.{stage}\.blocks\.(\d+)\.gamma": r"features.{stage}.\1.layer_scale",
        }.items()
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Naming:
    """How the weights of a network may be called in a checkpoint.

    Attributes
    ----------
    origin : str
        Whose names they are; "" for the network's own.
    names : mapping of str to str
        The network's name of a weight by that in a checkpoint.
    head : tuple of str
        Prefixes of the classifier in a checkpoint.
    flat : frozenset of str
        The network's names of weights that have axes of length one more in a checkpoint.
    """

    origin: str
    names: Mapping[str, str]
    head: tuple[str, ...] = ()
    flat: frozenset[str] = frozenset()


def namings(wanted: Collection[str], head: tuple[str, ...]) -> tuple[Naming, ...]:
    """Return the ways in which a network's weights may be called, its own names first.

    Parameters
    ----------
    wanted : collection of str
        The network's names.
    head : tuple of str
        Prefixes of its classifier, which it need not have.
    """
    found = [Naming(origin="", names={name: name for name in wanted}, head=head)]
    for rules, classifier in ((VIT, "heads."), (OLD_VIT, "heads."), (CONVNEXT, "classifier.2.")):
        names = {there: name for name in wanted if (there := _renamed(name, rules))}
        if len(names) == len(wanted) > 0:
            flat = frozenset(name for there, name in names.items() if there.endswith("layer_scale"))
            found.append(Naming(origin="torchvision", names=names, head=(classifier,), flat=flat))
    return tuple(found)


def _renamed(name: str, rules: Mapping[str, str]) -> str | None:
    """Return the name elsewhere, or None for one that nobody there has."""
    for pattern, there in rules.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(there)
    return None
