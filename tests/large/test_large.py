"""Pictures that are restored in files; here small ones are treated as large."""

import errno
import os
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
from helpers.networks import toy
from PIL import Image

from bcm_restore import images, schemes, spans, tasks
from bcm_restore.cli.progress import Bar
from bcm_restore.errors import DiskFull, NothingToRestore, RestoreError
from bcm_restore.fill import smooth_fill
from bcm_restore.images import channels
from bcm_restore.large import BandProblem, DiskImage, MemoryImage, fill, neighbourhood, runner
from bcm_restore.large.fill import fill_hole
from bcm_restore.model import BCM, Noise
from bcm_restore.networks import Network, tiled
from bcm_restore.operators import Mask, Resize

SIZE = 300, 401


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(spans, "BAND_PIXELS", 64 * SIZE[1])
    monkeypatch.setattr(runner, "PIECE", 16 * 1001)
    monkeypatch.setattr(fill, "WHOLE", 5000)
    monkeypatch.setattr(fill, "SIDE", 64)
    monkeypatch.setattr(neighbourhood, "SHARE", 0.0)  # small holes, too, are restored with the whole picture


@pytest.fixture
def photograph():
    return np.ascontiguousarray(skimage.data.astronaut()[: SIZE[0], : SIZE[1]])


def whole_and_in_parts(task, image, monkeypatch, **options):
    """The restorations of a picture as it is, and as a large one."""
    found = []
    for large in (10**9, 10_000):
        monkeypatch.setattr(spans, "LARGE", large)
        found.append(tasks.get(task).run(image, model=toy(), **options))
    assert found[0].case == found[1].case
    return found[0].image, found[1].image


def lines():
    mask = np.zeros(SIZE, bool)
    mask[::16] = mask[1::16] = True
    return mask


def boxed():
    """A hole of more than one tile, up to the border, and lines."""
    mask = lines()
    mask[90:260, 150:] = True
    return mask


# Files


def test_regions_of_a_file_are_read_as_written():
    x = torch.randn(1, 3, 31, 17)
    with DiskImage((31, 17)) as image:
        assert not image.read(slice(None)).any()
        image.write(x, slice(None))
        y = torch.randn(1, 3, 8, 5)
        image.write(y, slice(4, 12), slice(9, 14))
        x[:, :, 4:12, 9:14] = y
        assert torch.equal(image.read(slice(None)), x)
        assert torch.equal(image.read(slice(2, 20), slice(0, 11)), x[:, :, 2:20, :11])
        image.write_flat(5, torch.arange(20.0))
        x.view(-1)[5:25] = torch.arange(20.0)
        assert torch.equal(image.read(slice(None)), x)


def test_a_file_has_no_name_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with DiskImage((100, 100)) as image:
        image.write(torch.ones(1, 3, 100, 100), slice(None))
        assert not list(tmp_path.iterdir())


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_error_before_the_work_begins(photograph, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    monkeypatch.setattr(spans, "LARGE", 10_000)
    with pytest.raises(DiskFull, match=rf"^{tempfile.gettempdir()}: no space for .* disk is full.*TMPDIR") as caught:
        tasks.get("inpaint").run(photograph, mask=lines(), model=toy(), nfe=1)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_a_one_line_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RestoreError, match=r"gone: no space .*no such file or directory.*TMPDIR"):
        DiskImage((10, 10))


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["read", "write"])
def test_a_disk_error_at_any_tile_is_a_one_line_error(photograph, broken, monkeypatch):
    """For any tile, including those that are read ahead and the last one to be written."""

    def run(failing):
        calls = []

        def call(image, *arguments):
            calls.append(arguments)
            with image._disk_errors():
                if len(calls) == failing:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            return whole(image, *arguments)

        monkeypatch.setattr(DiskImage, broken, call)
        tasks.get("inpaint").run(photograph, mask=lines(), model=toy(), scheme="level 0.06, mean, fit")
        return len(calls)

    whole = getattr(DiskImage, broken)
    monkeypatch.setattr(spans, "LARGE", 10_000)
    calls = run(failing=0)
    for number in range(calls - 20, calls + 1):  # of the evaluation, the fit and the result
        with pytest.raises(RestoreError, match=r"input/output error.*TMPDIR"):
            run(failing=number)


# Moves


@pytest.mark.parametrize("size", [(31, 37), (100, 167), (64, 1001)])
def test_noise_is_that_of_the_whole_picture(size):
    """Also with a few remaining numbers in the last piece."""
    noises = [Noise([7]), Noise([7])]
    with DiskImage(size) as image:
        for _ in range(2):
            runner.draw(noises[0], image)
            assert torch.equal(image.read(slice(None)), noises[1](torch.empty(1, 3, *size)))


class Known(BandProblem):
    """A problem with half of the pixels known and a separate first estimate."""

    def __init__(self, x, y, known):
        super().__init__(MemoryImage(y), t0=0.1)
        self.x, self.mask = x, Mask(known)

    def estimate(self, rows):
        return self.x[:, :, rows]

    def operator(self, rows):
        return self.mask.crop(rows)

    def known(self, rows, columns):
        return self.mask.crop(rows, columns).known


@pytest.mark.parametrize(
    "text",
    [
        "noise 0.5, to 0.2, renoise 3 0.4, mean 3, fit, level 2t0, to 0.1, renoise 0.2 0.3, to 0, fit",
        "noise 0.5 hole, to 2, noise 3, mean 2, fit, level 2t0, to 0, fit",
    ],
)
@pytest.mark.parametrize("size", [SIZE, (131, 97)])
def test_every_move_gives_the_pixels_of_the_whole_picture(text, size):
    x, y = torch.randn(2, 1, 3, *size)
    known, scheme, model, steps = torch.rand(1, 1, *size) < 0.5, schemes.parse(text), toy(), []
    expected = schemes.run(scheme, model, x, Mask(known), y, Noise([3]), t0=0.1)
    evaluations, model.nfe = model.nfe, 0
    progress = SimpleNamespace(tile=lambda *step: steps.append(step))
    found = runner.run(scheme, model, Known(x, y, known), Noise([3]), lambda image: image.read(slice(None)), progress)
    assert torch.equal(found, expected)
    assert model.nfe == evaluations == scheme.nfe
    assert steps == [(n + 1, len(steps)) for n in range(len(steps))]
    moves = sum(move.nfe > 0 for move in scheme.moves)
    assert len(steps) == moves * -(-size[0] // 96) * -(-size[1] // 96)


def test_tiles_shrink_if_a_device_runs_out_of_memory(monkeypatch):
    class Full(tiled.Stream):
        def __call__(self, x, *arguments):
            if x.shape[2] * x.shape[3] > 50_000:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(x, *arguments)

    def run(model):
        steps = []
        problem, progress = Known(x, y, known), SimpleNamespace(tile=lambda *step: steps.append(step))
        return runner.run(scheme, model, problem, Noise([3]), lambda image: image.read(slice(None)), progress), steps

    scheme = schemes.parse("noise 0.5, mean, fit, renoise 0.3 0.5, to 0, fit")
    (x, y), known = torch.randn(2, 1, 3, 400, 300), torch.rand(1, 1, 400, 300) < 0.5
    expected, steps = run(toy(tile=None))
    assert steps == [(1, 2), (2, 2)]
    monkeypatch.setattr(tiled, "Stream", Full)
    model = toy(tile=None)
    found, steps = run(model)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    done, total = steps[-1]
    assert done == total > 10 and model.nfe == 2
    with pytest.raises(torch.OutOfMemoryError):
        run(toy(tile=400))


def test_holes_need_known_pixels(photograph, monkeypatch):
    monkeypatch.setattr(spans, "LARGE", 10_000)
    with pytest.raises(RestoreError, match="needs a task with known pixels"):
        tasks.get("super-resolve").run(photograph, scale=2, model=toy(), scheme="noise 0.5 hole, to 0")


def test_only_exact_tiles_and_single_pictures_are_restored_in_parts(photograph, monkeypatch):
    monkeypatch.setattr(spans, "LARGE", 10_000)

    def steps(image, model):
        found = []
        tasks.get("inpaint").run(
            image, mask=lines(), model=model, nfe=1, progress=lambda done, total: found.append(total)
        )
        return found

    planes = torch.from_numpy(photograph).permute(2, 0, 1)
    for image in (photograph, Image.fromarray(photograph), planes, planes[None]):
        assert len(steps(image, toy())) == 20
    assert steps(photograph, BCM(NET_ALONE, device="cpu")) == steps(planes.expand(2, -1, -1, -1), toy()) == [1]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["inpaint", "jpeg", "super-resolve"])
def test_pictures_of_any_type_are_restored_in_files(task, photograph, tmp_path, monkeypatch):
    monkeypatch.setattr(spans, "LARGE", 10_000)
    path = tmp_path / "a.jpg"
    part = np.s_[90:202, 60:164]
    Image.fromarray(photograph[part]).save(path, quality=30)
    array, inputs = np.array(Image.open(path)), {}
    if task == "inpaint":
        inputs = {"mask": boxed()[part]}
    elif task == "super-resolve":
        inputs = {"scale": 2}

    def restored(image):
        return tasks.get(task).restore(image, model=toy(), scheme="level 0.1, to 0, fit", **inputs)

    expected = restored(array)
    planes = torch.from_numpy(array).permute(2, 0, 1)
    assert np.array_equal(np.asarray(restored(Image.fromarray(array))), expected)
    assert np.array_equal(restored(planes).permute(1, 2, 0), expected)
    assert restored(planes[None]).shape == (1, 3, *expected.shape[:2])
    grey, halves = array[..., 1], planes.half() / 255
    assert np.array_equal(np.asarray(restored(Image.fromarray(grey))), restored(grey))
    assert np.array_equal(restored(torch.from_numpy(grey)[None])[0], restored(grey))
    assert np.array_equal(restored(halves).permute(1, 2, 0), restored(halves.permute(1, 2, 0).numpy()))
    assert restored(halves.bfloat16()).dtype == torch.bfloat16
    clear = Image.fromarray(array)
    clear.putalpha(Image.fromarray(grey | 1))  # nothing is hidden
    assert np.array_equal(np.asarray(restored(clear))[..., :3], expected)


class Still(Network):
    def forward(self, x, t, u, maps=None):
        return torch.zeros_like(x)


NET_ALONE = Still()


# Tasks


@pytest.mark.parametrize("convert", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("mask", [lines(), boxed()], ids=["thin", "wide"])
def test_inpaint_keeps_known_pixels_and_is_near_the_whole_picture(photograph, convert, mask, monkeypatch):
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[convert]
    image = (photograph * np.float64(scale)).astype(convert)
    expected, found = whole_and_in_parts("inpaint", image, monkeypatch, mask=mask, nfe=2)
    assert found.dtype == convert
    assert np.array_equal(found[~mask], image[~mask])
    difference = (found.astype(float) - expected)[mask] / scale
    assert np.sqrt((difference**2).mean()) < (6 if mask.mean() > 0.2 else 0.1)


def test_inpaint_equals_the_whole_picture_if_the_hole_is_small(photograph, monkeypatch):
    mask = np.zeros(SIZE, bool)
    mask[40:68, 30:70] = True
    expected, found = whole_and_in_parts("inpaint", photograph / 255, monkeypatch, mask=mask, nfe=2)
    assert np.array_equal(found, expected)


def test_inpaint_refuses_invalid_inputs(photograph, monkeypatch):
    monkeypatch.setattr(spans, "LARGE", 10_000)
    for mask, message in ((None, "needs a mask"), (np.ones((3, 4), bool), "the mask is 4x3 and the image 401x300")):
        with pytest.raises(RestoreError, match=message):
            tasks.get("inpaint").run(photograph, mask=mask, model=toy())


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "4:2:2", "grey"])
@pytest.mark.parametrize("from_file", [True, False])
def test_jpeg_equals_the_whole_picture(photograph, kind, from_file, tmp_path, monkeypatch):
    path, options = tmp_path / "a.jpg", {} if kind == "grey" else {"subsampling": kind}
    Image.fromarray(photograph[..., 1] if kind == "grey" else photograph).save(path, quality=30, **options)
    inputs = {"coefficients": images.jpeg_coefficients(path)} if from_file else {}
    decoded = np.asarray(Image.open(path)) / 255
    expected, found = whole_and_in_parts("jpeg", decoded, monkeypatch, nfe=2, **inputs)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, decoded)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_jpeg_with_an_earlier_compression_equals_the_whole_picture(photograph, moved, again, tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph).save(path, quality=20)
    decoded = Image.open(path).convert("RGB").crop((5 * moved, 3 * moved, SIZE[1], SIZE[0]))
    inputs = {}
    if again:
        decoded.save(path, quality=90)
        decoded, inputs = Image.open(path), {"coefficients": images.jpeg_coefficients(path)}
    decoded = np.asarray(decoded) / 255
    expected, found = whole_and_in_parts("jpeg", decoded, monkeypatch, nfe=2, **inputs)
    assert np.abs(found - expected).max() < 1e-4
    assert not np.array_equal(found, decoded)


def test_jpeg_finds_nothing_to_restore(photograph, monkeypatch):
    monkeypatch.setattr(spans, "LARGE", 10_000)
    with pytest.raises(NothingToRestore, match="no trace of JPEG compression"):
        tasks.get("jpeg").run(photograph, model=toy())


@pytest.mark.parametrize("scale", [2, 3, 8])
def test_super_resolve_is_near_the_whole_picture_and_consistent_with_the_small_one(photograph, scale, monkeypatch):
    small = 0.2 + 0.6 * photograph[100 : 100 + 600 // scale, : 402 // scale] / 255  # avoids clipping
    run_kwargs = {"scale": scale, "kernel": "bicubic", "scheme": "level 0.02, noise 0.03, to 0, fit"}
    expected, found = whole_and_in_parts("super-resolve", small, monkeypatch, **run_kwargs)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    operator = Resize(found.shape[:2], scale=scale)
    again = operator.A(torch.from_numpy(found).permute(2, 0, 1)[None].float())[0].permute(1, 2, 0)
    np.testing.assert_allclose(again.numpy(), small, atol=1e-5)


@pytest.mark.parametrize("filter", ["bicubic", "box", "lanczos", "bilinear"])
def test_a_band_is_fitted_as_in_the_whole(filter):
    operator = Resize((4 * 90, 8), scale=4, filter=filter)
    x, y = torch.randn(1, 3, 360, 8).double(), torch.randn(1, 3, 90, 2).double()
    part = operator.crop(slice(4 * 20, 4 * 70)).fit(x[:, :, 80:280], y[:, :, 20:70])
    reach = 4 * 24
    assert (part[:, :, reach:-reach] - operator.fit(x, y)[:, :, 80 + reach : 280 - reach]).abs().max() < 1e-7


# The smooth fill


def filled(pixels, hole):
    with DiskImage(hole.shape) as image:
        image.write(torch.from_numpy(pixels).permute(2, 0, 1)[None], slice(None))
        fill_hole(image, torch.from_numpy(hole)[None, None])
        return image.read(slice(None))[0].permute(1, 2, 0).numpy()


def energy(x):
    y = np.pad(x.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    laplacian = y[2:, 1:-1] + y[:-2, 1:-1] + y[1:-1, 2:] + y[1:-1, :-2] - 4 * y[1:-1, 1:-1]
    return (laplacian**2).sum() + (np.diff(x, axis=0) ** 2).sum() + (np.diff(x, axis=1) ** 2).sum()


@pytest.mark.parametrize("hole", [lines(), boxed(), ~lines()], ids=["lines", "box", "almost all"])
def test_the_fill_is_as_smooth_as_that_of_the_whole(photograph, hole):
    image = (photograph / 127.5 - 1).astype(np.float32)
    found = filled(np.where(hole[..., None], 9, image).astype(np.float32), hole)
    assert np.array_equal(found[~hole], image[~hole])
    assert (found >= image[~hole].min(0)).all() and (found <= image[~hole].max(0)).all()
    assert energy(found) < 1.02 * energy(smooth_fill(image, hole))


def test_the_fill_continues_a_slope_through_a_hole_of_many_tiles():
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    plane = np.stack([rows / 300, columns / 401, (rows + columns) / 701], -1)
    hole = np.zeros(SIZE, bool)
    hole[31:277, 45:350] = True
    found = filled(np.where(hole[..., None], 9, plane).astype(np.float32), hole)
    np.testing.assert_allclose(found, plane, atol=8e-3)
    assert np.abs(np.diff(found, 2, axis=0)).max() < 2e-3  # no seam


# Output files


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_deep_pictures_are_encoded_band_by_band(photograph, suffix, alpha, grey, tmp_path, monkeypatch):
    monkeypatch.setattr(channels, "_BAND_PIXELS", 10_000)
    deep = photograph.astype(np.uint16) * 251
    picture = images.Picture(deep[..., 0] if grey else deep, deep[..., 1] if alpha else None)
    images.write(picture, tmp_path / f"a{suffix}")
    again = images.read(tmp_path / f"a{suffix}")
    pixels = picture.pixels
    if grey and alpha and suffix == ".tif":
        pixels = pixels[..., None].repeat(3, -1)
    assert np.array_equal(again.pixels, pixels)
    assert (again.alpha is None) == (not alpha)
    if alpha:
        assert np.array_equal(again.alpha, picture.alpha)


# The command line


@pytest.mark.slow
def test_the_command_line_counts_tiles_and_leaves_known_pixels(cli, save, photograph, tmp_path, monkeypatch):
    seen = set()
    monkeypatch.setattr(Bar, "progress", lambda bar, unit, done, total: seen.add((unit, total)))
    photo, mask = save("photo.tif", photograph), save("mask.png", lines())
    for large, reported in ((10**9, {("NFE", 1)}), (10_000, {("tile", 1)})):
        monkeypatch.setattr(spans, "LARGE", large)
        cli("inpaint", photo, "--mask", mask, "--nfe", 1, "-o", tmp_path / "a.tif", "--overwrite")
        assert seen == reported
        seen.clear()
        result = np.asarray(Image.open(tmp_path / "a.tif"))
        assert np.array_equal(result[~lines()], photograph[~lines()])


def test_the_command_line_names_the_full_disk(cli, save, photograph, tmp_path, monkeypatch):
    photo, mask = save("photo.tif", photograph), save("mask.png", lines())
    monkeypatch.setattr(spans, "LARGE", 10_000)
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    assert "TMPDIR" in cli.refuses(tmp_path, "inpaint", photo, "--mask", mask, "--nfe", 1)
