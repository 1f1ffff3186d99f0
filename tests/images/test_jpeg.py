"""Coefficients of JPEG files, against a reference decoder and Pillow."""

import errno
from io import BytesIO

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bcm_restore.errors import RestoreError
from bcm_restore.images import jpeg_coefficients, read, read_inks

# The (vertical, horizontal) factors of luma; those of chroma are 1.
SAMPLINGS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2), "4:4:0": (2, 1), "4:1:1": (1, 4)}

k = np.arange(8)
# Row f is the cosine of frequency f at the eight samples.
BASIS = np.cos((2 * k[None, :] + 1) * k[:, None] * np.pi / 16) * np.where(k[:, None] == 0, np.sqrt(1 / 8), 0.5)


def decoded(plane, table):
    """(blocks * 8, blocks * 8) samples of a plane, by the formula of the standard."""
    blocks = BASIS.T @ (plane * table.astype(float)) @ BASIS + 128
    down, across = plane.shape[:2]
    return np.clip(np.rint(blocks.transpose(0, 2, 1, 3).reshape(8 * down, 8 * across)), 0, 255)


def pillow_ycbcr(path):
    with Image.open(path) as image:
        if image.mode == "RGB":
            image.draft("YCbCr", image.size)
            assert image.mode == "YCbCr"
        samples = np.asarray(image)
    return samples if samples.ndim == 3 else samples[..., None]


def photo(height=67, width=93):
    return Image.fromarray(skimage.data.astronaut()[20 : 20 + height, 150 : 150 + width])


def by_opencv(image, sampling, *options, quality=80):
    """A JPEG by OpenCV, which has more samplings than Pillow."""
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling.replace(':', '')}")
    bgr = np.ascontiguousarray(np.asarray(image)[..., ::-1])
    options = [*map(int, options), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", bgr, options)[1].tobytes()


def with_sampling(data, vertical, horizontal):
    """A JPEG with other factors for its first component."""
    start = data.index(b"\xff\xc0") + 2
    patched = bytearray(data)
    assert patched[start + 8 + 1] == 0x11
    patched[start + 8 + 1] = horizontal << 4 | vertical
    return bytes(patched)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", [(64, 96), (67, 93), (1, 1), (9, 40)])
def test_coefficients_decode_to_the_picture(tmp_path, sampling, size, progressive):
    path = tmp_path / "a.jpg"
    path.write_bytes(by_opencv(photo(*size), sampling, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive))
    coefficients = jpeg_coefficients(path)
    vertical, horizontal = SAMPLINGS[sampling]
    assert coefficients.size == size
    assert coefficients.sampling == ((vertical, horizontal), (1, 1), (1, 1))
    reference = pillow_ycbcr(path).astype(float)
    height, width = size
    for i, (plane, table) in enumerate(zip(coefficients.planes, coefficients.tables, strict=True)):
        assert plane.dtype == np.int16 and table.dtype == np.uint16 and table.shape == (8, 8)
        v, h = coefficients.sampling[i]
        covered = -(-height * v // vertical), -(-width * h // horizontal)
        assert plane.shape == (-(-covered[0] // 8), -(-covered[1] // 8), 8, 8)
        samples = decoded(plane, table)
        if i == 0 or sampling == "4:4:4":
            assert np.abs(samples[:height, :width] - reference[..., i]).max() <= 1
        elif height > 8 and width > 30:
            # Decoders interpolate chroma: only its averages agree.
            whole = reference[: height // vertical * vertical, : width // horizontal * horizontal, i]
            means = whole.reshape(height // vertical, vertical, width // horizontal, horizontal).mean(axis=(1, 3))
            difference = np.abs(samples[: means.shape[0], : means.shape[1]] - means)
            assert difference.mean() < 1.5


def test_tables_are_in_natural_order(tmp_path):
    order = np.arange(1, 65).reshape(8, 8)
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg", qtables=[order.ravel().tolist(), (order + 64).ravel().tolist()])
    tables = jpeg_coefficients(tmp_path / "a.jpg").tables
    with Image.open(tmp_path / "a.jpg") as image:
        for table, number in zip(tables, (0, 1, 1), strict=True):
            np.testing.assert_array_equal(table.ravel(), image.quantization[number])
    np.testing.assert_array_equal(tables[0], order)


def test_frequencies_are_not_transposed(tmp_path):
    stripes = np.tile(np.where(np.arange(32) % 8 < 4, 40, 200).astype(np.uint8), (32, 1))  # vary only horizontally
    Image.fromarray(stripes).save(tmp_path / "a.jpg", quality=90)
    plane = jpeg_coefficients(tmp_path / "a.jpg").planes[0]
    assert np.abs(plane[..., 0, 1:]).max() > 0 and np.abs(plane[..., 1:, :]).max() == 0


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    sampling=st.sampled_from(sorted(SAMPLINGS)),
    progressive=st.booleans(),
    quality=st.integers(1, 100),
    restart=st.integers(0, 3),
    grey=st.booleans(),
)
def test_luma_of_any_file(tmp_path_factory, height, width, sampling, progressive, quality, restart, grey):
    path = tmp_path_factory.getbasetemp() / "luma.jpg"
    noise = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), np.uint8)
    if grey:
        Image.fromarray(noise[..., 0]).save(
            path, quality=quality, progressive=progressive, restart_marker_blocks=restart
        )
    else:
        options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
        path.write_bytes(by_opencv(Image.fromarray(noise), sampling, *options, quality=quality))
    coefficients = jpeg_coefficients(path)
    assert len(coefficients.planes) == (1 if grey else 3)
    luma = decoded(coefficients.planes[0], coefficients.tables[0])[:height, :width]
    difference = np.abs(luma - pillow_ycbcr(path)[..., 0])
    # libjpeg's integer transform may be off by one more if coarse tables give values far outside 0 to 255.
    assert difference.max() <= 2 and (difference > 1).mean() < 0.01


def test_grey_with_odd_factors(tmp_path):
    path = tmp_path / "a.jpg"
    photo(37, 45).convert("L").save(path, quality=70)
    plain = jpeg_coefficients(path)
    path.write_bytes(with_sampling(path.read_bytes(), 2, 2))
    odd = jpeg_coefficients(path)
    assert plain.sampling == ((1, 1),) and odd.sampling == ((2, 2),)
    np.testing.assert_array_equal(plain.planes[0], odd.planes[0])


def test_other_segments_do_not_affect_coefficients(tmp_path):
    path = tmp_path / "a.jpg"
    photo().save(path, quality=70)
    data, plain = path.read_bytes(), jpeg_coefficients(path)
    comments = b"".join(b"\xff\xfe\x00\x0b" + b"comment %d" % (i % 10) for i in range(200))
    fill = b"\xff" * 7
    profile = b"\xff\xe2\xff\xff" + bytes([0xFF, 0xD9, 0xFF, 0xC0]) * 16383 + b"x"
    varied = data[:2] + profile + comments + fill + data[2:] + b"trailing bytes, and a second picture" + data
    path.write_bytes(varied)
    for a, b in zip(plain.planes, jpeg_coefficients(path).planes, strict=True):
        np.testing.assert_array_equal(a, b)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().save(path, quality=70, exif=exif)
    turned = jpeg_coefficients(path)
    assert turned.size == plain.size
    np.testing.assert_array_equal(turned.planes[0], plain.planes[0])


@pytest.mark.parametrize("number", [None, errno.ENOSPC])
def test_jpeglib_errors(tmp_path, monkeypatch, number):
    def fail(**arguments):
        raise OSError(number, "No space left on device") if number else OSError("reading of DCT failed")

    photo().save(tmp_path / "a.jpg")
    monkeypatch.setattr("jpeglib._bind.CJpegLib.read_jpeg_dct", fail)
    if number is None:
        assert jpeg_coefficients(tmp_path / "a.jpg") is None
    else:
        with pytest.raises(RestoreError, match=r"a\.jpg.*needs space"):
            jpeg_coefficients(tmp_path / "a.jpg")


def test_files_without_huffman_tables(tmp_path):
    path = tmp_path / "a.jpg"
    photo().save(path, quality=70)
    plain, data = jpeg_coefficients(path), path.read_bytes()
    while (start := data.find(b"\xff\xc4")) >= 0:
        data = data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]
    path.write_bytes(data)
    for a, b in zip(plain.planes, jpeg_coefficients(path).planes, strict=True):
        np.testing.assert_array_equal(a, b)


def test_several_pictures_in_one_file(tmp_path):
    photo().save(tmp_path / "a.jpg", "MPO", quality=70, save_all=True, append_images=[photo(40, 40)])
    photo().save(tmp_path / "b.jpg", quality=70)
    a, b = jpeg_coefficients(tmp_path / "a.jpg"), jpeg_coefficients(tmp_path / "b.jpg")
    np.testing.assert_array_equal(a.planes[0], b.planes[0])


def encoded(image, **options):
    file = BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def test_unsupported_files_return_none(tmp_path):
    path = tmp_path / "a.jpg"
    plain = encoded(photo(), quality=70)
    frame = plain.index(b"\xff\xc0")
    arithmetic = bytearray(plain)
    arithmetic[frame + 1] = 0xC9
    png = BytesIO()
    photo().save(png, "PNG")
    kinds = {
        "arithmetic": bytes(arithmetic),
        "png": png.getvalue(),
        "text": b"Dear diary",
    }
    for name, data in kinds.items():
        path.write_bytes(data)
        assert jpeg_coefficients(path) is None, name


def test_colour_space_follows_libjpegs_rules(tmp_path):
    path = tmp_path / "a.jpg"
    data = encoded(photo(), quality=70)
    jfif = data.index(b"\xff\xe0")
    bare = data[:jfif] + data[jfif + 18 :]
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
    frame = bare.index(b"\xff\xc0") + 10
    letters = bytearray(bare)
    scan = bare.index(b"\xff\xda") + 5
    for i, letter in enumerate(b"RGB"):
        letters[frame + 3 * i] = letters[scan + 2 * i] = letter
    cases = {
        "no marker": (bare, True),
        "letters": (bytes(letters), False),
        "adobe ycc": (bare[:2] + adobe + b"\1" + bare[2:], True),
        "adobe rgb": (bare[:2] + adobe + b"\0" + bare[2:], False),
    }
    for name, (content, expected) in cases.items():
        path.write_bytes(content)
        with Image.open(path) as image:
            shown = np.asarray(image.convert("RGB")).astype(int)
        natural = np.abs(shown - np.asarray(photo())).mean() < 10
        assert natural == expected, name
        assert jpeg_coefficients(path).colour == ("YCbCr" if expected else "RGB"), name


@pytest.mark.parametrize("transform", [0, 2])
@pytest.mark.parametrize("size", [(40, 48), (37, 45)])
def test_cmyk(tmp_path, transform, size):
    path = tmp_path / "a.jpg"
    data = bytearray(encoded(photo(*size).convert("CMYK"), quality=60))
    data[data.index(b"Adobe") + 11] = transform
    path.write_bytes(data)
    coefficients, inks = jpeg_coefficients(path), read_inks(path)
    assert coefficients.colour == ("CMYK" if transform == 0 else "YCCK") and len(coefficients.planes) == 4
    np.testing.assert_array_equal(inks.srgb(), read(path).pixels)
    colours, black = coefficients.inks()
    assert colours.colour == ("RGB" if transform == 0 else "YCCK") and black.colour == "YCbCr"
    height, width = size
    samples = decoded(black.planes[0], black.tables[0])[:height, :width]
    assert np.abs(samples - inks.black).max() <= 1
    if transform == 0:
        cyan = decoded(colours.planes[0], colours.tables[0])[:height, :width]
        assert np.abs(cyan - inks.colours[..., 0]).max() <= 1


def test_read_inks_refuses_rgb(tmp_path):
    photo().save(tmp_path / "a.jpg")
    with pytest.raises(RestoreError, match=r"a\.jpg.*not CMYK"):
        read_inks(tmp_path / "a.jpg")


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_files_are_refused(tmp_path, progressive, capfd):
    path = tmp_path / "a.jpg"
    data = encoded(photo(), quality=70, progressive=progressive)
    for cut in (700, len(data) // 2, len(data) - 200, len(data) - 3):
        path.write_bytes(data[:cut])
        with pytest.raises(RestoreError, match=r"a\.jpg.*truncated"):
            jpeg_coefficients(path)
    with pytest.raises(RestoreError, match="no such file"):
        jpeg_coefficients(tmp_path / "b.jpg")
    assert capfd.readouterr() == ("", "")
