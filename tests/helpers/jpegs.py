"""JPEG files for the tests of the operator, and the distance of pictures."""

import io

import jpeglib
import numpy as np
import torch
from PIL import Image
from skimage import data

from bcm_restore.operators import Coefficients

SAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}  # of luma (vertical, horizontal)
KINDS = [*SAMPLINGS, "grey"]
ALIGNED, ODD = (96, 128), (93, 75)  # whole blocks of 16, and neither side a multiple of 8


def picture(height, width, kind="4:4:4", top=20, left=150):
    image = Image.fromarray(data.astronaut()[top : top + height, left : left + width])
    return image.convert("L") if kind == "grey" else image


def to_tensor(image):
    array = np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous()


def compressed(image, folder, quality=50, kind="4:4:4"):
    """The coefficients of the file that Pillow writes, and the pixels that it reads from it."""
    path = folder / "picture.jpg"
    image.save(path, quality=quality, **({} if kind == "grey" else {"subsampling": kind}))
    file, decoded = jpeglib.read_dct(str(path)), Image.open(path)
    planes = [plane for plane in (file.Y, file.Cb, file.Cr) if plane is not None]
    tables = [file.qt[number] for number in file.quant_tbl_no[: len(planes)]]
    factors = [SAMPLINGS.get(kind, (1, 1)), (1, 1), (1, 1)][: len(planes)]
    return Coefficients((file.height, file.width), planes, tables, factors), to_tensor(decoded)


def reread(image, quality, kind="4:4:4"):
    """The pixels after JPEG compression, without the file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, **({} if kind == "grey" else {"subsampling": kind}))
    return to_tensor(Image.open(buffer))


def psnr(a, b):
    return float(10 * torch.log10(4 / ((a - b).square().mean() + 1e-12)))


def guess(x, seed=0, strength=0.1):
    """A possible output of a network: x with an error."""
    return x + strength * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
