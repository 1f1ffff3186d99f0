"""Two pictures that become one kind, and what is between them."""

from __future__ import annotations

import numpy as np

from .picture import Picture, as_depth, resized


def alike(first: Picture, last: Picture) -> tuple[Picture, Picture]:
    """Both pictures with the size of the first, one depth and one number of channels."""
    depth = np.promote_types(first.pixels.dtype, last.pixels.dtype)
    colour = first.pixels.ndim == 3 or last.pixels.ndim == 3

    def converted(picture: Picture) -> Picture:
        planes = [resized(plane, first.size) for plane in np.dstack([picture.pixels]).transpose(2, 0, 1)]
        pixels = np.dstack(planes * 3 if colour and len(planes) == 1 else planes)
        return picture.with_pixels(as_depth(pixels if colour else pixels[:, :, 0], depth))

    return converted(first), converted(last)


def mixed_alpha(first: Picture, last: Picture, weight: float) -> np.ndarray | None:
    """The transparency between two pictures that are alike, `weight` of it the last one's; None if neither has any."""
    if first.alpha is None and last.alpha is None:
        return None
    full = np.iinfo(first.pixels.dtype).max
    a, b = (np.full(p.size, full) if p.alpha is None else p.alpha for p in (first, last))
    return np.rint((1 - weight) * a.astype(np.float64) + weight * b.astype(np.float64)).astype(first.pixels.dtype)
