"""The masks used in the literature, for pictures of any size with sides of 64 or more."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from PIL import Image

from ..errors import RestoreError

Size = tuple[int, int]  # height and width
MakeMask = Callable[[np.random.Generator, Size], np.ndarray]  # bool of that size, True where unknown

WORDS = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore"


def box(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A centred box of half the height and half the width: 128x128 of 256x256 (Palette, I2SB)."""
    mask = np.zeros(size, bool)
    (top, height), (left, width) = ((side // 4, side // 2) for side in size)
    mask[top : top + height, left : left + width] = True
    return mask


def boxes(rng: np.random.Generator, size: Size) -> np.ndarray:
    """32x32 boxes at random places, one for every 128x128 pixels; needs sides of 49 or more."""
    mask = np.zeros(size, bool)
    for _ in range(max(1, size[0] * size[1] // 128**2)):
        y, x = (int(rng.integers(8, side - 40)) for side in size)
        mask[y : y + 32, x : x + 32] = True
    return mask


def freeform(low: float, high: float, thinner: int = 1) -> MakeMask:
    """Brush strokes that cover a share of `low` to `high` of the picture; `low` and `high` differ by 0.1 or more.

    The strokes are those of Yu et al. 2019 (Free-Form Image Inpainting with Gated Convolution): zigzags of straight
    segments with random angles, lengths and widths, relative to the shorter side; `thinner` divides the widths.
    """

    def draw(rng: np.random.Generator, size: Size) -> np.ndarray:
        enough = rng.uniform(low, high)
        segments = _segments(rng, size)
        before = mask = np.zeros(size, np.uint8)
        while _share(mask) < enough:
            start, end, width = next(segments)
            before, mask = mask, cv2.line(mask.copy(), start, end, 1, max(1, width // thinner))
        # One segment covers less than 0.1: if the last exceeds `high`, the mask without it exceeds `low`.
        return (mask if _share(mask) <= high else before) > 0

    return draw


def random_80(rng: np.random.Generator, size: Size) -> np.ndarray:
    """80 % of the pixels, at random."""
    return rng.random(size) >= 0.2


def random_50(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Half of the pixels, at random."""
    return rng.random(size) >= 0.5


def text(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Lines of text across the picture."""
    mask = np.zeros(size, np.uint8)
    line = " ".join([WORDS] * (1 + size[1] // 880))  # the words cover 889 pixels or more, wherever they begin
    for y in range(14, size[0], 21):
        cv2.putText(mask, line, (int(rng.integers(-60, 20)), y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1, 2)
    return mask > 0


def half(rng: np.random.Generator, size: Size) -> np.ndarray:
    """The right half."""
    mask = np.zeros(size, bool)
    mask[:, size[1] // 2 :] = True
    return mask


def fixed(mask: np.ndarray) -> MakeMask:
    """One mask (H, W) bool for all pictures, resized to each by the nearest pixel.

    Raises:
        RestoreError: it marks nothing or everything; the result raises this too, if the resized mask does.
    """
    _check_given(mask)

    def resize(rng: np.random.Generator, size: Size) -> np.ndarray:
        image = Image.fromarray(mask.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
        resized = np.asarray(image) > 0
        _check_given(resized)
        return resized

    return resize


MASKS: dict[str, MakeMask] = {
    "box": box,
    "random-boxes": boxes,
    "freeform-10-20": freeform(0.1, 0.2),
    "freeform-20-30": freeform(0.2, 0.3),
    "random-80": random_80,
    "text": text,
    "half": half,
}
FURTHER_MASKS: dict[str, MakeMask] = {"thin-strokes": freeform(0.05, 0.15, thinner=8), "random-50": random_50}


def _segments(rng: np.random.Generator, size: Size) -> Iterator[tuple[tuple[int, int], tuple[int, int], int]]:
    """Yields endless segments of strokes: (x, y) of both ends and the brush's width, in pixels."""
    side, last = min(size), np.array(size) - 1
    while True:
        point = rng.random(2) * last
        heading = rng.uniform(0, 2 * np.pi)
        width = round(side * rng.uniform(12, 40) / 256)
        for number in range(rng.integers(4, 13)):
            aside = rng.uniform(4, 8) * np.pi / 15
            angle = heading + (aside if number % 2 else -aside)
            length = side * np.clip(rng.normal(0.18, 0.09), 0, 0.35)
            end = np.clip(point + length * np.array([np.sin(angle), np.cos(angle)]), 0, last)
            yield _pixel(point), _pixel(end), width
            point = end


def _pixel(point: np.ndarray) -> tuple[int, int]:
    """(x, y) of a point (y, x)."""
    return round(point[1]), round(point[0])


def _share(mask: np.ndarray) -> float:
    return cv2.countNonZero(mask) / mask.size


def _check_given(mask: np.ndarray) -> None:
    marked = np.count_nonzero(mask)
    if marked in (0, mask.size):
        what = "every pixel" if marked else "no pixel"
        raise RestoreError(
            f"--mask: marks {what} at {mask.shape[1]}x{mask.shape[0]}; make it white where the picture is unknown, "
            "and black elsewhere"
        )
