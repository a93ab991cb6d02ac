"""A source of models without torch, as another package provides one: grey levels are vectors.

A checkpoint is a text of numbers: how much each of the 16 regions of an image counts, and, where
there is one more, what is added to everything. The name of a signal in it is sent to the process
that embeds.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pytest_visualbias.errors import EncoderError
from pytest_visualbias.models.encoder import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_visualbias.models.encoder import Context
    from pytest_visualbias.spec.schema import LayerPoint

SIDE = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Encoder:
    """The model: one number for every region and channel, times its weight."""

    weights: str
    gain: np.ndarray
    offset: float
    signals: list[str]

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        return {"side": SIDE}

    @property
    def description(self) -> Mapping[str, Any]:
        return {"parameters": self.gain.size}

    def prepare(self, image: Image.Image) -> np.ndarray:
        small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
        return np.asarray(small, np.float32) / 255 - 0.5

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        is_blank = bool(np.ptp(np.stack(inputs)) == 0)  # the image that tries a network out
        for name in () if is_blank else self.signals:
            os.kill(os.getpid(), signal.Signals[name])
        rows = self.offset + np.stack(
            [(one.reshape(-1, 3) * self.gain[:, None]).ravel() for one in inputs]
        )
        return {layer.name: rows.astype(np.float32) for layer in layers}

    def layers(self) -> list[str]:
        return ["pooled"]


class Pixels:
    """The source; ``checkpoint`` is its only key."""

    def identify(self, entry: Any, context: Context) -> list[Identity]:  # noqa: ANN401
        path = context.folder / entry.checkpoint
        try:
            facts = {"source": "pixels", "checkpoint": context.digest(path)}
        except OSError as error:
            raise EncoderError(f"{path} cannot be read ({error.strerror})") from None
        return [Identity(label=path.name, facts=facts, checkpoint=path)]

    def open(self, entry: Any, identity: Identity, context: Context) -> Encoder:  # noqa: ANN401
        assert identity.checkpoint is not None
        words = identity.checkpoint.read_text().split()
        numbers = np.array([word for word in words if word[:3] != "SIG"], np.float32)
        return Encoder(
            weights=identity.facts["checkpoint"],
            gain=numbers[: SIDE**2],
            offset=float(numbers[SIDE**2 :].sum()),
            signals=[word for word in words if word[:3] == "SIG"],
        )


source = Pixels()
