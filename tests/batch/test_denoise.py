"""Denoising files and folders: pictures without noise are skipped, pages on their own, and each setting counts."""

import numpy as np
import pytest
from PIL import Image

import bcm_restore
from bcm_restore import batch
from bcm_restore.errors import NothingToRestore, RestoreError
from bcm_restore.simulation.noise import white_noise

OPTIONS = {"model": "bcm-photo-small", "device": "cpu"}


@pytest.fixture
def noisy(face):
    return white_noise(face, 15, np.random.default_rng(0))


def test_a_folder_lists_pictures_without_noise(save, face, noisy, tmp_path):
    save("album/clean.png", face)
    save("album/noisy.png", noisy)
    outcomes = {one.input.rpartition("/")[2]: one for one in batch.restore("denoise", [tmp_path / "album"], **OPTIONS)}
    assert outcomes["clean.png"].status == "skipped"
    assert outcomes["clean.png"].remark.endswith("clean.png: no noise found; --sigma S denoises it anyway")
    assert outcomes["noisy.png"].status == "restored"
    assert outcomes["noisy.png"].nfe == 1
    restored = np.asarray(Image.open(tmp_path / "album_denoised" / "noisy.png")).astype(float)
    assert np.std(restored - face) < 0.6 * np.std(noisy - face.astype(float))
    assert {one.status for one in batch.restore("denoise", [tmp_path / "album"], **OPTIONS)} == {"kept", "skipped"}
    for _ in batch.restore("denoise", [tmp_path / "album"], grain=0.5, overwrite=True, **OPTIONS):
        pass
    kept = np.asarray(Image.open(tmp_path / "album_denoised" / "noisy.png")).astype(float)
    assert np.abs(kept - (restored + noisy) / 2).max() <= 1


def test_a_single_clean_picture_is_an_error(photo, tmp_path):
    with pytest.raises(NothingToRestore, match="no noise found; --sigma S denoises it anyway"):
        bcm_restore.restore_file("denoise", photo, **OPTIONS)
    outcome = bcm_restore.restore_file("denoise", photo, sigma=5, **OPTIONS)
    assert outcome.output == str(tmp_path / "photo_denoised.png")
    assert outcome.remark == "given noise of standard deviation 5 of 255"


def test_noise_of_transparent_pixels_and_of_sixteen_bits(save, noisy, tmp_path):
    picture = Image.fromarray(noisy).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 12, 12))
    bcm_restore.restore_file("denoise", save("a.png", picture), tmp_path / "b.png", **OPTIONS)
    restored = Image.open(tmp_path / "b.png")
    assert restored.mode == "RGBA"
    assert np.array_equal(np.asarray(restored)[..., 3], np.asarray(picture)[..., 3])
    deep = save("deep.png", Image.fromarray(noisy[..., 0].astype(np.uint16) * 257))
    bcm_restore.restore_file("denoise", deep, tmp_path / "c.png", **OPTIONS)
    assert Image.open(tmp_path / "c.png").mode == "I;16"


def test_settings_are_checked_before_any_picture(photo):
    with pytest.raises(RestoreError, match=r"sigma 300\.0: give a standard deviation"):
        bcm_restore.restore_file("denoise", photo, sigma=300.0)
    with pytest.raises(TypeError, match="denoise got an unexpected keyword argument 'noise'"):
        bcm_restore.restore_file("denoise", photo, noise=3)
