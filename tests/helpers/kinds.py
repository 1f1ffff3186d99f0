"""One photograph in all supported types of images."""

import numpy as np
import torch
from PIL import Image


def kinds(photo):
    grey = photo[..., 0]
    return {
        "uint8": photo,
        "grey": grey,
        "grey, one channel": grey[..., None],
        "uint16": photo.astype(np.uint16) * 257,
        "float32": (photo / 255).astype(np.float32),
        "float64": photo / 255,
        "PIL": Image.fromarray(photo),
        "PIL grey": Image.fromarray(grey),
        "tensor": torch.from_numpy(photo).permute(2, 0, 1) / 255,
        "uint8 tensor": torch.from_numpy(photo).permute(2, 0, 1),
        "batch": torch.from_numpy(np.stack([photo, photo[::-1]])).permute(0, 3, 1, 2) / 255,
        "grey tensor": torch.from_numpy(grey)[None] / 255,
    }


def as_array(image):
    return np.asarray(image)
