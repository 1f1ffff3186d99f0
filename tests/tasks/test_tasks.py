import functools
import io
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.kinds import as_array, kinds
from helpers.toys import Tight
from PIL import Image
from skimage import data

import bcm_restore
from bcm_restore import images, schemes, tasks, weights
from bcm_restore.errors import RestoreError, RestoreWarning
from bcm_restore.metrics import psnr
from bcm_restore.model import BCM
from bcm_restore.networks import ConvUNet, Network
from bcm_restore.operators.jpeg import quantisation_level
from bcm_restore.tasks import base, registry
from bcm_restore.tasks.arrays import to_tensor
from bcm_restore.tasks.inpaint import SeamlessMask
from bcm_restore.tasks.interpolate import slerp, split


def lines(size):
    mask = np.zeros(size, bool)
    mask[::16] = mask[1::16] = True
    return mask


# The registry


def test_names_and_close_matches():
    assert {"deblur", "denoise", "inpaint", "interpolate", "jpeg", "super-resolve"} <= set(tasks.names())
    assert tasks.get("inpaint").name == "inpaint"
    with pytest.raises(RestoreError, match="task 'inpant' is not known; did you mean inpaint"):
        tasks.get("inpant")


def test_other_packages_add_tasks(monkeypatch):
    class Fade(tasks.Task):
        name = "fade"

    point = SimpleNamespace(name="fade", load=lambda: Fade)
    Fade.__abstractmethods__ = frozenset()
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "bcm_restore.tasks" else [])
    assert "fade" in tasks.names()
    assert isinstance(tasks.get("fade"), Fade)
    tasks.get.cache_clear()


@pytest.mark.parametrize("name", ["colorize", "deblur", "denoise", "inpaint", "interpolate", "jpeg", "super-resolve"])
def test_every_task_has_a_default_scheme_for_every_nfe(name):
    tables = tasks.get(name).schemes()
    for case, table in [*tables[weights.DEFAULT].items(), *tables[weights.PUBLISHED].items()]:
        assert set(table) == {1, 2, 3, 4, 8}, case
        for nfe, scheme in table.items():
            assert scheme.nfe == nfe
            assert scheme.ends_clean


def test_default_schemes_of_denoising_suit_their_models():
    tables = tasks.get("denoise").schemes()
    assert set(tables) == {weights.DEFAULT, weights.SMALL, weights.PUBLISHED}
    for model, cases in tables.items():
        assert set(cases) == {"any"}
        for table in cases.values():
            for scheme in table.values():
                schemes.check(scheme, still(name=model, diagonal=model != weights.PUBLISHED), t0=0.2)


@pytest.mark.parametrize("name", ["deblur", "inpaint", "interpolate", "jpeg", "super-resolve"])
def test_models_without_the_diagonal_get_schemes_that_they_can_run(name):
    task = tasks.get(name)
    for model in (still(name="bcm-imagenet64"), still(name="bcm-imagenet64-deep"), still(name="my own")):
        for case in task.schemes()[weights.DEFAULT]:
            for nfe in tasks.NFES:
                schemes.check(task.default(nfe, model, case), model, t0=0.2 if name in ("deblur", "jpeg") else 0.0)
    new = still(name="new", diagonal=True, level_maps=True)
    assert task.cases(new) == task.schemes()[weights.DEFAULT]
    without = still(name="new", diagonal=True)
    assert task.cases(without) == task.schemes()[weights.SMALL]
    for case in task.schemes()[weights.SMALL]:
        for nfe in tasks.NFES:
            schemes.check(task.default(nfe, without, case), without, t0=0.2 if name in ("deblur", "jpeg") else 0.0)


def still(diagonal=False, **options):
    """A model that changes nothing."""
    network = Network()
    return BCM(network, device="cpu", diagonal=diagonal, **options)


def test_an_nfe_without_a_default_scheme_lists_those_that_exist(portrait):
    with pytest.raises(RestoreError, match=r"inpaint has no default scheme with NFE 5; choose 1, 2, 3, 4, 8"):
        tasks.get("inpaint").restore(portrait, mask=lines(portrait.shape[:2]), nfe=5)


def test_a_scheme_that_leaves_noise_is_refused(portrait):
    with pytest.raises(RestoreError, match="leaves noise in the picture"):
        tasks.get("inpaint").restore(portrait, mask=lines(portrait.shape[:2]), scheme="noise 0.5, to 0.1")


# Inpainting


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


# JPEG


def compressed(portrait, tmp_path, quality, **options):
    path = tmp_path / "photo.jpg"
    Image.fromarray(portrait).save(path, quality=quality, **options)
    return images.read(path).pixels, images.jpeg_coefficients(path)


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


# Super-resolution


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


# Interpolation


def test_interpolation_starts_and_ends_with_the_pictures(portrait, model):
    a, b = portrait, np.ascontiguousarray(portrait[::-1])
    reported = []
    result = tasks.get("interpolate").run(
        (a, b), frames=4, nfe=2, model=model, progress=lambda *args: reported.append(args)
    )
    assert len(result.image) == 4
    assert np.array_equal(result.image[0], a)
    assert np.array_equal(result.image[3], b)
    distances = [psnr(frame, a) for frame in result.image[1:]]
    assert distances == sorted(distances, reverse=True)
    assert result.nfe == 2
    assert reported[-1] == (reported[-1][1],) * 2


def test_interpolation_refuses_invalid_inputs(portrait):
    task = tasks.get("interpolate")
    with pytest.raises(RestoreError, match="takes two pictures, not 1"):
        task.restore((portrait,))
    with pytest.raises(RestoreError, match="1 frames are too few"):
        task.restore((portrait, portrait), frames=1)
    with pytest.raises(RestoreError, match=r"differ in size \(128x128 and 128x100\)"):
        task.restore((portrait, portrait[:100]))


def test_slerp_keeps_the_length_and_splits_the_angle():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, 3, 64, 64, generator=generator) for _ in range(2))
    b *= a.norm() / b.norm()
    middle = slerp(a, b, 0.5)
    assert middle.norm().item() == pytest.approx(a.norm().item(), rel=1e-5)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    torch.testing.assert_close(slerp(a, a, 0.3), a)


def test_schemes_are_split_at_their_highest_level():
    up, down = split(bcm_restore.schemes.parse("noise 0.07, to 15, to 80, to 3, to 0"))
    assert (str(up), str(down)) == ("noise 0.07, to 15, to 80", "to 3, to 0")


# Everywhere


def test_the_same_seed_gives_the_same_pixels_and_another_gives_others(portrait, model):
    mask = lines(portrait.shape[:2])
    a, b, c = (
        tasks.get("inpaint").restore(portrait, mask=mask, scheme="noise 0.3, to 0, fit", seed=seed, model=model)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


class Counting(Network):
    """F = x / 2 where levels are uniform; counts its calls and the images in them."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, x, t, u, maps=None):
        self.batches.append(len(x))
        return x / 2


def test_batched_pictures_equal_single_ones(portrait, tmp_path):
    """Each with its own level, operator and coefficients."""
    pictures, coefficients = zip(*(compressed(portrait, tmp_path, quality) for quality in (10, 30, 50)), strict=True)
    inputs = [{"coefficients": own} for own in coefficients]
    network = Counting()
    counting = BCM(network, device="cpu")
    task, run_kwargs = tasks.get("jpeg"), {"scheme": "level 1t0, noise 1.2t0, mean, fit, renoise 0.5t0 0.3, to 0, fit"}
    together = task.run_together(pictures, inputs, model=counting, **run_kwargs)
    assert network.batches == [3, 3]
    for picture, own, made in zip(pictures, inputs, together, strict=True):
        alone = task.run(picture, model=counting, **own, **run_kwargs)
        np.testing.assert_array_equal(made.image, alone.image)
        assert (made.scheme, made.nfe, made.case) == (alone.scheme, 2, "any")
        assert not np.array_equal(made.image, picture)


def test_pictures_with_different_schemes_are_not_batched(portrait):
    thin, wide = lines((128, 128)), np.zeros((128, 128), bool)
    wide[30:90, 30:90] = True
    network = Counting()
    masks = [{"mask": thin}, {"mask": wide}, {"mask": thin.T}]
    made = tasks.get("inpaint").run_together([portrait] * 3, masks, model=BCM(network, device="cpu"), nfe=1)
    assert [one.case for one in made] == ["thin", "wide", "thin"]
    assert network.batches == [2, 1]
    for one, inputs in zip(made, masks, strict=True):
        assert np.array_equal(one.image[~inputs["mask"]], portrait[~inputs["mask"]])


@pytest.mark.parametrize(
    ("name", "capacity", "inputs"),
    [("super-resolve", 0, {"scale": 2}), ("super-resolve", 1, {"scale": 2}), ("interpolate", 0, {"frames": 3})],
)
def test_out_of_memory_falls_back_to_the_cpu(portrait, name, capacity, inputs, monkeypatch):
    """Device "meta" computes nothing, so that all results are from the CPU."""
    monkeypatch.setattr(base, "_warn_of_cpu_fallback", functools.cache(base._warn_of_cpu_fallback.__wrapped__))
    small = portrait[:32, :32]
    image = (small, small[::-1].copy()) if name == "interpolate" else small
    network, steps = Tight(capacity), []
    model, task = BCM(network, device="meta"), tasks.get(name)
    options = {"scheme": "noise 0.5, to 2, to 0", "seed": 3, **inputs}
    with pytest.warns(RestoreWarning, match="the CPU restores them"):
        found = task.run(image, model=model, progress=lambda *step: steps.append(step), **options)
    assert network.devices[: capacity + 2] == ["meta"] * (capacity + 1) + ["cpu"]
    expected = task.run(image, model=BCM(Tight(), device="cpu"), **options)
    assert np.array_equal(found.image, expected.image)
    assert (found.nfe, steps[-1][0]) == (2, steps[-1][1])
    assert model.device.type == "meta"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns only once
        network.devices.clear()
        task.run(image, model=model, **options)


def test_no_memory_on_the_cpu_is_an_error(portrait, monkeypatch):
    monkeypatch.setattr(Tight, "forward", lambda *inputs: (_ for _ in ()).throw(torch.OutOfMemoryError("full")))
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        tasks.get("super-resolve").restore(portrait[:16, :16], scale=2, model=BCM(Tight(), device="cpu"))


def test_one_pixel_pictures(model):
    pixel = np.full((1, 1, 3), 77, np.uint8)
    assert tasks.get("super-resolve").restore(pixel, scale=2, model=model).shape == (2, 2, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixel).save(buffer, "JPEG", quality=30)
    assert tasks.get("jpeg").restore(pixel, input_quality=30, model=model).shape == (1, 1, 3)


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


def test_a_model_file_that_changes_is_loaded_again(tmp_path):
    """As in a process that lives long."""
    path = tmp_path / "own.safetensors"
    config = {"channels": (8, 12), "blocks": (1, 1), "middle": 1, "embedding": 16}
    weights.save_model(path, ConvUNet(**config), config)
    first = base.loaded(path)
    assert base.loaded(str(path)) is first
    changed = ConvUNet(**config)
    changed.exit.bias.data.fill_(1)
    weights.save_model(path, changed, config)
    os.utime(path, ns=(0, 1))
    assert base.loaded(path) is not first
