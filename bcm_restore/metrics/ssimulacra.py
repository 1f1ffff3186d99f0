"""SSIMULACRA2: perceived quality from structural similarity and edges at six scales in the colour space XYB.

Sneyers, https://github.com/cloudinary/ssimulacra2, version 2.1, as in libjxl, whose tool gives the same values to about
0.03 (tests/metrics/test_visual.py).
"""

import functools
import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from .checks import check_colour, check_pair

SIGMA = 1.5  # of the blur, in pixels
SMALLEST = 8  # side of an image that is halved for a further scale, in pixels
C2 = 0.0009  # of the structural similarity
OPSIN = np.array(
    [
        [0.30, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.55180986650955360],
    ]
)  # linear RGB to the responses of long, medium and short cones
BIAS = 0.0037930732552754493

# Of each error, fitted to people's judgements: six lines, from the finest scale, for each of X, Y and B. A line has,
# as a mean and then as a 4-norm, the error of structure, of edges that were added, and of edges that were lost.
WEIGHTS = np.array(
    [
        [0, 0.0007376606707406586, 0, 0, 0.0007793481682867309, 0],
        [0, 0.0004371155730107379, 0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752],
        [0, 0.0016406437456599754, 0, 1.8422455520539298, 11.441172603757666, 0],
        [0.0007989109436015163, 0.000176816438078653, 0, 1.8787594979546387, 10.94906990605142, 0],
        [
            0.0007289346991508072,
            0.9677937080626833,
            0,
            0.00014003424285435884,
            0.9981766977854967,
            0.00031949755934435053,
        ],
        [0.0004550992113792063, 0, 0, 0.0013648766163243398, 0, 0],
        [0, 0, 0, 7.466890328078848, 0, 17.445833984131262],
        [0.0006235601634041466, 0, 0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264],
        [225.20515300849274, 0, 0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985],
        [176.39317598450694, 0, 0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408],
        [0, 0, 0, 34.77906344483772, 44.835625328877896, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0.0008680556573291698, 0, 0, 0, 0],
        [0, 0.0005313191874358747, 0, 0.00016533814161379112, 0, 0],
        [0, 0, 0, 0.0004179171803251336, 0.0017290828234722833, 0],
        [0.0020827005846636437, 0, 0, 8.826982764996862, 23.19243343998926, 0],
        [
            95.1080498811086,
            0.9863978034400682,
            0.9834382792465353,
            0.0012286405048278493,
            171.2667255897307,
            0.9807858872435379,
        ],
        [0, 0, 0, 0.0005130064588990679, 0, 0.00010854057858411537],
    ]
)
SCALES = 6


def ssimulacra2(picture: np.ndarray, reference: np.ndarray) -> float:
    """Perceived quality: 100 for equal pictures, 90 visually lossless, 70 high, 50 medium, 30 low, may be negative.

    Pictures with a side below 113 have fewer scales, and the tool then gives them weights of others; so does this.

    Args:
        picture, reference: (H, W, 3) uint8 of one shape, 8x8 or larger.

    Raises:
        RestoreError: the inputs are invalid.
    """
    check_pair(picture, reference)
    check_colour(picture, smallest=SMALLEST)
    found = np.stack([errors(a, b) for a, b in scales(reference, picture)], 1)
    total = float(WEIGHTS.ravel()[: found.size] @ found.ravel())
    total *= 0.9562382616834844
    total = 2.326765642916932 * total - 0.020884521182843837 * total**2 + 6.248496625763138e-05 * total**3
    return 100.0 - 10.0 * max(total, 0.0) ** 0.6276336467831387


def scales(reference: np.ndarray, picture: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both pictures in XYB, (h, w, 3), at six scales or until they are too small; halved in linear light."""
    pair = [linear(pixels) for pixels in (reference, picture)]
    yield xyb(pair[0]), xyb(pair[1])
    for _ in range(SCALES - 1):
        if min(pair[0].shape[:2]) < SMALLEST:
            return
        pair = [halved(pixels) for pixels in pair]
        yield xyb(pair[0]), xyb(pair[1])


def errors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The errors (3, 2, 3) of b, relative to a, at one scale: channel, norm (mean, 4-norm), kind."""
    mean_a, mean_b = blur(a), blur(b)
    structure = 1 - (1 - (mean_a - mean_b) ** 2) * (2 * (blur(a * b) - mean_a * mean_b) + C2) / (
        blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2 + C2
    )
    edges = (1 + np.abs(b - mean_b)) / (1 + np.abs(a - mean_a)) - 1
    kinds = np.stack([np.maximum(structure, 0), np.maximum(edges, 0), np.maximum(-edges, 0)], -1)
    return np.stack([kinds.mean((0, 1)), (kinds**4).mean((0, 1)) ** 0.25], 1)


def linear(pixels: np.ndarray) -> np.ndarray:
    """sRGB of 8 bits as linear light in [0, 1]."""
    values = np.arange(256) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)[pixels]


def xyb(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB (h, w, 3) in XYB, scaled and shifted so that all channels are about 0 to 1."""
    long, medium, short = np.moveaxis(np.cbrt(np.maximum(rgb @ OPSIN.T + BIAS, 0)) - BIAS ** (1 / 3), 2, 0)
    x, y = (long - medium) / 2, (long + medium) / 2
    return np.stack([14 * x + 0.42, y + 0.01, short - y + 0.55], 2)


def halved(image: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels, and of what is there of them at odd edges."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4


def blur(image: np.ndarray) -> np.ndarray:
    """The Gaussian blur of (h, w, 3), with zeros around."""
    rows = ndimage.correlate1d(image, kernel(), axis=0, mode="constant")
    return ndimage.correlate1d(rows, kernel(), axis=1, mode="constant")


@functools.cache
def kernel() -> np.ndarray:
    """The Gaussian of `SIGMA` as a sum of three cosines (Charalampidis 2016, eq. 37 to 52), (9,)."""
    radius = round(3.2795 * SIGMA + 0.2546)
    signs, omega = np.array([1, -1, 1]), np.array([1, 3, 5]) * math.pi / (2 * radius)
    p = signs / np.tan(omega / 2)
    r = signs * p**2 / np.sin(omega)
    rho = np.exp(-((SIGMA * omega) ** 2) / 2) / radius
    d13, d35, d51 = (p[i] * r[j] - r[i] * p[j] for i, j in ((0, 1), (1, 2), (2, 0)))
    zeta = np.array([d35 / d13, d51 / d13, 1])
    beta = np.linalg.solve(np.stack([p, r, zeta]), np.array([1, radius**2 - SIGMA**2, zeta @ rho]))
    return beta @ np.cos(omega[:, None] * np.arange(1 - radius, radius))
