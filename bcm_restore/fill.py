"""The first estimate of a hole: the smoothest surface through the known pixels."""

import cv2
import numpy as np

from .spans import widened

TENSION = 1.0
TOLERANCE = 1e-3
ITERATIONS = 60
MARGIN = 16  # known pixels around the hole: two determine values and slopes, the others serve the coarser grids


def smooth_fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fills a hole with the spline under tension that continues the known pixels' values and slopes.

    The fill minimises sum |laplace x|^2 + TENSION |gradient x|^2: biharmonic near the edge of the hole, where slopes
    should be continued, harmonic deep inside a large one, where they would overshoot. Solved coarse to fine by
    conjugate gradients, so that the cost per pixel does not depend on the size of the hole.

    Args:
        image: (H, W, 3) float32.
        hole: (H, W) bool, True where unknown; at least one pixel is known.

    Returns:
        (H, W, 3) float32; known pixels are unchanged, the others within the range of the known ones.
    """
    filled = image.copy()
    for window in clusters(hole):
        part, unknown = image[window], hole[window]
        known = part[~unknown]
        solution = np.clip(solve(part, unknown), known.min(0), known.max(0))
        np.copyto(filled[window], solution, where=unknown[..., None])
    return filled


def clusters(hole: np.ndarray, reach: int = MARGIN) -> list[tuple[slice, slice]]:
    """Splits a hole into parts that do not influence each other.

    Args:
        hole: (H, W) bool, True where unknown.
        reach: in pixels, at least MARGIN; pixels further away have no influence.

    Returns:
        The rows and columns of disjoint rectangles, each a part of the hole and all pixels within `reach` of it.
    """
    near = cv2.dilate(hole.astype(np.uint8), np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8))
    further = reach - MARGIN
    found = [
        (widened(rows, further, hole.shape[0])[0], widened(columns, further, hole.shape[1])[0])
        for rows, columns in _components(near)
    ]
    while len(joined := _components(_drawn(found, hole.shape))) < len(found):
        found = joined
    return found


def _components(marked: np.ndarray) -> list[tuple[slice, slice]]:
    """The rectangles around the connected components of marked pixels, which may overlap."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(marked)
    return [(slice(y, y + height), slice(x, x + width)) for x, y, width, height, _ in boxes[1:].tolist()]


def _drawn(rectangles: list[tuple[slice, slice]], size: tuple[int, ...]) -> np.ndarray:
    marked = np.zeros(size, np.uint8)
    for rectangle in rectangles:
        marked[rectangle] = 1
    return marked


def solve(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Solves for (H, W, 3), starting from the coarsest grid; see `smooth_fill`."""
    if not hole.any():
        return image
    coarse, coarse_hole = _halve(image, hole)
    guess = cv2.resize(solve(coarse, coarse_hole), hole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return relax(np.where(hole[..., None], guess, image), hole)


def _halve(image: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halves the size; each cell is the mean of its known pixels, or unknown if it has too few."""
    means, share = known_means(image, hole)
    return means, too_few(share)


def too_few(share: np.ndarray) -> np.ndarray:
    """Whether cells have too small a share of known pixels and count as unknown; never all of them."""
    return share < min(0.25, share.max())


def known_means(image: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of the known pixels at half the size, (h, w, 3), and their share, (h, w)."""
    size = ((hole.shape[1] + 1) // 2, (hole.shape[0] + 1) // 2)
    weight = (~hole).astype(np.float32)
    total = cv2.resize(image * weight[..., None], size, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    return total / np.maximum(share, 1e-6)[..., None], share


def relax(x: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Conjugate gradients on the unknown pixels, starting from their values in x; in place."""
    free = hole[..., None].astype(np.float32)
    r = _energy_gradient(x)
    r *= -free
    p, rr = r.copy(), float(np.vdot(r, r))
    stop = rr * TOLERANCE**2
    for _ in range(ITERATIONS):
        if rr <= stop:
            break
        q = _energy_gradient(p)
        q *= free
        step = rr / float(np.vdot(p, q))
        cv2.scaleAdd(p, step, x, dst=x)
        cv2.scaleAdd(q, -step, r, dst=r)
        rr, before = float(np.vdot(r, r)), rr
        cv2.scaleAdd(p, rr / before, r, dst=p)
    return x


def _energy_gradient(x: np.ndarray) -> np.ndarray:
    """(laplace^2 - TENSION laplace) x."""
    laplacian = cv2.Laplacian(x, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE)
    gradient = cv2.Laplacian(laplacian, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE)
    return cv2.scaleAdd(laplacian, -TENSION, gradient, dst=gradient)
