"""Crops of pictures side by side, where the contestants differ most."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from .tables import Entry, Results, decimals, fixed, heading, known

LoadPicture = Callable[[str, str, str], np.ndarray]  # case, source, name -> (H, W, 3) uint8

SIDE = 96  # of a crop, in pixels
SHOWN = 3  # pictures per case
STRIP = 960  # width of an interpolation's strip
BUDGET = 3_500_000  # characters for all pictures of a page


@dataclass(frozen=True, eq=False)
class Tile:
    """A crop of a picture.

    Attributes:
        source: "clean", "damaged" or a contestant's name.
        value: a metric of the whole picture: "27.31", or empty.
        pixels: (h, w, 3) uint8.
    """

    source: str
    value: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Grid:
    """The same crop from all contestants.

    Attributes:
        name: of the picture.
        place: position and size of the crop, as text; empty for the whole picture.
        tiles: all of one size.
    """

    name: str
    place: str
    tiles: list[Tile]


def grids(results: Results, case: Entry, picture: LoadPicture) -> list[Grid]:
    """Grids of the pictures of a case on which the contestants differ most."""
    if not case["rows"]:
        return []
    key = _metric(results, case)
    make = _strips if results["task"] == "interpolate" else _crops
    return [make(results, case, picture, key, name) for name in _by_difference(case, key)[:SHOWN]]


def caption(results: Results, case: Entry) -> str:
    """The metric below the tiles; empty if none was measured."""
    key = _metric(results, case)
    return heading(results["metrics"][key]) if key else ""


def fitting(cases: list[list[Grid]]) -> tuple[list[list[Grid]], dict[Tile, str]]:
    """Grids of each case that fit into a page's budget, and the data URI of each tile.

    PNG if that fits, else JPEG of quality 95, else fewer grids, but at least one per case.
    """
    tries = ((SHOWN, _png), (SHOWN, _jpeg), (2, _jpeg), (1, _jpeg))
    for count, encode in tries:
        fewer = [grids[:count] for grids in cases]
        uris = {tile: encode(tile.pixels) for grids in fewer for grid in grids for tile in grid.tiles}
        if sum(map(len, uris.values())) <= BUDGET:
            break
    return fewer, uris


def _metric(results: Results, case: Entry) -> str | None:
    """The first metric with per-picture values."""
    measured = (
        key
        for key in results["metrics"]
        for row in case["rows"]
        if any(known(values.get(key)) for values in row["pictures"].values())
    )
    return next(measured, None)


def _by_difference(case: Entry, key: str | None) -> list[str]:
    """The names of pictures that all contestants have restored, by decreasing spread of a metric."""
    rows = [row["pictures"] for row in case["rows"]]
    names = [name for name in rows[0] if all(name in row for row in rows)]

    def spread(name: str) -> float:
        values = [row[name].get(key) for row in rows]
        finite = [value for value in values if known(value) and np.isfinite(value)]
        return float(np.std(finite)) if finite else 0.0

    return sorted(names, key=spread, reverse=True)


def _crops(results: Results, case: Entry, picture: LoadPicture, key: str | None, name: str) -> Grid:
    """Clean, damaged and restored, around the largest difference between contestants."""
    clean = picture(case["name"], "clean", name)
    restored = [picture(case["name"], row["contestant"], name) for row in case["rows"]]
    y, x = _largest_difference(restored if len(restored) > 1 else [*restored, clean])
    height, width = (min(SIDE, side) for side in clean.shape[:2])
    damaged = _enlarged(picture(case["name"], "damaged", name), clean.shape[:2])
    tiles = [Tile("clean", "", clean), Tile("damaged", "", damaged), *_restored(results, case, restored, key, name)]
    crops = [Tile(tile.source, tile.value, tile.pixels[y : y + height, x : x + width]) for tile in tiles]
    return Grid(name, f"{width}×{height} pixels from ({x}, {y})", crops)


def _strips(results: Results, case: Entry, picture: LoadPicture, key: str | None, name: str) -> Grid:
    """Both ends and all frames."""
    restored = [picture(case["name"], row["contestant"], name) for row in case["rows"]]
    tiles = [Tile("ends", "", picture(case["name"], "damaged", name))]
    tiles += _restored(results, case, restored, key, name)
    scale = min(1.0, STRIP / max(tile.pixels.shape[1] for tile in tiles))
    return Grid(name, "", [Tile(tile.source, tile.value, _reduced(tile.pixels, scale)) for tile in tiles])


def _restored(results: Results, case: Entry, restored: list[np.ndarray], key: str | None, name: str) -> list[Tile]:
    digits = decimals(results, key) if key else 0
    return [
        Tile(row["contestant"], fixed(row["pictures"][name].get(key), digits) if key else "", pixels)
        for row, pixels in zip(case["rows"], restored, strict=True)
    ]


def _largest_difference(pictures: list[np.ndarray]) -> tuple[int, int]:
    """Top and left of the SIDE x SIDE crop in which pictures of one size vary most."""
    stack = np.stack(pictures).astype(np.float32)
    variance = stack.var(axis=0).mean(axis=-1)
    height, width = (min(SIDE, side) for side in variance.shape)
    # sums[y, x] is the sum over all pixels above and left of (x, y).
    sums = cv2.integral(variance.astype(np.float64))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return int(y), int(x)


def _enlarged(picture: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Enlarges by nearest neighbour, so that the damaged picture's own pixels are visible."""
    rows, columns = (np.arange(to) * side // to for to, side in zip(size, picture.shape[:2], strict=True))
    return picture[rows[:, None], columns]


def _reduced(picture: np.ndarray, scale: float) -> np.ndarray:
    width, height = (max(1, round(side * scale)) for side in picture.shape[1::-1])
    return picture if scale == 1 else cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _png(pixels: np.ndarray) -> str:
    return _uri(pixels, "png", optimize=True)


def _jpeg(pixels: np.ndarray) -> str:
    return _uri(pixels, "jpeg", quality=95, subsampling=0)


def _uri(pixels: np.ndarray, kind: str, **options: int) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
