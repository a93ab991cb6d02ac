"""Images embedded in batches, with a fake network whose vectors follow from the pixels."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pytest_visualbias.embeddings.extraction import BATCHES_AHEAD, ExtractionRequest, extract
from pytest_visualbias.errors import EncoderError, StimulusError
from pytest_visualbias.spec.effective_settings import parse_layer_point
from pytest_visualbias.spec.hashing import digest_of_file
from pytest_visualbias.stimuli.resolve import Stimulus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_visualbias.spec.schema import LayerPoint

LAYERS = (parse_layer_point("pooled", "pooled"), parse_layer_point("layer1", "layer1"))


class FakeEncoder:
    """Vectors by the digest of the pixels; remembers what it was asked."""

    preprocessing: Mapping[str, Any] = {}
    description: Mapping[str, Any] = {}
    weights = "fake"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.prepared = 0
        self.most_waiting = 0
        self._lock = threading.Lock()

    def layers(self) -> list[str]:
        return ["pooled", "layer1"]

    def prepare(self, image: Image.Image) -> np.ndarray:
        with self._lock:
            self.prepared += 1
            self.most_waiting = max(self.most_waiting, self.prepared - sum(self.batches))
        return np.asarray(image, dtype=np.float32)

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        self.batches.append(len(inputs))
        return {
            layer.name: np.stack([vector(one, layer.name) for one in inputs]) for layer in layers
        }


def vector(pixels: np.ndarray, layer: str) -> np.ndarray:
    digest = hashlib.sha256(pixels.astype(np.float32).tobytes() + layer.encode()).digest()
    return np.frombuffer(digest, dtype=np.uint8)[:6].astype(np.float32)


@pytest.fixture
def stimuli(tmp_path: Path) -> list[Stimulus]:
    """Eleven images, each of another colour."""
    found = []
    for i in range(11):
        path = tmp_path / f"{i:02}.png"
        Image.new("RGB", (3, 3), (i * 20, 255 - i, i)).save(path)
        found.append(Stimulus(name=path.name, digest=f"d{i}", identity=f"d{i}", path=path))
    return found


def digested(stimulus: Stimulus) -> Stimulus:
    """Return a stimulus with the digest of what its file holds now, as a run would find it."""
    if stimulus.path is None or not stimulus.path.exists():
        return stimulus
    return dataclasses.replace(stimulus, digest=digest_of_file(stimulus.path))


def silent(done: int, total: int) -> None:
    """Be told nothing."""


@dataclass
class Extraction:
    vectors: dict[str, dict[str, np.ndarray]]
    failures: dict[str, str]


def run(
    encoder: FakeEncoder,
    stimuli: Sequence[Stimulus],
    batch_size: int = 4,
    progress: Callable[[int, int], None] = silent,
) -> Extraction:
    vectors: dict[str, dict[str, np.ndarray]] = {layer.name: {} for layer in LAYERS}
    failures = extract(
        encoder,
        ExtractionRequest(
            stimuli=[digested(one) for one in stimuli],
            layers=LAYERS,
            batch_size=batch_size,
            decoders=2,
            add=lambda layer, names, rows: vectors[layer.name].update(
                zip(names, rows, strict=True)
            ),
            progress=progress,
        ),
    )
    return Extraction(vectors, failures)


def test_every_image_has_its_vector_at_every_layer(stimuli: list[Stimulus]) -> None:
    extraction = run(FakeEncoder(), stimuli)
    assert extraction.failures == {}
    assert extraction.vectors.keys() == {"pooled", "layer1"}
    for name, vectors in extraction.vectors.items():
        assert vectors.keys() == {one.identity for one in stimuli}
        for one in stimuli:
            assert one.path is not None
            pixels = np.asarray(Image.open(one.path), dtype=np.float32)
            np.testing.assert_array_equal(vectors[one.identity], vector(pixels, name))


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(4, [4, 4, 3]), (1, [1] * 11), (11, [11]), (100, [11])]
)
def test_images_are_encoded_once_in_batches_of_at_most_the_size(
    stimuli: list[Stimulus], batch_size: int, batches: list[int]
) -> None:
    encoder = FakeEncoder()
    run(encoder, stimuli, batch_size)
    assert (encoder.batches, encoder.prepared) == (batches, 11)


def test_only_a_few_batches_are_held_at_once(stimuli: list[Stimulus]) -> None:
    encoder = FakeEncoder()
    run(encoder, stimuli, batch_size=2)
    assert encoder.most_waiting <= (BATCHES_AHEAD + 1) * 2


def test_neither_the_order_nor_the_batch_matters(stimuli: list[Stimulus]) -> None:
    one = run(FakeEncoder(), stimuli, 4).vectors
    other = run(FakeEncoder(), stimuli[::-1], 3).vectors
    for layer, vectors in one.items():
        assert vectors.keys() == other[layer].keys()
        for key, found in vectors.items():
            np.testing.assert_array_equal(found, other[layer][key])


def test_each_image_that_cannot_be_decoded_is_named_and_the_others_embedded(
    stimuli: list[Stimulus],
) -> None:
    bad = [stimuli[i] for i in (0, 5, 10)]
    for one in bad:
        assert one.path is not None
        one.path.write_bytes(b"no image")
    extraction = run(FakeEncoder(), stimuli)
    assert extraction.failures == {
        one.identity: f"{one.path} is not an image; remove it from the set or replace it"
        for one in bad
    }
    good = {one.identity for one in stimuli} - extraction.failures.keys()
    assert extraction.vectors["pooled"].keys() == good


def test_where_no_image_can_be_decoded_the_network_is_not_asked(
    stimuli: list[Stimulus],
) -> None:
    for one in stimuli:
        assert one.path is not None
        one.path.unlink()
    encoder = FakeEncoder()
    extraction = run(encoder, stimuli)
    assert (encoder.batches, len(extraction.failures)) == ([], 11)


def test_progress_is_told_after_every_batch_failures_included(stimuli: list[Stimulus]) -> None:
    assert stimuli[1].path is not None
    stimuli[1].path.unlink()
    told: list[tuple[int, int]] = []
    run(FakeEncoder(), stimuli, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 11), (8, 11), (11, 11)]


def test_nothing_to_do_is_nothing_done() -> None:
    extraction = run(FakeEncoder(), [])
    assert (extraction.vectors, extraction.failures) == ({"pooled": {}, "layer1": {}}, {})


def test_a_stored_vector_is_no_image() -> None:
    stimulus = Stimulus(name="m/row 0", digest="d", identity="m/row 0")
    assert run(FakeEncoder(), [stimulus]).failures == {
        "m/row 0": "m/row 0 is a stored vector, not an image; use the source 'embeddings'"
    }


class TestNetworkErrors:
    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("mat1 and mat2 shapes cannot be multiplied\nmore"),
            AssertionError("Input height (3) doesn't match model (224)"),
            KeyError("x"),
            IndexError("out of range"),
            NotImplementedError("no kernel"),
            ZeroDivisionError("division by zero"),
        ],
    )
    def test_are_told_with_the_shape_of_the_input(
        self, stimuli: list[Stimulus], error: Exception
    ) -> None:
        class Failing(FakeEncoder):
            def encode(
                self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
            ) -> dict[str, np.ndarray]:
                raise error

        with pytest.raises(EncoderError) as caught:
            run(Failing(), stimuli)
        reason = str(error).splitlines()[0]
        assert str(caught.value) == (
            f"the network fails on an input of (3, 3, 3) ({reason}); "
            "check 'transform' and the architecture"
        )

    def test_without_words_are_told_by_their_kind(self, stimuli: list[Stimulus]) -> None:
        class Failing(FakeEncoder):
            def encode(
                self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
            ) -> dict[str, np.ndarray]:
                raise MemoryError

        with pytest.raises(EncoderError, match=r"\(MemoryError\)"):
            run(Failing(), stimuli)

    def test_that_are_sentences_already_stay_as_they_are(self, stimuli: list[Stimulus]) -> None:
        class Failing(FakeEncoder):
            def encode(
                self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
            ) -> dict[str, np.ndarray]:
                raise EncoderError("there is no layer 'x'")

        with pytest.raises(EncoderError, match="layer 'x'"):
            run(Failing(), stimuli)

    def test_in_the_transform_are_failures_of_the_image(self, stimuli: list[Stimulus]) -> None:
        class Picky(FakeEncoder):
            def prepare(self, image: Image.Image) -> np.ndarray:
                if image.getpixel((0, 0)) == (20, 254, 1):
                    raise ValueError("height and width must be > 0")
                return super().prepare(image)

        extraction = run(Picky(), stimuli)
        assert extraction.failures == {
            "d1": f"{stimuli[1].path} cannot be preprocessed (height and width must be > 0); "
            "replace it or check 'transform'"
        }
        assert len(extraction.vectors["pooled"]) == 10


def test_an_image_that_is_gone_is_a_stimulus_error_of_its_own(stimuli: list[Stimulus]) -> None:
    """`StimulusError` of a transform is taken as one about the image."""

    class Refusing(FakeEncoder):
        def prepare(self, image: Image.Image) -> np.ndarray:
            raise StimulusError("too small; replace it")

    assert {*run(Refusing(), stimuli).failures.values()} == {"too small; replace it"}


def test_an_image_that_was_changed_since_it_was_digested_is_not_taken_for_the_old_one(
    stimuli: list[Stimulus],
) -> None:
    """Its vector would be kept in the cache under the other one's digest, for good."""
    before = [digested(one) for one in stimuli]
    assert stimuli[3].path is not None
    Image.new("RGB", (3, 3), (1, 2, 3)).save(stimuli[3].path)
    kept: list[str] = []
    failures = extract(
        FakeEncoder(),
        ExtractionRequest(
            stimuli=before,
            layers=LAYERS,
            batch_size=4,
            decoders=2,
            add=lambda _layer, names, _rows: kept.extend(names),
        ),
    )
    assert failures == {"d3": f"{stimuli[3].path} was changed during the run; run again"}
    assert "d3" not in kept


class Unreadable(FakeEncoder):
    """Fails at some layers, from some batch on."""

    def __init__(self, *names: str, after: int = 0) -> None:
        super().__init__()
        self._names, self._after = names, after

    def encode(
        self, inputs: Sequence[np.ndarray], layers: Sequence[LayerPoint]
    ) -> dict[str, np.ndarray]:
        broken = [layer.name for layer in layers if layer.name in self._names]
        if broken and len(self.batches) >= self._after:
            raise EncoderError(f"'{broken[0]}' cannot be read")
        return super().encode(inputs, layers)


def losing(
    encoder: FakeEncoder, stimuli: Sequence[Stimulus]
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]:
    vectors: dict[str, dict[str, np.ndarray]] = {layer.name: {} for layer in LAYERS}
    lost: dict[str, str] = {}
    extract(
        encoder,
        ExtractionRequest(
            stimuli=[digested(one) for one in stimuli],
            layers=LAYERS,
            batch_size=4,
            decoders=1,
            add=lambda layer, names, rows: vectors[layer.name].update(
                zip(names, rows, strict=True)
            ),
            report_unreadable=lambda layer, reason: lost.update({layer.name: reason}),
        ),
    )
    return vectors, lost


@pytest.mark.parametrize("after", [0, 2])
def test_a_layer_that_cannot_be_read_does_not_keep_the_others_from_it(
    stimuli: list[Stimulus], after: int
) -> None:
    found, lost = losing(Unreadable("layer1", after=after), stimuli)
    assert lost == {"layer1": "'layer1' cannot be read"}
    assert len(found["pooled"]) == len(stimuli)
    assert len(found["layer1"]) == 4 * after


def test_where_no_layer_can_be_read_every_one_is_told(stimuli: list[Stimulus]) -> None:
    found, lost = losing(Unreadable("layer1", "pooled"), stimuli)
    assert lost.keys() == {"pooled", "layer1"}
    assert not any(found.values())


def test_where_nobody_is_told_of_a_layer_it_is_an_error(stimuli: list[Stimulus]) -> None:
    with pytest.raises(EncoderError, match="'layer1' cannot be read"):
        run(Unreadable("layer1"), stimuli)
