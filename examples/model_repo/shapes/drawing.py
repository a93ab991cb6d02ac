"""Scenes of 32 x 32 pixels: a shape, or none, on a warm, a cold or a grey ground."""

from __future__ import annotations

import argparse
import colorsys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from shapes.network import SIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SHAPES", "scene"]

SHAPES = ("disc", "triangle", "square", "bar", "none")
# Lowest and highest hue in degrees, and how strong a colour may be.
GROUNDS = {"warm": (5, 45, 0.6), "cold": (195, 245, 0.6), "grey": (0, 360, 0.04)}
OVERSAMPLING = 4
# The folders of the bias spec, and what their images show in turn.
STIMULI = {
    "disc": [("disc", "grey")],
    "triangle": [("triangle", "grey")],
    "warm": [("none", "warm"), ("bar", "warm")],
    "cold": [("none", "cold"), ("bar", "cold")],
    "warm_square": [("square", "warm")],
    "cold_square": [("square", "cold")],
}
IMAGES = 16


def scene(rng: np.random.Generator, *, shape: str, ground: str) -> Image.Image:
    """Draw a scene; place, size, turn, tones and light are chosen at random."""
    low, high, strength = GROUNDS[ground]
    hue, saturation = rng.uniform(low, high) / 360, strength * rng.uniform(0.5, 1.0)
    colour = np.array(colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.45, 0.75)))
    rows, columns = np.mgrid[-0.5 : 0.5 : SIDE * 1j, -0.5 : 0.5 : SIDE * 1j]
    down, across = rng.uniform(-0.2, 0.2, 2)
    light = (down * rows + across * columns)[:, :, None]
    pixels = np.clip(255 * (colour + light), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    tone = round(255 * (rng.uniform(0.9, 1.0) if rng.integers(2) else rng.uniform(0.0, 0.15)))
    image.paste((tone, tone, tone), mask=_mask(rng, shape))
    return image


def _mask(rng: np.random.Generator, shape: str) -> Image.Image:
    """Where the shape is; drawn large and shrunk, so that its edges are smooth."""
    # A triangle in the same circle covers less than half of it, so it is drawn larger.
    stretch, angles = {
        "disc": (1.0, np.arange(0, 360, 10)),
        "triangle": (1.35, np.array([0, 120, 240])),
        "square": (1.15, np.array([45, 135, 225, 315])),
        "bar": (0.9, np.array([15, 165, 195, 345])),
        "none": (0.0, np.array([0, 120, 240])),
    }[shape]
    centre, radius = rng.uniform(0.38, 0.62, 2), stretch * rng.uniform(0.18, 0.28)
    turned = np.deg2rad(angles + rng.uniform(0, 360))
    corners = centre + radius * np.stack([np.cos(turned), np.sin(turned)], axis=1)
    side = SIDE * OVERSAMPLING
    mask = Image.new("L", (side, side))
    if shape != "none":
        ImageDraw.Draw(mask).polygon([(x * side, y * side) for x, y in corners], fill=255)
    return mask.resize((SIDE, SIDE), Image.Resampling.BOX)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the stimuli of the bias spec again; they are committed, as a gate's images should be."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("stimuli"))
    options = parser.parse_args(argv)
    for number, (concept, shown) in enumerate(STIMULI.items()):
        # The sets of a pair are drawn alike but for what tells them apart.
        rng = np.random.default_rng([2025, number // 2])
        folder = options.out / concept
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(IMAGES):
            shape, ground = shown[index % len(shown)]
            scene(rng, shape=shape, ground=ground).save(folder / f"{index:02}.png", optimize=True)


if __name__ == "__main__":
    main()
