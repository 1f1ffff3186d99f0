"""Pictures and files for the tests of `bcm_restore.images`."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from bcm_restore.images import Picture

MODES = ("grey", "grey alpha", "rgb", "rgb alpha")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
LOSSY = [".jpg", ".webp", pytest.param(".avif", marks=needs_avif)]


def random_picture(mode, height, width, dtype, seed=0, **metadata):
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    shape = (height, width, 3) if mode.startswith("rgb") else (height, width)
    alpha = rng.integers(0, top, (height, width), dtype, endpoint=True) if mode.endswith("alpha") else None
    return Picture(rng.integers(0, top, shape, dtype, endpoint=True), alpha, **metadata)


def assert_same(a, b):
    assert a.pixels.dtype == b.pixels.dtype
    np.testing.assert_array_equal(a.pixels, b.pixels)
    assert (a.alpha is None) == (b.alpha is None)
    if a.alpha is not None:
        np.testing.assert_array_equal(a.alpha, b.alpha)


def exif_with(orientation, **tags):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = tags.get("make", "Maker")
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    return exif.tobytes()


def png16(samples, colour_type, *chunks):
    """A 16-bit PNG written by the specification, without filters."""
    height, width = samples.shape[:2]
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
