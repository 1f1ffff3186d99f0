"""Simulated noise: white on the pixels, and of a camera's sensor."""

import cv2
import numpy as np

BLACK, RANGE = 4096, 61439  # of the sensor's 16-bit values, so that noise around black is not clipped


def white_noise(clean: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Adds white Gaussian noise to (H, W, 3) uint8; clips and rounds the sum, as files of 8 bits hold it.

    Papers often keep the noisy picture in floats instead. Clipping makes the noise of dark and light areas weaker.
    """
    return _to_bytes(clean / 255 + rng.normal(0, sigma / 255, clean.shape))


def sensor_noise(
    clean: np.ndarray, shot: float, read: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Takes (H, W, 3) uint8 with a camera: linear light, Bayer mosaic, noise, demosaicing, gamma of sRGB.

    The noise of a value v in [0, 1] is Gaussian with variance shot v + read^2 (Foi et al. 2008). Brooks et al. 2019
    ("Unprocessing images for learned raw denoising") draw `shot` up to 0.012. White balance, colour matrix, sharpening
    and compression are left out. OpenCV's edge-aware demosaicing, in 16 bits.

    Returns:
        The noisy picture, and the picture of the same camera without noise.
    """
    raw = mosaic(linear(clean / 255))
    noise = rng.normal(size=raw.shape) * np.sqrt(shot * raw + read**2)
    return _developed(raw + noise), _developed(raw)


def mosaic(x: np.ndarray) -> np.ndarray:
    """The Bayer mosaic (H, W) of (H, W, 3): red, green in even rows, green, blue in odd ones."""
    raw = x[..., 1].copy()
    raw[0::2, 0::2], raw[1::2, 1::2] = x[0::2, 0::2, 0], x[1::2, 1::2, 2]
    return raw


def _developed(raw: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 of a mosaic in linear light."""
    values = np.clip(np.rint(raw * RANGE + BLACK), 0, 65535).astype(np.uint16)
    # OpenCV names patterns by the second pixel of the second row
    x = cv2.demosaicing(values, cv2.COLOR_BayerBG2RGB_EA).astype(np.float64)
    return _to_bytes(encoded(np.clip((x - BLACK) / RANGE, 0, 1)))


def linear(x: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def encoded(x: np.ndarray) -> np.ndarray:
    """sRGB values of linear light in [0, 1]."""
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)


def _to_bytes(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)
