"""JPEG restoration."""

import numpy as np
import pytest
from helpers.damage import compressed
from PIL import Image
from skimage import data

from bcm_restore import images, tasks
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import psnr
from bcm_restore.operators.jpeg import quantisation_level
from bcm_restore.tasks.arrays import to_tensor


@pytest.mark.parametrize(("quality", "gain"), [(5, 0.3), (10, 0.4), (20, 0.3), (40, 0.2), (95, -0.05)])
def test_jpeg_is_restored_at_any_quality(portrait, tmp_path, model, quality, gain):
    decoded, coefficients = compressed(portrait, tmp_path, quality)
    result = tasks.get("jpeg").run(decoded, coefficients=coefficients, nfe=1, model=model)
    assert result.nfe == 1
    assert psnr(result.image, portrait) - psnr(decoded, portrait) > gain


def test_jpeg_pixels_without_a_file_are_restored_too(portrait, tmp_path, model):
    decoded, _ = compressed(portrait, tmp_path, 15)
    restored = tasks.get("jpeg").restore(decoded, model=model, nfe=1)
    assert psnr(restored, portrait) - psnr(decoded, portrait) > 0.3


def test_jpeg_refuses_pixels_without_traces_of_compression(portrait, model):
    clean = np.asarray(Image.fromarray(data.coffee()).resize((160, 120), Image.Resampling.LANCZOS))
    with pytest.raises(RestoreError, match="no trace of JPEG compression"):
        tasks.get("jpeg").restore(clean, model=model)
    assert tasks.get("jpeg").restore(clean, input_quality=50, model=model, nfe=1).shape == clean.shape


@pytest.mark.parametrize("corner", [0, 3])
def test_jpegs_saved_twice_are_restored_from_the_first_compression(portrait, tmp_path, model, corner):
    once, _ = compressed(portrait, tmp_path, 10)
    decoded, coefficients = compressed(once[corner:, corner:], tmp_path, 90)
    result = tasks.get("jpeg").run(decoded, coefficients=coefficients, nfe=1, model=model)
    assert "was quality 10" in result.remark and "before it was 90" in result.remark
    assert psnr(result.image, portrait[corner:, corner:]) - psnr(decoded, portrait[corner:, corner:]) > 0.4


def test_the_quality_given_is_honoured_in_files(portrait, tmp_path, model):
    decoded, coefficients = compressed(portrait, tmp_path, 90)
    plain, given = (
        tasks.get("jpeg").run(decoded, coefficients=coefficients, input_quality=quality, nfe=1, model=model)
        for quality in (None, 20)
    )
    assert plain.remark == "" and given.remark == "was quality 20 before it was 90"
    assert np.abs(plain.image.astype(int) - decoded).max() < np.abs(given.image.astype(int) - decoded).max()


def test_rgb_jpegs_are_restored_from_their_own_coefficients(portrait, tmp_path, model):
    decoded, coefficients = compressed(portrait, tmp_path, 10, keep_rgb=True)
    result = tasks.get("jpeg").run(decoded, coefficients=coefficients, nfe=1, model=model)
    assert psnr(result.image, portrait) - psnr(decoded, portrait) > 0.4
    assert tasks.get("jpeg").run(decoded, coefficients=coefficients, input_quality=10, nfe=1, model=model).remark


def test_grey_jpegs_stay_grey(portrait, tmp_path, model):
    decoded, coefficients = compressed(np.ascontiguousarray(portrait[..., 1]), tmp_path, 10)
    restored = tasks.get("jpeg").restore(decoded, coefficients=coefficients, model=model, nfe=1)
    assert restored.shape == decoded.shape == (128, 128)
    assert psnr(restored, portrait[..., 1]) > psnr(decoded, portrait[..., 1]) + 0.3


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_jpegs_are_restored_at_a_higher_level(portrait, mode, tmp_path):
    """Their channels share the error, so that its luma is that of independent errors of a higher level."""
    clean = Image.fromarray(portrait).convert("L").convert(mode)
    clean.save(tmp_path / "grey.jpg", quality=10)
    decoded, file = images.read(tmp_path / "grey.jpg").pixels, images.jpeg_coefficients(tmp_path / "grey.jpg")
    task = tasks.get("jpeg")
    problem = task.problem(to_tensor(decoded)[0], coefficients=file)
    assert problem.t0 == pytest.approx(4 / 3 * quantisation_level(file.planes[:1], file.tables[:1]))
    made = [task.restore(decoded, coefficients=file, scheme=f"level {s}t0, mean, fit") for s in (1.5, 1.5 * 3 / 4)]
    gained, before = (psnr(one, np.asarray(clean)) for one in made)
    assert gained > before


def test_luma_of_a_lower_resolution_than_chroma(model):
    """Rare, but Pillow reads it: an earlier compression is not searched."""
    planes = [np.zeros((2, 3, 8, 8), np.int16), *np.zeros((2, 4, 6, 8, 8), np.int16)]
    tables = (np.full((8, 8), 12, np.uint16),) * 3
    coefficients = images.JpegCoefficients((32, 48), tuple(planes), tables, ((1, 1), (2, 2), (2, 2)))
    grey = np.full((32, 48, 3), 128, np.uint8)
    restored = tasks.get("jpeg").restore(grey, coefficients=coefficients, nfe=1, model=model)
    assert np.abs(restored.astype(int) - grey).max() <= 1
