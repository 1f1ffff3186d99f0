"""Names of cases, and pictures of noise, for the tests of the bench's data."""

import numpy as np

from bcm_restore.bench.pictures import Clean, Pictures

INPAINT = ["box", "random-boxes", "freeform-10-20", "freeform-20-30", "random-80", "text", "half"]
RANDOM = INPAINT[1:6]
FURTHER_NAMES = {
    "inpaint": ["thin-strokes", "random-50", "box-noise-5"],
    "jpeg": ["quality-3", "quality-60"],
    "super-resolve": ["x3", "x4-noise-5", "x4-jpeg-60"],
}


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(height, width, seed=0):
    return rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def of(**arrays):
    return Pictures("mine", None, [Clean(name, lambda pixels=pixels: pixels) for name, pixels in arrays.items()])
