"""Inpainting."""

import numpy as np
import pytest
import torch
from helpers.damage import lines
from helpers.kinds import as_array, kinds
from PIL import Image

from bcm_restore import tasks
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import psnr
from bcm_restore.tasks.inpaint import SeamlessMask


@pytest.mark.slow
def test_inpaint_leaves_known_pixels_identical_and_is_near_the_truth(portrait, model):
    mask = lines(portrait.shape[:2])
    for name, image in kinds(portrait).items():
        if name == "batch":
            continue
        damaged = image.copy() if isinstance(image, (np.ndarray, Image.Image)) else image.clone()
        result = tasks.get("inpaint").run(damaged, mask=mask, nfe=2, model=model)
        assert result.nfe == 2
        before, after = as_array(image), as_array(result.image)
        where = mask if after.ndim == 2 or after.shape[-1] in (1, 3) else mask[None].repeat(len(after), 0)
        assert after.dtype == before.dtype, name
        assert np.array_equal(after[~where], before[~where]), name
    assert psnr(tasks.get("inpaint").restore(portrait, mask=mask, model=model), portrait, mask) > 25


def test_inpaint_ignores_pixels_under_the_mask(portrait, model):
    mask = lines(portrait.shape[:2])
    black, white = (np.where(mask[..., None], value, portrait).astype(np.uint8) for value in (0, 255))
    a, b = (tasks.get("inpaint").restore(image, mask=mask, model=model) for image in (black, white))
    assert np.array_equal(a, b)


def test_inpaint_batches_with_own_masks_equal_single_pictures(portrait, model):
    batch = torch.from_numpy(np.stack([portrait, portrait[::-1]])).permute(0, 3, 1, 2) / 255
    masks = torch.from_numpy(np.stack([lines((128, 128)), lines((128, 128)).T]))[:, None]
    scheme = "noise 0.1, to 0, fit"
    together = tasks.get("inpaint").restore(batch, mask=masks, scheme=scheme, seed=3, model=model)
    for image, mask, result in zip(batch, masks, together, strict=True):
        alone = tasks.get("inpaint").restore(image, mask=mask, scheme=scheme, seed=3, model=model)
        torch.testing.assert_close(alone, result, rtol=0, atol=2e-6)


def test_inpaint_masks_that_do_not_fit_are_refused(portrait):
    for mask, reason in (
        (None, "needs a mask"),
        (np.ones((5, 7), bool), "the mask is 7x5 and the image 128x128"),
        (np.ones((128, 128), bool), "covers the whole image"),
    ):
        with pytest.raises(RestoreError, match=reason):
            tasks.get("inpaint").restore(portrait, mask=mask)


def test_wide_and_thin_holes_have_their_own_schemes(portrait, model):
    box, large = np.zeros((2, 128, 128), bool)
    box[40:80, 40:80] = True
    large[20:100, 20:100] = True
    masks = (box, lines((128, 128)), large)
    cases = [tasks.get("inpaint").run(portrait, mask=mask, nfe=1, model=model).case for mask in masks]
    assert cases == ["wide", "thin", "deep"]


@pytest.mark.slow
def test_a_200_pixel_hole_is_continued_smoothly(model):
    """A sky: no seam, no noise and no drift of the colours in a hole wider than the network sees."""
    rows, columns = np.mgrid[:400, :500]
    sky = np.stack([40 + rows / 8, 60 + rows / 6, 90 + rows / 5 + columns / 20], -1).round().astype(np.uint8)
    mask = np.zeros(sky.shape[:2], bool)
    mask[100:300, 150:350] = True
    restored = tasks.get("inpaint").restore(
        np.where(mask[..., None], 255, sky).astype(np.uint8), mask=mask, model=model
    )
    error = restored.astype(int) - sky
    assert np.abs(error).max() <= 6
    assert np.abs(error[mask].mean(0)).max() < 1.5


def test_a_seamless_fit_is_a_projection():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 2, 3, 24, 31, generator=generator) * 2 - 1
    known = torch.rand(1, 1, 24, 31, generator=generator) < 0.6
    operator = SeamlessMask(known)
    once = operator.fit(x, y)
    assert torch.equal(operator.A(once), operator.A(y))
    torch.testing.assert_close(operator.fit(once, y), once)
    # a drift at the known pixels is removed from the hole
    torch.testing.assert_close(operator.fit(y + 0.2, y), y, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("count", "masks", "message"), [(1, 2, "2 masks for 1 pictures"), (2, 3, "3 masks for 2 pictures")]
)
def test_a_wrong_number_of_masks_is_refused(portrait, model, count, masks, message):
    several, batch = [portrait] * count, torch.zeros(count, 3, *portrait.shape[:2])
    marked = np.zeros((masks, *portrait.shape[:2]), bool)
    marked[:, 5:7] = True
    for images in (several if count > 1 else portrait, batch):
        with pytest.raises(RestoreError, match=message if images is batch else f"{masks} masks for 1 pictures"):
            tasks.get("inpaint").restore(images, mask=torch.from_numpy(marked)[:, None], model=model)
