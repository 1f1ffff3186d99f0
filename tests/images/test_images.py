"""Reading and writing pictures: pixels and metadata."""

import warnings
from io import BytesIO

import numpy as np
import pytest
import skimage.data
import tifffile
from helpers.pictures import LOSSY, MODES, PROFILE, assert_same, exif_with, needs_avif, random_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from bcm_restore import images
from bcm_restore.errors import RestoreError
from bcm_restore.images import Picture

# Round trips


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    suffix=st.sampled_from([".png", ".tif", ".TIFF"]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 1000),
)
def test_lossless_round_trip(tmp_path_factory, mode, suffix, height, width, dtype, seed):
    path = tmp_path_factory.getbasetemp() / f"picture{suffix}"
    picture = random_picture(mode, height, width, dtype, seed)
    images.write(picture, path)
    if suffix != ".png" and dtype == np.uint16 and mode == "grey alpha":
        picture = Picture(np.stack([picture.pixels] * 3, axis=-1), picture.alpha)
    assert_same(images.read(path), picture)


@pytest.mark.parametrize("mode", ["grey", "rgb"])
def test_bmp_round_trip(tmp_path, mode):
    picture = random_picture(mode, 13, 7, np.uint8)
    images.write(picture, tmp_path / "a.bmp")
    assert_same(images.read(tmp_path / "a.bmp"), picture)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", LOSSY)
def test_lossy_formats_keep_size_and_look(tmp_path, mode, dtype, suffix):
    if suffix == ".jpg" and mode.endswith("alpha"):
        pytest.skip("refused, tested elsewhere")
    photo = skimage.data.astronaut()[:60, :90]
    pixels = photo if mode.startswith("rgb") else photo[..., 1]
    alpha = np.tile(np.linspace(0, 255, 90).astype(np.uint8), (60, 1)) if mode.endswith("alpha") else None
    picture = Picture(pixels, alpha)
    if dtype == np.uint16:
        picture = Picture(pixels.astype(np.uint16) * 257, None if alpha is None else alpha.astype(np.uint16) * 257)
    images.write(picture, tmp_path / f"a{suffix}")
    back = images.read(tmp_path / f"a{suffix}")
    assert back.pixels.dtype == np.uint8 and back.size == (60, 90)
    if suffix == ".jpg":
        assert back.pixels.ndim == pixels.ndim
    expected = pixels if back.pixels.ndim == 2 else np.broadcast_to(pixels.reshape(60, 90, -1), (60, 90, 3))
    assert np.abs(back.pixels.astype(int) - expected).mean() < 3
    if alpha is not None:
        assert np.abs(back.alpha.astype(int) - alpha).max() <= 8


def test_sixteen_bits_become_eight_by_rounding(tmp_path):
    values = np.array([[0, 128, 129, 257, 385, 386, 65535, 65406, 65407]], np.uint16)
    images.write(Picture(values), tmp_path / "a.bmp")
    np.testing.assert_array_equal(images.read(tmp_path / "a.bmp").pixels, [[0, 0, 1, 1, 1, 2, 255, 254, 255]])


def test_colour_under_transparency_survives(tmp_path):
    picture = Picture(np.full((4, 4, 3), 77, np.uint8), np.zeros((4, 4), np.uint8))
    for name in ("a.png", "a.tif"):
        images.write(picture, tmp_path / name)
        assert_same(images.read(tmp_path / name), picture)
    images.write(picture, tmp_path / "a.webp")
    assert np.abs(images.read(tmp_path / "a.webp").pixels.astype(int) - 77).max() <= 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", MODES)
def test_other_programs_read_what_is_written(tmp_path, dtype, suffix, mode):
    import cv2

    picture = random_picture(mode, 70, 300, dtype, exif=exif_with(1), icc=PROFILE, dpi=(150.0, 75.0))
    if (suffix, dtype, mode) == (".tif", np.uint16, "grey alpha"):
        picture = Picture(np.stack([picture.pixels] * 3, axis=-1), picture.alpha)
    path = tmp_path / f"a{suffix}"
    images.write(picture, path)
    planes = [picture.pixels.reshape(70, 300, -1)] + ([] if picture.alpha is None else [picture.alpha[..., None]])
    samples = np.concatenate(planes, axis=-1)
    if suffix == ".tif":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(tifffile.imread(path).reshape(samples.shape), samples)
    channels = samples.shape[2]
    # OpenCV has no grey with alpha, and premultiplies a TIFF of 8 bits.
    if channels in (1, 3) or (channels == 4 and (suffix == ".png" or dtype == np.uint16)):
        seen = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).reshape(samples.shape)
        np.testing.assert_array_equal(seen, samples[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]])
    with Image.open(path) as image:
        image.load()
        assert image.size == (300, 70)


# Metadata


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", pytest.param(".avif", marks=needs_avif)])
def test_profile_exif_and_resolution_are_kept(tmp_path, suffix, dtype):
    picture = random_picture("rgb", 9, 11, dtype, icc=PROFILE, exif=exif_with(1), dpi=(300.0, 150.0))
    path = tmp_path / f"a{suffix}"
    images.write(picture, path)
    back = images.read(path)
    assert back.icc == PROFILE
    tags = Image.Exif()
    tags.load(back.exif)
    assert tags[0x010F] == "Maker" and tags.get(0x0112, 1) == 1
    assert tags.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
    if suffix in (".png", ".jpg", ".tif"):
        assert back.dpi == pytest.approx((300, 150), abs=0.02)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == PROFILE and image.getexif()[0x010F] == "Maker"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "tiff", pytest.param("avif", marks=needs_avif)])
def test_orientation(tmp_path, orientation, suffix):
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(orientation)
    source = Image.fromarray(rng.integers(0, 256, (5, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1))
    source.save(path, exif=exif_with(orientation), dpi=(300, 100))
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    upright = images.read(path)
    np.testing.assert_array_equal(upright.pixels, expected)
    assert upright.orientation == 1 and upright.pixels.flags.c_contiguous
    as_stored = images.read(path, upright=False)
    assert as_stored.orientation == orientation and as_stored.size == (40, 64)
    np.testing.assert_array_equal(as_stored.upright().pixels, expected)

    for picture in (upright, as_stored):
        for name in ("b.png", "b.tif", "b.jpg", "b.bmp"):
            images.write(picture, tmp_path / name)
            again = images.read(tmp_path / name)
            assert again.size == expected.shape[:2]
            if name != "b.jpg":
                np.testing.assert_array_equal(again.pixels, expected)
            with Image.open(tmp_path / name) as image:
                turned = ImageOps.exif_transpose(image)
                assert turned.size == expected.shape[1::-1]
        assert Image.open(tmp_path / "b.jpg").getexif().get(0x0112, 1) == picture.orientation
    if suffix in ("png", "jpeg") and orientation >= 5:
        assert upright.dpi == pytest.approx((100, 300), abs=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_of_sixteen_bits_and_alpha(tmp_path, orientation, suffix):
    picture = random_picture("rgb alpha", 5, 8, np.uint16, exif=exif_with(orientation), orientation=orientation)
    images.write(picture, tmp_path / f"a{suffix}")
    assert_same(images.read(tmp_path / f"a{suffix}", upright=False), picture)
    upright = images.read(tmp_path / f"a{suffix}")
    high = Image.fromarray((picture.pixels >> 8).astype(np.uint8))
    high.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(upright.pixels >> 8, np.asarray(ImageOps.exif_transpose(high)))
    shade = Image.fromarray((picture.alpha >> 8).astype(np.uint8))
    shade.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(upright.alpha >> 8, np.asarray(ImageOps.exif_transpose(shade)))


def test_upright_changes_only_the_tag_in_exif(tmp_path):
    original = exif_with(6) + b"maker notes that nobody parses"
    Image.new("RGB", (4, 6)).save(tmp_path / "a.jpg", exif=original)
    changed = images.read(tmp_path / "a.jpg").exif
    assert len(changed) == len(original)
    assert sum(a != b for a, b in zip(changed, original, strict=True)) == 1


def test_orientation_from_a_file_without_exif_is_not_lost_when_it_is_written(tmp_path):
    picture = random_picture("rgb", 4, 6, np.uint8, orientation=6)
    images.write(picture, tmp_path / "a.png")
    assert images.read(tmp_path / "a.png", upright=False).orientation == 6
    assert_same(images.read(tmp_path / "a.png"), picture.upright())


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0garbage and more garbage",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        exif_with(6)[:20],
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40),
    ],
)
def test_malformed_exif_does_no_harm(tmp_path, exif, capfd):
    Image.new("RGB", (4, 6), "red").save(tmp_path / "a.jpg", exif=exif)
    picture = images.read(tmp_path / "a.jpg")
    assert picture.size == (6, 4)
    for suffix in ("jpg", "png", "tif", "webp"):
        images.write(picture, tmp_path / f"b.{suffix}")
        assert images.read(tmp_path / f"b.{suffix}").size == (6, 4)
    assert capfd.readouterr() == ("", "")


def test_exif_too_long_for_jpeg_is_left_out(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70000
    exif[0x0112] = 6
    picture = random_picture("rgb", 4, 6, np.uint8, exif=exif.tobytes(), orientation=6)
    images.write(picture, tmp_path / "a.jpg")
    assert images.read(tmp_path / "a.jpg").exif is None
    assert images.read(tmp_path / "a.jpg").size == (6, 4)
    images.write(picture, tmp_path / "a.png")
    assert len(images.read(tmp_path / "a.png").exif) > 70000


def test_large_profile_in_jpeg(tmp_path):
    profile = PROFILE + np.random.default_rng(0).bytes(200_000)
    images.write(random_picture("rgb", 4, 6, np.uint8, icc=profile), tmp_path / "a.jpg")
    assert images.read(tmp_path / "a.jpg").icc == profile


def test_tiff_layout_tags_are_not_copied(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.tif", description="a boat", compression="tiff_lzw")
    picture = images.read(tmp_path / "a.tif")
    images.write(picture.with_pixels(np.zeros((5, 4, 3), np.uint8)), tmp_path / "b.jpg")
    tags = Image.open(tmp_path / "b.jpg").getexif()
    assert dict(tags) == {0x010E: "a boat"}


def test_with_pixels():
    picture = random_picture("grey alpha", 6, 8, np.uint16, icc=PROFILE, exif=exif_with(1))
    larger = picture.with_pixels(np.zeros((12, 16), np.uint8))
    assert larger.alpha.shape == (12, 16) and larger.alpha.dtype == np.uint8 and larger.icc == PROFILE
    assert larger.exif == picture.exif
    assert picture.with_pixels(np.zeros((6, 8, 3), np.uint16)).icc is None
    np.testing.assert_array_equal(picture.with_pixels(picture.pixels).alpha, picture.alpha)
    own = np.zeros((6, 8), np.uint16)
    assert picture.with_pixels(picture.pixels, own).alpha is own
    solid = Picture(np.zeros((3, 3), np.uint16), np.full((3, 3), 65535, np.uint16))
    assert (solid.with_pixels(np.zeros((7, 5, 3), np.uint8)).alpha == 255).all()
    assert (solid.with_pixels(np.zeros((7, 5, 3), np.uint16)).alpha == 65535).all()


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [
        (np.zeros((3, 3), np.float32), None),
        (np.zeros((3, 3, 4), np.uint8), None),
        (np.zeros((0, 3), np.uint8), None),
        (np.zeros((3, 3), np.uint8), np.zeros((3, 4), np.uint8)),
        (np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint16)),
    ],
)
def test_malformed_pictures_are_refused(pixels, alpha):
    with pytest.raises(ValueError, match="pixels"):
        Picture(pixels, alpha)


# Animations


@pytest.mark.parametrize("name", ["a.gif", "a.webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_animation(tmp_path, name, dtype):
    photo = skimage.data.chelsea()[:64, :96]
    frames = [np.roll(photo, 5 * i, axis=1).astype(dtype) * (257 if dtype == np.uint16 else 1) for i in range(4)]
    images.write_animation(frames, tmp_path / name, duration_ms=80)
    with Image.open(tmp_path / name) as movie:
        assert movie.n_frames == 4 and movie.info["loop"] == 0
        for i in range(4):
            movie.seek(i)
            shown = np.asarray(movie.convert("RGB")).astype(int)
            assert movie.info["duration"] == 80
            assert np.abs(shown - np.roll(photo, 5 * i, axis=1)).mean() < 6
    images.write_animation([photo[..., 0]], tmp_path / name, duration_ms=80)
    assert images.read(tmp_path / name).size == (64, 96)


def test_animation_refuses(tmp_path):
    frame = np.zeros((4, 4, 3), np.uint8)
    for frames, name in (([frame], "a.png"), ([], "a.gif"), ([frame, frame[:3]], "a.webp")):
        with pytest.raises(RestoreError, match=name):
            images.write_animation(frames, tmp_path / name, duration_ms=50)
        assert not list(tmp_path.iterdir())


def test_quality(tmp_path):
    picture = Picture(skimage.data.rocket()[:80, :80])
    for suffix in (".jpg", ".webp"):
        sizes = []
        for quality in (20, 60, 100):
            images.write(picture, tmp_path / f"a{suffix}", quality=quality)
            sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        assert sizes == sorted(sizes)
    images.write(picture, tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        reference = BytesIO()
        Image.fromarray(picture.pixels).save(reference, "JPEG", quality=95, subsampling=0)
        assert image.quantization == Image.open(reference).quantization
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
