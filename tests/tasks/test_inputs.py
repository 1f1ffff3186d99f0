"""Inputs of tasks in Python: the output has the input's type, or the error names the cause."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from helpers.kinds import as_array
from helpers.pictures import PROFILE, exif_with
from helpers.toys import Tight
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

import bcm_restore
from bcm_restore import schemes, tasks
from bcm_restore.errors import NothingToRestore, RestoreError
from bcm_restore.model import BCM
from bcm_restore.tasks.arrays import to_tensor


@pytest.fixture(scope="module")
def quick():
    """A fast model: F = 0."""
    return BCM(Tight(), device="cpu")


@pytest.fixture
def restore(quick):
    """Fills a box of any picture in one evaluation."""

    def fill(picture, **options):
        return tasks.get("inpaint").restore(picture, mask=box(), scheme="level 0.1, to 0, fit", model=quick, **options)

    return fill


def box():
    mask = np.zeros((24, 32), bool)
    mask[8:14, 10:20] = True
    return mask


def ramp():
    return np.tile(np.linspace(0, 1, 32), (24, 1))


# PIL modes


def in_mode(mode):
    if mode.startswith("I;16"):
        values = (ramp() * 65535).astype(np.asarray(Image.new(mode, (1, 1))).dtype)
        return Image.frombytes(mode, (32, 24), values.tobytes())
    if mode == "I":
        return Image.fromarray((ramp() * 65535).astype(np.int32))
    if mode == "F":
        return Image.fromarray(ramp().astype(np.float32))
    grey = Image.fromarray((ramp() * 255).astype(np.uint8))
    if mode == "LAB":
        return ImageCms.profileToProfile(
            grey.convert("RGB"), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
    return grey.convert({"La": "LA", "RGBa": "RGBA", "HSV": "RGB"}.get(mode, mode)).convert(mode)


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_pil_mode_is_kept_or_refused(restore, mode):
    picture = in_mode(mode)
    if mode in ("CMYK", "HSV", "LAB", "La", "RGBX", "RGBa", "YCbCr"):
        with pytest.raises(RestoreError, match=f"mode {mode} are not supported; give .*(convert|read)"):
            restore(picture)
        return
    restored = restore(picture)
    assert restored.mode == {"1": "L", "P": "RGB", "PA": "RGBA"}.get(mode, mode)
    if mode != "PA":
        before = picture.convert(restored.mode) if mode in ("1", "P") else picture
        assert np.array_equal(as_array(restored)[~box()], as_array(before)[~box()])
        inside = as_array(restored)[box()].astype(float)
        assert mode == "1" or np.abs(inside - as_array(before)[box()]).mean() < 0.2 * as_array(before).max()


@pytest.mark.parametrize("key", [(0, 0, 0), 3])
def test_transparent_colours_of_pil_images_become_alpha(restore, key):
    picture = Image.fromarray((ramp() * 255).astype(np.uint8)).convert("RGB")
    picture = picture if isinstance(key, tuple) else picture.quantize(8)
    picture.info["transparency"] = key
    expected = np.asarray(picture.convert("RGBA"))[..., 3]
    assert len(np.unique(expected)) == 2
    restored = restore(picture)
    assert restored.mode == "RGBA"
    assert np.array_equal(np.asarray(restored)[..., 3], expected)


def test_integers_beyond_16_bits_are_refused(restore):
    for value in (-1, 65536):
        picture = Image.fromarray(np.full((24, 32), value, np.int32))
        with pytest.raises(RestoreError, match=f"mode I.* range from {value} to {value}; scale them to 0 to 65535"):
            restore(picture)


def test_pil_images_keep_profile_resolution_and_exif_without_the_old_thumbnail(quick, tmp_path):
    picture = Image.fromarray((ramp() * 255).astype(np.uint8))
    picture.save(tmp_path / "a.jpg", icc_profile=PROFILE, dpi=(300, 300), exif=exif_with(1))
    restored = tasks.get("super-resolve").restore(
        Image.open(tmp_path / "a.jpg"), scale=2, scheme="level 0.1, to 0, fit", model=quick
    )
    assert restored.info["icc_profile"] == PROFILE
    assert restored.info["dpi"] == (300, 300)
    assert restored.getexif()[0x010F] == "Maker"
    restored.save(tmp_path / "b.png")
    assert Image.open(tmp_path / "b.png").info["icc_profile"] == PROFILE


# Values


@pytest.mark.parametrize("kind", [np.asarray, Image.fromarray, lambda a: torch.from_numpy(a)[None]])
@pytest.mark.parametrize(
    ("worst", "reason"),
    [
        (1.5, r"floats range from 0 to 1.5; scale or clip them to \[0, 1\]"),
        (255.0, "floats range from 0 to 255"),
        (-1.0, "floats range from -1 to 1"),
        (np.nan, "1 of its pixels are NaN or infinite"),
        (np.inf, "1 of its pixels are NaN or infinite"),
    ],
)
def test_floats_outside_the_range_are_refused(restore, kind, worst, reason):
    values = ramp().astype(np.float32)
    values[2, 3] = worst
    with pytest.raises(RestoreError, match=reason):
        restore(kind(values))


def test_floats_are_checked_in_interpolation_and_in_large_pictures(quick, monkeypatch):
    bad = np.full((24, 32), 3.0)
    with pytest.raises(RestoreError, match="from 3 to 3"):
        tasks.get("interpolate").restore((bad, bad), model=quick)
    monkeypatch.setattr("bcm_restore.spans.LARGE", 100)
    with pytest.raises(RestoreError, match="from 3 to 3"):
        tasks.get("super-resolve").restore(bad, scale=2, model=quick)


def test_rounding_errors_beyond_the_range_are_accepted(restore):
    values = (ramp() * (1 + 2e-7)).astype(np.float32)
    assert values.max() > 1
    assert np.array_equal(restore(values)[~box()], values[~box()])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint32, np.int16, np.int8])
def test_other_integers_are_refused_with_their_range(dtype):
    values = np.full((4, 4), 7, dtype)
    values[0, 0] = 1
    for picture in (values, torch.from_numpy(values)[None]):
        with pytest.raises(RestoreError, match=rf"pictures of {np.dtype(dtype)} \(here 1 to 7\) are not supported"):
            to_tensor(picture)


def test_other_types_are_refused():
    for picture in (np.zeros((4, 4), bool), np.zeros((4, 4), complex), torch.zeros(1, 4, 4, dtype=torch.bool)):
        with pytest.raises(RestoreError, match="are not supported; use uint8, uint16 or floats"):
            to_tensor(picture)


@given(st.sampled_from([">u2", ">f4", ">f8", "<f2", "<u2"]), st.integers(1, 5), st.integers(1, 5))
def test_any_byte_order_and_any_strides(dtype, height, width):
    rng = np.random.default_rng(height * 7 + width)
    values = rng.integers(0, 65535, (height, width, 3)) if "u" in dtype else rng.random((height, width, 3))
    array = values.astype(dtype)[::-1, ::-1]
    tensor, back = to_tensor(array)
    again = back(tensor)
    assert again.dtype == array.dtype
    np.testing.assert_allclose(again, array, rtol=0, atol=1e-6 if "f2" not in dtype else 1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_that_require_grad(restore, dtype):
    image = torch.from_numpy(ramp())[None].to(dtype).requires_grad_()
    restored = restore(image)
    assert restored.dtype == dtype
    assert not restored.requires_grad
    assert torch.equal(restored[0][~torch.from_numpy(box())], image.detach()[0][~torch.from_numpy(box())])


# Shapes


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((3, 24, 32), r"array \(3, 24, 32\) .*channels last; transpose\(1, 2, 0\)"),
        ((2, 3, 24, 32), r"transpose\(0, 2, 3, 1\)"),
        ((24, 32, 4), "remove the alpha channel first"),
        ((24,), r"array \(24,\) is not"),
        ((0, 32, 3), "has no pixels"),
    ],
)
def test_arrays_of_other_shapes_are_refused_with_the_cause(shape, reason):
    with pytest.raises(RestoreError, match=reason):
        tasks.get("super-resolve").restore(np.zeros(shape, np.uint8))


def test_tensors_with_channels_last_are_refused_with_the_cause():
    with pytest.raises(RestoreError, match=r"tensor \(24, 32, 3\) .*channels first; permute\(2, 0, 1\)"):
        tasks.get("super-resolve").restore(torch.zeros(24, 32, 3))


# Several pictures


def test_an_array_of_pictures_is_a_batch(quick, portrait):
    batch = np.stack([portrait[:32, :32], portrait[32:64, 32:64]])
    run_kwargs = {"scale": 2, "scheme": "level 0.1, to 0, fit", "model": quick}
    larger = tasks.get("super-resolve").restore(batch, **run_kwargs)
    assert larger.shape == (2, 64, 64, 3)
    for one, alone in zip(larger, batch, strict=True):
        assert np.array_equal(one, tasks.get("super-resolve").restore(alone, **run_kwargs))


def test_a_list_may_hold_any_types_and_sizes(quick, portrait):
    pictures = [portrait[:32, :32], Image.fromarray(portrait[:20, :40]), torch.from_numpy(portrait[:8, :8, 0])[None]]
    task, run_kwargs = tasks.get("super-resolve"), {"scale": 2, "scheme": "level 0.1, to 0, fit", "model": quick}
    made = task.run(pictures, **run_kwargs)
    for one, alone in zip(made.image, pictures, strict=True):
        assert type(one) is type(alone)
        assert np.array_equal(as_array(one), as_array(task.restore(alone, **run_kwargs)))
    assert made.nfe == 1
    with pytest.raises(RestoreError, match="the list is empty"):
        task.restore([])


def test_an_error_says_which_picture_of_a_list(quick, portrait, tmp_path):
    Image.fromarray(portrait).save(jpeg := tmp_path / "portrait.jpg", quality=20)
    with pytest.raises(NothingToRestore, match=r"^picture 2 of 3: no trace of JPEG compression in the pixels"):
        tasks.get("jpeg").restore([Image.open(jpeg), portrait, portrait], model=quick, scheme="mean, fit")
    with pytest.raises(RestoreError, match=r"^picture 1 of 2: .*mask"):
        tasks.get("inpaint").restore([portrait] * 2, model=quick)


@pytest.mark.parametrize("together", [list, np.stack, lambda masks: np.stack(masks)[..., None, :, :]])
def test_each_picture_of_several_may_have_its_own_mask(quick, portrait, together):
    pictures = np.stack([portrait[:24, :32], portrait[32:56, 32:64]])
    masks = [box(), box()[:, ::-1]]
    run_kwargs = {"scheme": "level 0.1, to 0, fit", "model": quick}
    made = tasks.get("inpaint").restore(pictures, mask=together(masks), **run_kwargs)
    for one, picture, mask in zip(made, pictures, masks, strict=True):
        assert np.array_equal(one, tasks.get("inpaint").restore(picture, mask=mask, **run_kwargs))


def test_each_of_several_jpegs_has_its_own_quality(quick, portrait, tmp_path):
    pictures = []
    for quality in (10, 40):
        Image.fromarray(portrait).save(tmp_path / "a.jpg", quality=quality)
        pictures.append(np.asarray(Image.open(tmp_path / "a.jpg")))
    run_kwargs = {"scheme": "level t0, to 0, fit", "model": quick}
    made = tasks.get("jpeg").restore(np.stack(pictures), **run_kwargs)
    for one, picture in zip(made, pictures, strict=True):
        assert np.array_equal(one, tasks.get("jpeg").restore(picture, **run_kwargs))
    tensors = torch.from_numpy(np.stack(pictures)).movedim(3, 1)
    assert torch.equal(tasks.get("jpeg").restore(tensors, **run_kwargs), torch.from_numpy(made).movedim(3, 1))


# Names and types of arguments


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("inpaint", {"nef": 4}, "did you mean 'nfe'"),
        ("inpaint", {"masks": 4}, "did you mean 'mask'"),
        ("inpaint", {"device": "cuda"}, r"it belongs to the model: give model=load_model\(device=\.\.\.\)"),
        ("super-resolve", {"scales": 4}, "did you mean 'scale'"),
        ("super-resolve", {"mask": None}, "it takes coefficients, kernel, label"),
        ("jpeg", {"quality": 4}, "did you mean 'input_quality'"),
        ("interpolate", {"frame": 4}, "did you mean 'frames'"),
    ],
)
def test_unknown_arguments_are_type_errors(portrait, name, wrong, hint):
    with pytest.raises(TypeError, match=f"{name} got an unexpected keyword argument '{next(iter(wrong))}'; {hint}"):
        tasks.get(name).restore(portrait, **wrong)


def test_tasks_of_other_packages_take_any_inputs(quick, portrait):
    class Fade(type(tasks.get("super-resolve"))):
        name = "fade"

        def problem(self, image, **inputs):
            return super().problem(image, scale=inputs["times"])

    task = Fade()
    task.is_large = lambda size, **inputs: False
    made = task.restore(portrait[:16, :16], times=2, scheme="level 0.1, to 0, fit", model=quick)
    assert made.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"nfe": "4"}, "nfe='4' is a str, not a whole number; give nfe=4"),
        ({"seed": None}, "seed=None is a NoneType, not a whole number; give an int"),
        ({"scale": 3.0}, "scale=3.0 is a float, not a whole number; give scale=3"),
        ({"scale": "2"}, "scale='2' is a str"),
        ({"seed": 0.5}, "seed=0.5 is a float"),
        ({"scheme": 4}, "scheme=4 is a int; give its text"),
    ],
)
def test_arguments_of_other_types_are_refused_with_the_cause(portrait, quick, wrong, reason):
    with pytest.raises(RestoreError, match=reason):
        tasks.get("super-resolve").restore(portrait, model=quick, **wrong)


def test_numpy_numbers_are_accepted(quick):
    small = np.zeros((4, 4, 3), np.uint8)
    larger = tasks.get("super-resolve").restore(
        small, scale=np.int64(2), seed=np.uint8(3), scheme="level 0.1, to 0, fit", model=quick
    )
    assert larger.shape == (8, 8, 3)


@pytest.mark.slow
def test_the_example_of_the_readme_prints_nothing(tmp_path, portrait):
    Image.fromarray(portrait[:24, :32]).save(tmp_path / "photo.png")
    Image.fromarray(box()).convert("L").save(tmp_path / "mask.png")
    example = (
        "from PIL import Image\n"
        "from bcm_restore import tasks\n"
        "photo, mask = Image.open('photo.png'), Image.open('mask.png').convert('1')\n"
        "restored = tasks.get('inpaint').restore(photo, mask=mask, nfe=1)\n"
        "restored.save('restored.png')\n"
    )
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_read_only_arrays_give_no_warning(restore, portrait):
    picture, mask = portrait[:24, :32].copy(), box()
    picture.flags.writeable = mask.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restore(picture)


# Names


def test_tasks_are_found_by_their_command_name():
    assert tasks.get("jpeg-restore").name == "jpeg"
    with pytest.raises(RestoreError, match="did you mean 'jpeg-restore'"):
        tasks.get("jpeg-restor")


def test_t0_without_a_factor():
    assert str(schemes.parse("level t0, to 0.5t0, mean")) == "level 1t0, to 0.5t0, mean"
    with pytest.raises(RestoreError, match="'x' is not a number"):
        schemes.parse("level xt0")


# Arguments of another type


@pytest.mark.parametrize("image", [np.zeros((3, 48, 40)), torch.zeros(48, 40, 3)])
@pytest.mark.parametrize("name", ["inpaint", "super-resolve", "jpeg"])
def test_channels_in_the_wrong_place_are_named(image, name):
    inputs = {"mask": np.eye(48, 40)} if name == "inpaint" else {}
    with pytest.raises(RestoreError, match=r"have their channels (first|last); (transpose|permute)"):
        tasks.get(name).restore(image, **inputs)


@pytest.mark.parametrize(
    ("image", "kind"), [(torch.zeros(3, 8, 8).to_sparse(), "sparse"), (torch.zeros(3, 8, 8, device="meta"), "meta")]
)
def test_tensors_without_dense_values_are_refused(image, kind):
    with pytest.raises(RestoreError, match=f"{kind}.* is not a picture; give a dense one"):
        tasks.get("super-resolve").restore(image)


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("jpeg", {"input_quality": "a"}, "input_quality='a' is a str, not a whole number; give an int"),
        ("jpeg", {"input_quality": 50.5}, "input_quality=50.5 is a float, not a whole number; give input_quality=50"),
        ("super-resolve", {"noise": "a"}, "noise='a' is a str, not a number; give a float"),
    ],
)
def test_numbers_of_another_type_are_named(name, inputs, message):
    with pytest.raises(RestoreError) as error:
        tasks.get(name).restore(np.zeros((16, 16, 3), np.uint8), **inputs)
    assert str(error.value) == message


def test_names_of_another_type_are_named():
    with pytest.raises(RestoreError, match="3 is a int, not a model; give a model's name or the path"):
        bcm_restore.load_model(3)
    with pytest.raises(RestoreError, match="task None is a NoneType; give a task's name: colorize, deblur"):
        tasks.get(None)
