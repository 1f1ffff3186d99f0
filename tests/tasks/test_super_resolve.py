"""Super-resolution."""

import numpy as np
import pytest
from PIL import Image

from bcm_restore import tasks
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import psnr


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_super_resolution_is_consistent_with_its_input(portrait, model, scale):
    small = Image.fromarray(portrait).resize((48, 40), Image.Resampling.BICUBIC)
    large = tasks.get("super-resolve").restore(small, scale=scale, nfe=2, model=model)
    assert large.size == (48 * scale, 40 * scale)
    again = np.asarray(large.resize((48, 40), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(again - np.asarray(small)).mean() < 1  # clipping to 0..255 makes a small difference


def test_super_resolution_beats_bicubic(portrait, model):
    small = Image.fromarray(portrait).resize((64, 64), Image.Resampling.BICUBIC)
    large = tasks.get("super-resolve").restore(small, scale=2, model=model)
    assert (
        psnr(np.asarray(large), portrait)
        > psnr(np.asarray(small.resize((128, 128), Image.Resampling.BICUBIC)), portrait) + 0.8
    )


@pytest.mark.parametrize("nfe", tasks.NFES)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_flat_areas_stay_flat(model, scale, nfe):
    """White, where networks without normalisation draw grids first."""
    white = np.full((12, 16, 3), 255, np.uint8)
    large = tasks.get("super-resolve").restore(white, scale=scale, nfe=nfe, model=model)
    assert large.min() >= 240


def test_super_resolution_refuses_other_scales(portrait):
    with pytest.raises(RestoreError, match="scale 5 is not supported; use 2, 3, 4, 8"):
        tasks.get("super-resolve").restore(portrait, scale=5)


def test_alpha_of_pil_images_is_kept(portrait, model):
    picture = Image.fromarray(portrait[:32, :32]).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((32, 32)))
    large = tasks.get("super-resolve").restore(picture, scale=2, nfe=1, model=model)
    assert large.mode == "RGBA"
    assert large.getchannel("A").resize((32, 32)).getextrema()[1] > 200
