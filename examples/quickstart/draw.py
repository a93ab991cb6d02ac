"""Draw the scenes of the quickstart: circles and triangles, warm and cold grounds, no people.

``python examples/quickstart/draw.py --out data/quickstart`` writes the same stimuli again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Shape = Literal["circle", "triangle", "square", "bar", "none"]
Ground = Literal["warm", "cold", "grey"]
Pixels = npt.NDArray[np.uint8]

SIDE = 64
OVERSAMPLING = 4
IMAGES_PER_CONCEPT = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What one image shows; lengths are shares of the side, hue and tones lie in 0 to 1.

    Shape and ground are fields of their own, so two scenes can differ in one of them and agree
    in everything else.
    """

    shape: Shape
    ground: Ground
    radius: float
    centre: tuple[float, float]
    angle: float
    outlined: bool
    object_tone: float
    hue: float
    saturation: float
    tone: float
    gradient: tuple[float, float]
    texture: float
    texture_seed: int


def random_scene(rng: np.random.Generator, *, shape: Shape, ground: Ground) -> Scene:
    """Choose everything about a scene but its shape and its ground."""
    return Scene(
        shape=shape,
        ground=ground,
        radius=random_radius(rng, large=bool(rng.integers(2))),
        centre=(rng.uniform(0.36, 0.64), rng.uniform(0.36, 0.64)),
        angle=rng.uniform(0, 360),
        outlined=bool(rng.integers(2)),
        object_tone=random_tone(rng, light=bool(rng.integers(2))),
        hue=rng.uniform(),
        saturation=rng.uniform(0.3, 0.75),
        tone=rng.uniform(0.45, 0.75),
        gradient=(rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15)),
        texture=rng.uniform(0.02, 0.12),
        texture_seed=int(rng.integers(2**31)),
    )


def random_radius(rng: np.random.Generator, *, large: bool) -> float:
    """Choose the radius of a large or a small object."""
    return rng.uniform(0.25, 0.34) if large else rng.uniform(0.15, 0.20)


def random_tone(rng: np.random.Generator, *, light: bool) -> float:
    """Choose a tone that stands out from every ground."""
    return rng.uniform(0.9, 1.0) if light else rng.uniform(0.0, 0.2)


def draw(scene: Scene) -> Pixels:
    """Draw a scene in RGB, shape ``(64, 64, 3)``; equal scenes give equal pixels."""
    image = Image.merge("HSV", [Image.fromarray(plane) for plane in _ground(scene)]).convert("RGB")
    tone = round(255 * scene.object_tone)
    image.paste((tone, tone, tone), mask=_mask(scene))
    return np.asarray(image)


def _ground(scene: Scene) -> Iterator[Pixels]:
    """Hue, saturation and value of the ground, each of shape ``(64, 64)``."""
    # Degrees. Greys keep a trace of some colour, as grey things do.
    low, high = {"warm": (5, 45), "cold": (195, 245), "grey": (0, 360)}[scene.ground]
    hue = (low + (high - low) * scene.hue) / 360
    saturation = 0.04 if scene.ground == "grey" else scene.saturation
    rows, columns = np.mgrid[-0.5 : 0.5 : SIDE * 1j, -0.5 : 0.5 : SIDE * 1j]
    value = scene.tone + scene.gradient[0] * rows + scene.gradient[1] * columns
    value += scene.texture * _clouds(scene.texture_seed)
    for plane in (hue, saturation, np.clip(value, 0, 1)):
        yield np.full((SIDE, SIDE), np.round(255 * np.asarray(plane)), dtype=np.uint8)


def _clouds(seed: int) -> npt.NDArray[np.float64]:
    """Smooth noise of about unit size, coarse and fine together, shape ``(64, 64)``."""
    rng = np.random.default_rng(seed)
    clouds: npt.NDArray[np.float64] = np.zeros((SIDE, SIDE))
    for cells in (4, 8, 16):
        coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
        clouds += np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    clouds /= np.sqrt(3)
    return clouds


def _mask(scene: Scene) -> Image.Image:
    """Where the object is; drawn large and shrunk, so that its edges are smooth."""
    side = SIDE * OVERSAMPLING
    mask = Image.new("L", (side, side))
    if scene.shape != "none":
        pen = ImageDraw.Draw(mask)
        corners = [(x * side, y * side) for x, y in _corners(scene)]
        if scene.outlined:
            pen.line([*corners, *corners[:2]], fill=255, width=4 * OVERSAMPLING, joint="curve")
        else:
            pen.polygon(corners, fill=255)
    return mask.resize((SIDE, SIDE), Image.Resampling.BOX)


def _corners(scene: Scene) -> Iterator[tuple[float, float]]:
    """Corners of the turned object; a circle is a polygon with very many."""
    # A triangle in the same circle covers less than half of it: enlarged, so that shape is
    # not a matter of size.
    stretch, angles = {
        "circle": (1.0, np.arange(0, 360, 6)),
        "triangle": (1.25, np.array([0, 120, 240])),
        "square": (1.1, np.array([45, 135, 225, 315])),
        "bar": (1.2, np.array([15, 165, 195, 345])),
    }[scene.shape]
    for angle in np.deg2rad(angles + scene.angle):
        yield (
            float(scene.centre[0] + stretch * scene.radius * np.cos(angle)),
            float(scene.centre[1] + stretch * scene.radius * np.sin(angle)),
        )


def stimuli(seed: int) -> dict[str, list[Scene]]:
    """Choose the scenes of every concept.

    Concepts come in pairs whose scenes differ in the one thing that tells the concepts apart.
    """
    objects, grounds, sizes, controls = (np.random.default_rng([seed, pair]) for pair in range(4))
    return {
        **_objects(objects),
        **_grounds(grounds),
        **_sizes(sizes),
        **_controls(controls),
    }


def _objects(rng: np.random.Generator) -> dict[str, list[Scene]]:
    """Circles and triangles on grey."""
    circles = [random_scene(rng, shape="circle", ground="grey") for _ in range(IMAGES_PER_CONCEPT)]
    return {"circle": circles, "triangle": [replace(s, shape="triangle") for s in circles]}


def _grounds(rng: np.random.Generator) -> dict[str, list[Scene]]:
    """Warm and cold grounds, every second one with a small bar.

    Bare grounds are so alike to a network that the effect, which is measured in their spread,
    nears its bound for a difference of no account.
    """
    warm = [
        replace(
            random_scene(rng, shape="bar" if number % 2 else "none", ground="warm"),
            radius=0.12,
            outlined=False,
        )
        for number in range(IMAGES_PER_CONCEPT)
    ]
    return {"warm": warm, "cold": [replace(s, ground="cold") for s in warm]}


def _sizes(rng: np.random.Generator) -> dict[str, list[Scene]]:
    """Small and large objects on grey, half of them circles."""
    small = [
        replace(
            random_scene(rng, shape="triangle" if number % 2 else "circle", ground="grey"),
            radius=random_radius(rng, large=False),
        )
        for number in range(IMAGES_PER_CONCEPT)
    ]
    large = [replace(s, radius=random_radius(rng, large=True)) for s in small]
    return {"small": small, "large": large}


def _controls(rng: np.random.Generator) -> dict[str, list[Scene]]:
    """Squares on warm and on cold grounds."""
    warm = [random_scene(rng, shape="square", ground="warm") for _ in range(IMAGES_PER_CONCEPT)]
    return {"warm_square": warm, "cold_square": [replace(s, ground="cold") for s in warm]}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the stimuli to ``OUT/stimuli/CONCEPT/CONCEPT_NN.png``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/quickstart"))
    parser.add_argument("--seed", type=int, default=2024)
    options = parser.parse_args(argv)
    for concept, scenes in stimuli(options.seed).items():
        folder = options.out / "stimuli" / concept
        folder.mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(scenes):
            path = folder / f"{concept}_{number:02}.png"
            Image.fromarray(draw(scene)).save(path, optimize=True)


if __name__ == "__main__":
    main()
