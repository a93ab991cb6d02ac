"""Networks that end in a classifier of their own: what it is given, and what it makes of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.checkpoints import read_checkpoint
from pytest_visualbias.models.fitting import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import torch

    from pytest_visualbias.models.places import Loadable
    from pytest_visualbias.spec.schema import Network

__all__ = ["OTHER_CLASSES", "Headless", "fit_headed", "head_outs"]

OTHER_CLASSES = "or its classes ('arguments: {num_classes: 7}'), or test embeddings at 'pooled'"


def head_outs(
    model: torch.nn.Module,
    head: str,
    *,
    run: Callable[[torch.Tensor], Any] | None = None,
    no_logits: str = "",
) -> dict[str, Any]:
    """Return how a network is run and read, as `Network` takes it.

    Its pooled features are what its classifier is given, whether that has learned anything or not.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    head : str
        The name of its classifier, or of the last layer of that.
    run : callable, optional
        Images to logits, where calling the network is not enough.
    no_logits : str
        Why there are no logits.
    """
    classifier = model.get_submodule(head)

    def body(images: torch.Tensor) -> tuple[torch.Tensor, Any]:
        given: list[torch.Tensor] = []
        handle = classifier.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        try:
            output = (run or model)(images)
        finally:
            handle.remove()
        if len(given) != 1:
            raise EncoderError(f"the classifier '{head}' ran {len(given)} times in a pass")
        return _flat(given[0]), output

    return {
        "body": body,
        "pooled": lambda seen: seen[0],
        "logits": no_logits or (lambda seen: seen[1]),
    }


def _flat(features: torch.Tensor) -> torch.Tensor:
    """Return vectors: of a map, the mean over its positions."""
    is_map = features.ndim == 4  # noqa: PLR2004 - (n, c, h, w)
    # What follows may work in place on the very tensor.
    return features.mean(dim=(2, 3)) if is_map else features.clone()


class Headless:
    """A network without its classifier, for loading.

    Parameters
    ----------
    network : Loadable
        The whole.
    head : tuple of str
        Prefixes of the classifier's weights.
    """

    def __init__(self, network: Loadable, head: tuple[str, ...]) -> None:
        self._network = network
        self._head = head

    def state_dict(self) -> dict[str, Any]:
        """Return the weights but for those of the classifier."""
        weights = self._network.state_dict()
        return {name: weights[name] for name in weights if not name.startswith(self._head)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take them, and leave the classifier as it is."""
        return self._network.load_state_dict({**self._network.state_dict(), **state_dict})


def fit_headed(
    network: Loadable, entry: Network, path: Path, head: tuple[str, ...]
) -> tuple[dict[str, Any], str]:
    """Load a checkpoint: the features, and the classifier where it fits.

    The features alone decide where the weights lie; the classifier must lie there, too.

    Parameters
    ----------
    network : Loadable
        Changed in place.
    entry : Network
        Of the spec.
    path : Path
        Of the checkpoint.
    head : tuple of str
        Prefixes of the classifier's weights.

    Returns
    -------
    tuple
        Facts for the report, and why there are no logits, or nothing.

    Raises
    ------
    EncoderError
        For a checkpoint that cannot be read or does not fit.
    """
    weights = read_checkpoint(path)
    said: dict[str, Any] = {"path": path, "ignore": entry.ignore}
    place: dict[str, Any] = {"container": entry.container, "prefix": entry.prefix}
    found = fit(Headless(network, head), weights, head=head, **said, **place)
    facts = dict(found.facts)
    if any(name.startswith(entry.ignore) for name in head):
        return facts, "'ignore' leaves the classifier out; remove it there"
    place = {"container": found.container, "prefix": found.prefix}
    try:
        left_out = fit(network, weights, **said, **place).facts["left_out"]
    except EncoderError as error:
        return facts, f"{error}, {OTHER_CLASSES}"
    return facts | {"left_out": left_out}, ""
