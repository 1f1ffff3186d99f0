"""Enlarging noisy pictures, JPEGs, and pictures that were downscaled without a filter."""

import io
import json

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from helpers import jpegs
from helpers.networks import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore import images, load_model, spans, tasks
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import psnr
from bcm_restore.operators import Chain, Jpeg, NoiseLevel, Noisy, Points, Resize, given_noise, measure_noise
from bcm_restore.operators.dct import HALF_RANGE
from bcm_restore.operators.points import downscaling_kernel
from bcm_restore.tasks.arrays import to_tensor

SR = tasks.get("super-resolve")
KERNELS = "nearest", "box", "bicubic"
PHOTOS = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]


def shrunk(photo, scale, kernel="bicubic"):
    height, width = (side // scale for side in photo.shape[:2])
    photo = photo[: height * scale, : width * scale]
    if kernel == "opencv":
        return cv2.resize(photo, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling[kernel.upper()]))


def noisy(picture, sigma):
    n = np.random.default_rng(0).standard_normal(picture.shape)
    return (picture + sigma * n).round().clip(0, 255).astype(np.uint8)


def enlarged(small, scale):
    return np.asarray(Image.fromarray(small).resize((small.shape[1] * scale, small.shape[0] * scale), 3))


@pytest.fixture(scope="module")
def quick():
    return load_model("bcm-photo-small", device="cpu")


@pytest.fixture(scope="module")
def fringe():
    """(128, 128, 3), with flat and fine parts."""
    return np.ascontiguousarray(skimage.data.astronaut()[:128, 160:288])


# The operators


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([2, 3, 4, 8]), st.sampled_from([10, 50, 90]))
def test_a_chain_fits_both_operators(height, width, scale, quality):
    """The result, downscaled and compressed again, equals the file."""
    small = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height)) * 2 - 1
    jpeg = Jpeg.from_pixels(small, quality, (1, 1))
    chain = Chain(Resize((height * scale, width * scale), scale=scale), jpeg)
    x = torch.rand(1, 3, height * scale, width * scale, generator=torch.Generator().manual_seed(width)) * 2 - 1
    again = chain.A(chain.fit(x, jpeg.y))
    off = [(a - b)[:, : height // 8, : width // 8] for a, b in zip(again, jpeg.y, strict=True)]  # whole blocks
    assert all(not one.any() for one in off)
    assert chain.pinv(jpeg.y).shape == x.shape


def test_noise_is_not_fitted_but_other_residuals_are():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, 64, 64, generator=generator) - 0.5
    y = x + 0.05 * torch.randn(x.shape, generator=generator)
    operator = Noisy(torch.tensor([0.05]))
    assert (operator.fit(x, y) - x).std() < 0.03 < (y - x).std()
    y[:, :, 20:40, 20:40] += 1
    assert (operator.fit(x, y) - y)[:, :, 22:38, 22:38].abs().max() < 0.02
    torch.testing.assert_close(Noisy(torch.tensor([0.0])).fit(x, y), y)


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_points_are_fitted_for_either_offset(scale):
    operator = Points((5 * scale, 7 * scale), scale)
    y = torch.rand(1, 3, 5, 7).repeat(2, 1, 1, 1)
    fitted = operator.fit(operator.upscale(y), y)
    torch.testing.assert_close(operator.A(fitted), y)
    torch.testing.assert_close(fitted[:1, :, ::scale, ::scale], y[:1])
    middle = scale // 2
    torch.testing.assert_close(fitted[1:, :, middle::scale, middle::scale], y[1:])


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_mean_of_points_is_in_the_middle_of_cells(scale):
    """A ramp sampled at either offset, and interpreted as if sampled in the middle."""
    operator = Points((4 * scale, 4 * scale), scale)
    ramp = torch.arange(4.0 * scale).expand(1, 3, 4 * scale, -1)
    halves = torch.cat([ramp - 0, ramp - scale // 2])  # zero at the first sample
    middle = (scale - 1) / 2
    torch.testing.assert_close(operator.mean(halves), ramp - middle)


# Detection


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("photo", PHOTOS)
def test_noise_is_estimated(photo, scale):
    for kernel in ("bicubic", "lanczos"):
        assert measure_noise(to_tensor(shrunk(photo, scale, kernel))[0]).sigma == 0
    for sigma in (4, 10, 25):
        found = measure_noise(to_tensor(noisy(shrunk(photo, scale), sigma))[0]).sigma * HALF_RANGE
        assert found == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("photo", PHOTOS)
def test_noise_that_the_channels_share_is_estimated(photo, colour):
    clean = shrunk(photo, 2)
    clean = clean if colour else np.repeat(clean.mean(2, keepdims=True).round(), 3, 2)
    assert measure_noise(to_tensor(clean.astype(np.uint8))[0]).sigma == 0
    for sigma in (5, 10, 25):
        n = np.random.default_rng(0).standard_normal((*clean.shape[:2], 1))
        found = measure_noise(to_tensor((clean + sigma * n).round().clip(0, 255).astype(np.uint8))[0])
        assert found.shared
        assert found.per_channel * HALF_RANGE == pytest.approx(sigma, rel=0.3)
        assert found.sigma == pytest.approx(3**0.5 * found.per_channel)


@pytest.mark.parametrize("shared", [False, True])
def test_given_noise_is_shared_if_the_picture_shows_it(fringe, shared):
    n = np.random.default_rng(0).standard_normal((128, 128, 1 if shared else 3))
    image = to_tensor((fringe + 10 * n).round().clip(0, 255).astype(np.uint8))[0]
    assert given_noise(image, (10 / HALF_RANGE,) * 3) == NoiseLevel((10 / HALF_RANGE,) * 3, shared)


def test_shared_noise_is_completed_to_independent_noise():
    """The estimate has the same noise in all directions of colour; `fit` restores the chroma."""
    grey = torch.zeros(1, 3, 256, 256)
    y = grey + 0.1 * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(0))
    problem = tasks.get("denoise").problem(y, noise=NoiseLevel((0.1,) * 3, shared=True))
    pixels = problem.x[0].flatten(1)
    torch.testing.assert_close(pixels @ pixels.T / pixels.shape[1], 0.03 * torch.eye(3), rtol=0, atol=5e-4)
    assert problem.t0 == pytest.approx(0.1 * 3**0.5)
    torch.testing.assert_close(problem.operator.fit(problem.x, y), y, rtol=0, atol=1e-6)


def test_unfiltered_pictures_are_recognised():
    small = {
        kernel: [to_tensor(shrunk(photo, scale, kernel))[0] for photo in PHOTOS for scale in (2, 4)]
        for kernel in ("bicubic", "lanczos", "nearest", "opencv")
    }
    found = {kernel: [downscaling_kernel(one) for one in some] for kernel, some in small.items()}
    assert {*found["bicubic"], *found["lanczos"]} == {"bicubic"}
    for kernel in ("nearest", "opencv"):
        assert found[kernel].count("nearest") >= 5
        assert found[kernel].count("bicubic") <= 1


def test_noise_is_not_taken_for_a_missing_filter():
    for photo in PHOTOS:
        small = to_tensor(noisy(shrunk(photo, 4), 10))[0]
        assert downscaling_kernel(small, measure_noise(small).sigma) != "nearest"


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans(), st.integers(0, 3))
def test_estimates_for_tiny_flat_and_random_pictures_are_finite(height, width, flat, seed):
    x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    x = x.mean((2, 3), keepdim=True).expand_as(x) if flat else x
    sigma = measure_noise(x).sigma
    assert np.isfinite(sigma)
    assert sigma == 0 or not flat
    assert downscaling_kernel(x, sigma) in KERNELS


# Enlarging them


@pytest.mark.parametrize("sigma", [0, 2, 5, 10])
def test_noisy_pictures_are_no_worse_than_bicubic(fringe, quick, sigma):
    small = noisy(shrunk(fringe, 2), sigma)
    made = SR.run(small, scale=2, model=quick, nfe=4)
    assert psnr(made.image, fringe) > psnr(enlarged(small, 2), fringe) + 0.5
    assert made.remark.startswith("noise of standard deviation") == (sigma >= 5)


@pytest.mark.parametrize("sigma", [5, 10])
def test_pictures_with_grey_noise_are_no_worse_than_bicubic(quick, sigma):
    clean = np.asarray(Image.fromarray(PHOTOS[1]).convert("L").crop((0, 0, 256, 256)))
    small = noisy(shrunk(clean, 2), sigma)
    made = SR.run(small, scale=2, model=quick, nfe=4)
    assert made.remark.startswith("noise of standard deviation")
    assert psnr(made.image, clean) > psnr(enlarged(small, 2), clean)


@pytest.mark.parametrize("kind", ["RGB", "L"])
def test_decoded_jpegs_are_restored_as_jpegs(fringe, quick, kind):
    clean = Image.fromarray(fringe).convert(kind)
    file = io.BytesIO()
    clean.resize((64, 64), Image.Resampling.BICUBIC).save(file, "JPEG", quality=30)
    small = np.asarray(Image.open(file))
    made = SR.run(small, scale=2, model=quick, nfe=4)
    assert made.remark == "a JPEG once (was quality 30), restored as such first"
    assert psnr(made.image, np.asarray(clean)) > psnr(enlarged(small, 2), np.asarray(clean))


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_an_enlarged_jpeg_is_consistent_with_its_file(fringe, quick, quality, tmp_path):
    small = Image.fromarray(shrunk(fringe, 2))
    small.save(tmp_path / "small.jpg", quality=quality)
    decoded, coefficients = images.read(tmp_path / "small.jpg").pixels, images.jpeg_coefficients(tmp_path / "small.jpg")
    run_kwargs = {"scale": 2, "model": quick, "nfe": 4, "coefficients": coefficients}
    made = SR.run(decoded, **run_kwargs)
    assert "JPEG" in made.remark
    assert psnr(made.image, fringe) > psnr(enlarged(decoded, 2), fringe) + 0.1
    large = torch.from_numpy(SR.restore(decoded / 255, **run_kwargs)).permute(2, 0, 1)[None].float() * 2 - 1
    operator = Chain(Resize((128, 128), scale=2), Jpeg(coefficients))
    again, file = operator.A(large), operator.second.y
    assert sum(int((a != b).sum()) for a, b in zip(again, file, strict=True)) < 0.03 * sum(y.numel() for y in file)


@pytest.mark.parametrize("kernel", ["nearest", "opencv"])
def test_unfiltered_pictures_are_no_worse_than_bicubic(fringe, quick, kernel):
    small = shrunk(fringe, 2, kernel)
    made = SR.run(small, scale=2, model=quick, nfe=4)
    assert "nearest" in made.remark
    assert psnr(made.image, fringe) > psnr(enlarged(small, 2), fringe)


def test_clean_pictures_are_not_preprocessed(fringe, quick):
    small = shrunk(fringe, 4)
    made = SR.run(small, scale=4, model=quick, nfe=1)
    assert made.remark == ""
    np.testing.assert_array_equal(
        made.image, SR.restore(small, scale=4, model=quick, nfe=1, noise=0, kernel="bicubic", coefficients=None)
    )


def test_given_noise_is_used(fringe, quick):
    small = shrunk(fringe, 4)
    made = SR.run(small, scale=4, model=quick, nfe=1, noise=12)
    assert made.remark == "given noise of standard deviation 12 of 255, removed first"
    assert made.image.astype(float).std() < SR.restore(small, scale=4, model=quick, nfe=1).astype(float).std()
    for wrong in (-1, float("nan"), 300):
        with pytest.raises(RestoreError, match=r"noise .*: give its standard deviation"):
            SR.restore(small, noise=wrong, model=quick)


def test_each_picture_of_a_batch_has_its_own_noise(fringe, quick):
    several = [shrunk(fringe, 2), noisy(shrunk(fringe, 2), 10)]
    batch = torch.stack([torch.tensor(one).permute(2, 0, 1) for one in several])
    together = SR.restore(batch, scale=2, model=quick, nfe=1)
    for one, own in zip(together, batch, strict=True):
        torch.testing.assert_close(one, SR.restore(own, scale=2, model=quick, nfe=1), atol=1, rtol=0)


def test_models_without_the_posterior_mean_remove_noise(fringe):
    model = toy()
    model.diagonal = False
    assert SR.restore(noisy(shrunk(fringe, 2), 10), scale=2, model=model, nfe=1).shape == fringe.shape


@pytest.mark.parametrize("kind", ["4:2:0", "grey"])
def test_a_problem_is_a_chain(kind, tmp_path):
    coefficients, decoded = jpegs.compressed(jpegs.picture(96, 128, kind), tmp_path, 30, kind)
    problem = SR.problem(decoded, scale=2, coefficients=coefficients)
    assert isinstance(problem.operator, Chain)
    assert problem.x.shape == (1, 3, 192, 256)
    assert jpegs.psnr(Resize((192, 256), scale=2).A(problem.x), decoded) > 25
    problem = SR.problem(decoded, scale=2, noise=10)
    assert problem.operator.fit(problem.x, problem.y).shape == problem.x.shape


def test_unsupported_jpegs_are_enlarged_from_their_pixels(fringe, quick, tmp_path):
    coefficients, decoded = jpegs.compressed(jpegs.picture(96, 128), tmp_path)
    odd = coefficients._replace(sampling=((3, 1), (2, 1), (2, 1)))
    pixels = ((decoded[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    made = SR.run(pixels, scale=2, model=quick, nfe=1, coefficients=odd)
    np.testing.assert_array_equal(made.image, SR.restore(pixels, scale=2, model=quick, nfe=1))


@pytest.mark.parametrize("damage", ["noise", "jpeg"])
def test_large_pictures_are_restored_first_as_well(damage, monkeypatch, tmp_path):
    clean = np.ascontiguousarray(skimage.data.astronaut()[:150, :200])
    inputs = {"scale": 2, "scheme": "level 0.02, to 0, fit"}
    if damage == "jpeg":
        Image.fromarray(clean).save(tmp_path / "small.jpg", quality=20)
        inputs["coefficients"] = images.jpeg_coefficients(tmp_path / "small.jpg")
        clean = images.read(tmp_path / "small.jpg").pixels
    else:
        clean = noisy(clean, 10)
    found = []
    for large in (10**9, 10_000):
        monkeypatch.setattr(spans, "LARGE", large)
        found.append(SR.run(clean, model=toy(), **inputs))
    assert found[0].remark == found[1].remark != ""
    assert np.abs(found[0].image.astype(int) - found[1].image).max() <= 1


def test_a_large_unfiltered_picture_is_reported(monkeypatch):
    monkeypatch.setattr(spans, "LARGE", 10_000)
    made = SR.run(shrunk(PHOTOS[0], 4, "nearest"), scale=2, model=toy(), scheme="level 0.02, to 0, fit")
    assert made.remark == "downscaled without a filter (nearest), but too large for this kernel"


# The command


def test_the_command_reports_what_it_found(cli, save, fringe):
    small = shrunk(fringe, 2)
    photo = save("photo.png", noisy(small, 10))
    arguments = "super-resolve", photo, "--nfe", 1, "--model", "bcm-photo-small"
    output = cli(*arguments).stdout
    assert "; noise of standard deviation" in output
    assert "of 255, removed first)" in output
    result = cli(
        "super-resolve", photo, "--nfe", 1, "--model", "bcm-photo-small", "--noise", 0, "--overwrite", "--json"
    )
    assert json.loads(result.stdout)["files"][0]["remark"] is None


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_jpeg_is_upright(cli, save, fringe, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    small = Image.fromarray(shrunk(fringe, 2)[:40])
    photo = save("photo.jpg", small, quality=60, exif=exif.tobytes())
    cli("super-resolve", photo, "--scale", 2, "--nfe", 1, "--model", "bcm-photo-small", "--compare")
    upright = np.asarray(images.read(photo).pixels)
    large = images.read(tmp_path / "photo_x2.png").pixels
    assert large.shape == (upright.shape[0] * 2, upright.shape[1] * 2, 3)
    assert psnr(large, enlarged(upright, 2)) > 25
    assert Image.open(io.BytesIO((tmp_path / "photo_x2_compare.png").read_bytes())).size[1] == large.shape[0]
