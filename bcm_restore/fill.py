"""The first estimate of a hole: the smoothest surface through the known pixels."""

import cv2
import numpy as np

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
    window = around(hole)
    image, hole, filled_window = image[window], hole[window], filled[window]
    known = image[~hole]
    solution = np.clip(solve(image, hole), known.min(0), known.max(0))
    np.copyto(filled_window, solution, where=hole[..., None])
    return filled


def around(hole: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of the hole and its margin; pixels further away do not influence the fill."""
    spans = [np.flatnonzero(hole.any(axis)) for axis in (1, 0)]
    starts = [max(int(span[0]) - MARGIN, 0) if len(span) else 0 for span in spans]
    stops = [int(span[-1]) + 1 + MARGIN if len(span) else MARGIN for span in spans]
    stops = [min(stop, side) for stop, side in zip(stops, hole.shape, strict=True)]
    return slice(starts[0], stops[0]), slice(starts[1], stops[1])


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
