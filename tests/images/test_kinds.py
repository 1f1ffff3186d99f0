"""Palettes, bit depths, layouts and colour spaces of files by other programs."""

import struct
import zlib

import numpy as np
import pytest
import skimage.data
import tifffile
from helpers.pictures import MODES, assert_same, png16, random_picture
from PIL import Image, ImageCms

from bcm_restore import images
from bcm_restore.errors import RestoreError


def saved(path, image, **options):
    image.save(path, **options)
    return images.read(path)


def test_palettes(tmp_path):
    photo = Image.fromarray(skimage.data.coffee()[:30, :40])
    palette = photo.quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    for name in ("a.png", "a.bmp", "a.tif", "a.gif"):
        picture = saved(tmp_path / name, palette)
        np.testing.assert_array_equal(picture.pixels, expected)
        assert picture.alpha is None
    indices = np.asarray(palette)
    picture = saved(tmp_path / "b.png", palette, transparency=3)
    np.testing.assert_array_equal(picture.alpha, np.where(indices == 3, 0, 255))
    np.testing.assert_array_equal(picture.pixels, expected)
    opacities = np.random.default_rng(0).integers(0, 256, 16, np.uint8)
    picture = saved(tmp_path / "c.png", palette, transparency=opacities.tobytes())
    np.testing.assert_array_equal(picture.alpha, opacities[indices])
    np.testing.assert_array_equal(picture.pixels, expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_transparent_grey_at_every_depth(tmp_path, bits):
    top = 2**bits - 1
    values = np.random.default_rng(0).integers(0, top, (6, 8), endpoint=True)
    values[0, 0], values[0, 1] = top, 0
    if bits == 16:
        rows = values.astype(">u2").view(np.uint8)
    else:
        spread = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., -bits:]
        rows = np.packbits(spread.reshape(6, -1), axis=1)
    raw = np.concatenate([np.zeros((6, 1), np.uint8), rows], axis=1).tobytes()
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 8, 6, bits, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", top)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    (tmp_path / "a.png").write_bytes(data)
    picture = images.read(tmp_path / "a.png")
    full = 65535 if bits == 16 else 255
    np.testing.assert_array_equal(picture.pixels, values * (full // top))
    np.testing.assert_array_equal(picture.alpha, np.where(values == top, 0, full))
    assert picture.pixels.dtype == picture.alpha.dtype == (np.uint16 if bits == 16 else np.uint8)


def test_transparent_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 3, (9, 9, 3), np.uint8) * 100
    picture = saved(tmp_path / "a.png", Image.fromarray(pixels), transparency=(0, 100, 200))
    np.testing.assert_array_equal(picture.alpha, np.where((pixels == (0, 100, 200)).all(-1), 0, 255))
    np.testing.assert_array_equal(picture.pixels, pixels)


def test_one_bit(tmp_path):
    values = np.random.default_rng(0).integers(0, 2, (9, 13)).astype(bool)
    for name in ("a.png", "a.tif", "a.bmp"):
        np.testing.assert_array_equal(saved(tmp_path / name, Image.fromarray(values)).pixels, values * 255)


@pytest.mark.parametrize("mode", MODES)
def test_sixteen_bit_png_of_other_programs(tmp_path, mode):
    picture = random_picture(mode, 7, 5, np.uint16)
    planes = [picture.pixels.reshape(7, 5, -1)] + ([] if picture.alpha is None else [picture.alpha[..., None]])
    kinds = {"grey": 0, "grey alpha": 4, "rgb": 2, "rgb alpha": 6}
    gamma = (b"gAMA", struct.pack(">I", 100_000))
    (tmp_path / "a.png").write_bytes(png16(np.concatenate(planes, -1), kinds[mode], gamma))
    assert_same(images.read(tmp_path / "a.png"), picture)


def test_sixteen_bit_transparent_colour(tmp_path):
    pixels = random_picture("rgb", 7, 5, np.uint16).pixels
    pixels[3, 2] = pixels[0, 0]
    pixels[1, 1] = pixels[0, 0] ^ 1  # equal in the upper eight bits
    key = (b"tRNS", struct.pack(">HHH", *map(int, pixels[0, 0])))
    (tmp_path / "a.png").write_bytes(png16(pixels, 2, key))
    picture = images.read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert np.argwhere(picture.alpha != 65535).tolist() == [[0, 0], [3, 2]]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("mode", ["grey", "rgb", "rgb alpha"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}])
def test_sixteen_bit_tiff_of_other_programs(tmp_path, byteorder, mode, options, capfd):
    picture = random_picture(mode, 40, 50, np.uint16)
    samples = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    layout = {"photometric": "minisblack" if mode == "grey" else "rgb"}
    if picture.alpha is not None:
        layout["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(tmp_path / "a.tif", samples, byteorder=byteorder, **layout, **options)
    assert_same(images.read(tmp_path / "a.tif"), picture)
    assert capfd.readouterr() == ("", "")


def test_unusual_tiffs(tmp_path, capfd):
    path = tmp_path / "a.tif"
    colour = random_picture("rgb", 20, 30, np.uint16).pixels
    grey = colour[..., 0].copy()
    tifffile.imwrite(path, grey, photometric="miniswhite")
    np.testing.assert_array_equal(images.read(path).pixels, 65535 - grey)
    tifffile.imwrite(path, colour, photometric="rgb", bigtiff=True)
    np.testing.assert_array_equal(images.read(path).pixels, colour)
    tifffile.imwrite(path, np.stack([colour] * 3), photometric="rgb")
    np.testing.assert_array_equal(images.read(path).pixels, colour)
    extra = np.dstack([colour, grey])
    tifffile.imwrite(path, extra, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(images.read(path).pixels, colour)
    assert images.read(path).alpha is None
    premultiplied = np.dstack([np.minimum(colour, grey[..., None]), grey])
    tifffile.imwrite(path, premultiplied, photometric="rgb", extrasamples=["assocalpha"])
    picture = images.read(path)
    np.testing.assert_array_equal(picture.alpha, grey)
    back = picture.pixels * (grey[..., None] / 65535.0)
    assert np.abs(back - premultiplied[..., :3]).max() <= 0.51
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_sixteen_bit_separate_planes_are_refused(tmp_path, compression, capfd):
    planes = np.random.default_rng(0).integers(0, 65536, (3, 20, 30), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate", compression=compression)
    with pytest.raises(RestoreError, match=r"a\.tif.*separate planes"):
        images.read(tmp_path / "a.tif")
    eight = (planes >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", eight, photometric="rgb", planarconfig="separate", compression=compression)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif").pixels, np.moveaxis(eight, 0, -1))


def test_integers_and_floats(tmp_path):
    path = tmp_path / "a.tif"
    values = np.random.default_rng(0).integers(0, 65536, (5, 6))
    for kind in (np.int32, np.uint32):
        tifffile.imwrite(path, values.astype(kind), photometric="minisblack")
        np.testing.assert_array_equal(images.read(path).pixels, values)
    tifffile.imwrite(path, (values / 65535).astype(np.float32), photometric="minisblack")
    np.testing.assert_array_equal(images.read(path).pixels, values)
    for bad in (np.full((3, 3), 70000, np.int32), np.full((3, 3), -1, np.int16)):
        tifffile.imwrite(path, bad, photometric="minisblack")
        with pytest.raises(RestoreError, match=r"a\.tif.*integers.*0 to 65535"):
            images.read(path)
    for bad in (1.5, -0.1, np.nan, np.inf):
        tifffile.imwrite(path, np.full((3, 3), bad, np.float32), photometric="minisblack")
        with pytest.raises(RestoreError, match=r"a\.tif.*floats.*0 to 1"):
            images.read(path)


def test_cmyk_and_lab(tmp_path):
    photo = Image.fromarray(skimage.data.coffee()[:40, :50])
    cmyk = photo.convert("CMYK")
    np.testing.assert_array_equal(saved(tmp_path / "a.tif", cmyk).pixels, np.asarray(cmyk.convert("RGB")))
    picture = saved(tmp_path / "a.jpg", cmyk, quality=100, subsampling=0)
    assert np.abs(picture.pixels.astype(int) - np.asarray(photo)).mean() < 3
    lab = ImageCms.profileToProfile(
        photo, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert np.abs(saved(tmp_path / "b.tif", lab).pixels.astype(int) - np.asarray(photo)).mean() < 2


def cmyk_profile():
    """A CMYK profile for which only black ink exists: L* falls from 100 to 0 with K, whatever C, M and Y are."""

    def curves(count):
        return bytes(range(256)) * count

    lab = bytes([255, 128, 128, 0, 128, 128]) * 8
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + curves(4) + lab + curves(3)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78 + 3),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": lut + bytes(-len(lut) % 4),
    }
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value
    head = bytearray(128)
    head[8:12] = b"\x02\x40\0\0"
    head[12:24] = b"prtrCMYKLab "
    head[36:40] = b"acsp"
    head[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    profile = bytes(head) + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(profile)) + profile[4:]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_is_converted_by_its_own_profile(tmp_path, name):
    cmyk = Image.frombytes("CMYK", (8, 8), np.random.default_rng(0).bytes(256))
    picture = saved(tmp_path / name, cmyk, icc_profile=cmyk_profile())
    with Image.open(tmp_path / name) as image:
        lightness = 100 * (1 - np.asarray(image)[..., 3] / 255)
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    srgb = np.where(luminance > 0.0031308, 1.055 * luminance ** (1 / 2.4) - 0.055, 12.92 * luminance)
    assert np.abs(picture.pixels - 255 * srgb[..., None]).max() <= 3
    assert picture.icc is None
    broken = saved(tmp_path / name, cmyk, icc_profile=b"no profile at all" * 20)
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(broken.pixels, np.asarray(image.convert("RGB")))
    assert broken.icc is None


def test_first_frame_of_many(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        picture = images.read(tmp_path / name)
        assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 5
    frames[0].save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=frames[1:])
    picture = images.read(tmp_path / "a.mpo")
    assert picture.format == "JPEG"
    assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 5


def test_is_image():
    assert images.is_image("a.PNG") and images.is_image("b/c.Jpeg") and images.is_image("x.tiff")
    assert not images.is_image("a.txt") and not images.is_image("png") and not images.is_image(".a.png.0.part")
    assert all(images.is_image("a" + suffix) for suffix in images.SUFFIXES)


def test_the_suffix_of_an_input_does_not_matter(tmp_path):
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png", "JPEG")
    assert images.read(tmp_path / "a.png").format == "JPEG"
