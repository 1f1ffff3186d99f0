"""Damaged pictures for the tests of the tasks."""

import numpy as np
from PIL import Image

from bcm_restore import images


def lines(size):
    """A mask of thin lines."""
    mask = np.zeros(size, bool)
    mask[::16] = mask[1::16] = True
    return mask


def compressed(portrait, tmp_path, quality, **options):
    """The pixels and the coefficients of a JPEG file."""
    path = tmp_path / "photo.jpg"
    Image.fromarray(portrait).save(path, quality=quality, **options)
    return images.read(path).pixels, images.jpeg_coefficients(path)
