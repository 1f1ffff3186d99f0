"""Colorization: RGB results whose luma is the input's, for pictures of every type."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore import schemes, tasks
from bcm_restore.operators import Luma
from bcm_restore.simulation.degradations import variants
from bcm_restore.tasks.arrays import to_tensor
from bcm_restore.tasks.colorize import DULL, FROM_COLOUR

SCHEME = "level 1.6, mean, fit"


def colorize(image, model, **options):
    return tasks.get("colorize").run(image, scheme=SCHEME, model=model, **options)


def luma(pixels):
    return np.asarray(pixels, np.float64) @ [0.299, 0.587, 0.114]


@pytest.fixture
def grey(face):
    return np.asarray(Image.fromarray(face).convert("L"))


def test_floats_keep_their_luma(grey, model):
    image = grey.astype(np.float32) / 255
    coloured = colorize(image, model).image
    assert coloured.shape == (*grey.shape, 3) and coloured.dtype == np.float32
    assert abs(luma(coloured) - image).max() < 1e-5
    assert np.ptp(coloured, axis=2).max() > 0.02  # there are colours


def test_the_luma_is_within_rounding_of_the_input(grey, model):
    """The weights add up to 1, so that rounding each channel changes the luma by half a level at most."""
    coloured = colorize(grey, model).image
    assert coloured.dtype == np.uint8
    assert abs(luma(coloured) - grey).max() <= 0.5 + 1e-3
    assert abs(np.asarray(Image.fromarray(coloured).convert("L")).astype(int) - grey).max() <= 1


def test_sixteen_bits(grey, model):
    deep = grey.astype(np.uint16) * 257 + 100
    coloured = colorize(deep, model).image
    assert coloured.dtype == np.uint16 and coloured.shape == (*grey.shape, 3)
    assert abs(luma(coloured) - deep).max() <= 0.7


def kinds(grey):
    """Grey pictures of all types with the type and shape of their results."""
    size = grey.shape[::-1]
    alpha = Image.fromarray(np.full_like(grey, 200))
    alpha.putpixel((3, 4), 0)
    return {
        "L": (Image.fromarray(grey), ("RGB", size)),
        "LA": (Image.merge("LA", [Image.fromarray(grey), alpha]), ("RGBA", size)),
        "1": (Image.fromarray(grey).convert("1"), ("RGB", size)),
        "I;16": (Image.fromarray(grey.astype(np.uint16) * 257), ("RGB", size)),
        "F": (Image.fromarray(grey.astype(np.float32) / 255), ("RGB", size)),
        "P": (Image.fromarray(grey).convert("P"), ("RGB", size)),
        "channel last": (grey[..., None], (*grey.shape, 3)),
        "tensor": (torch.from_numpy(grey.copy())[None], (3, *grey.shape)),
        "batch": (torch.from_numpy(grey.copy())[None, None].repeat(2, 1, 1, 1), (2, 3, *grey.shape)),
    }


@pytest.mark.parametrize("kind", ["L", "LA", "1", "I;16", "F", "P", "channel last", "tensor", "batch"])
def test_grey_pictures_of_all_types_become_rgb(grey, model, kind):
    given, expected = kinds(grey)[kind]
    coloured = colorize(given, model).image
    assert ((coloured.mode, coloured.size) if isinstance(given, Image.Image) else coloured.shape) == expected
    if kind == "LA":
        assert coloured.getchannel("A").tobytes() == given.getchannel("A").tobytes()
    if kind in ("L", "I;16", "F"):
        assert abs(luma(coloured) - grey).max() <= 0.51


def test_a_grey_profile_is_dropped(grey, model):
    picture = Image.fromarray(grey)
    picture.info.update(icc_profile=b"grey", dpi=(72, 72))
    found = colorize(picture, model).image.info
    assert "icc_profile" not in found and found["dpi"] == (72, 72)


def test_of_a_colour_picture_only_the_luma_counts(face, model):
    found = colorize(face, model)
    assert found.remark == f"{FROM_COLOUR}; {DULL}"
    assert abs(luma(found.image) - luma(face)).max() <= 0.51
    equal = np.repeat(face[..., :1], 3, axis=2)
    assert colorize(equal, model).remark == DULL


def test_large_pictures_give_the_same(grey, model, monkeypatch):
    """They are restored in files, tile by tile."""
    whole = colorize(grey, model).image
    monkeypatch.setattr("bcm_restore.spans.LARGE", 100)
    parts = colorize(grey, model).image
    assert abs(parts.astype(int) - whole).max() <= 1


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_the_problem_for_any_size(height, width, seed):
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    problem = tasks.get("colorize").problem(image)
    assert torch.allclose(problem.y, Luma().A(image))
    assert torch.equal(problem.x, problem.y.expand(1, 3, height, width))


def test_the_simulated_damage_is_pillows_grey(face):
    example = variants("colorize")["luma"](face, np.random.default_rng(0))
    grey = np.asarray(Image.fromarray(face).convert("L"))
    assert example.damaged.shape == face.shape and (example.damaged == grey[..., None]).all()
    assert (example.clean == face).all() and example.inputs == {}
    estimate = tasks.get("colorize").problem(to_tensor(example.damaged)[0]).x
    assert torch.allclose(estimate, to_tensor(example.damaged)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["bcm-photo", "bcm-photo-small", "bcm-imagenet64"])
def test_default_schemes(name):
    for nfe, scheme in tasks.get("colorize").schemes()[name]["any"].items():
        assert scheme.nfe == nfe and scheme.ends_clean
        assert str(scheme) == str(schemes.parse(str(scheme)))


# --- files


def test_files(cli, save, grey, tmp_path):
    save("grey.png", grey)
    said = cli("colorize", tmp_path / "grey.png", "--nfe", "1").output
    assert DULL in said and FROM_COLOUR not in said
    coloured = Image.open(tmp_path / "grey_colorized.png")
    assert coloured.mode == "RGB" and abs(luma(coloured) - grey).max() <= 0.51


def test_a_folder_of_grey_and_colour_files_of_one_size(cli, save, grey, face, tmp_path):
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    save("album/a.png", grey), save("album/b.png", face), save("album/c.png", deep)
    cli("run", "colorize", tmp_path / "album", "--scheme", SCHEME, "--compare")
    from bcm_restore import images

    results = {path.stem: images.read(path).pixels for path in (tmp_path / "album_colorized").glob("?.png")}
    assert {name: (pixels.shape, str(pixels.dtype)) for name, pixels in results.items()} == {
        "a": (face.shape, "uint8"),
        "b": (face.shape, "uint8"),
        "c": (face.shape, "uint16"),
    }
    assert abs(luma(results["c"]) - grey * 257.0).max() <= 0.7


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match="colorize got an unexpected keyword argument 'sgima'"):
        tasks.get("colorize").restore(np.zeros((8, 8), np.uint8), sgima=3)
