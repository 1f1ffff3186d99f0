"""Pages and frames: finding, decoding and writing them."""

import io

import numpy as np
import pytest
from helpers.pictures import assert_same, exif_with, needs_avif, random_picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from bcm_restore import images
from bcm_restore.errors import RestoreError
from bcm_restore.images.pages import encode_pages, pages_of
from bcm_restore.images.stale import first_directory, next_link

LIMIT = images.MAX_PIXELS
KINDS = ["grey", "rgb", "rgb alpha"]


def sheets(count=3, dtype=np.uint8, mode="rgb", **metadata):
    return [random_picture(mode, 6 + n, 8, dtype, seed=n, **metadata) for n in range(count)]


def read_all(data, name):
    return [images.read("x", data=page) for page in pages_of(data, name, LIMIT).files()]


def animated(name, count=3, duration=40, **options):
    """An animation by Pillow with frames of uniform colour."""
    pictures = [Image.new("RGB", (8, 6), (90 * n, 200, 10)) for n in range(count)]
    file = io.BytesIO()
    pictures[0].save(file, name, save_all=True, append_images=pictures[1:], duration=duration, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("mode", KINDS)
def test_tiff_pages_of_unequal_sizes_round_trip(dtype, mode):
    pictures = sheets(dtype=dtype, mode=mode, dpi=(300.0, 300.0))
    data = encode_pages(pictures, "TIFF", None, None)
    pages = pages_of(data, "TIFF", LIMIT)
    assert (pages.count, pages.kept, pages.remark, pages.timing()) == (3, 3, "", None)
    for page, picture in zip(read_all(data, "TIFF"), pictures, strict=True):
        assert_same(page, picture)
        assert page.dpi == (300, 300)
    with Image.open(io.BytesIO(data)) as image:  # independent check
        assert image.n_frames == 3
        image.seek(2)
        assert image.size == (8, 8)


def test_each_tiff_page_has_its_own_orientation():
    data = encode_pages(
        [random_picture("rgb", 6, 8, np.uint8, exif=exif_with(tag), orientation=tag) for tag in (1, 6, 3)],
        "TIFF",
        None,
        None,
    )
    first, second, third = read_all(data, "TIFF")
    source = random_picture("rgb", 6, 8, np.uint8).pixels
    np.testing.assert_array_equal(first.pixels, source)
    np.testing.assert_array_equal(second.pixels, np.rot90(source, -1))
    np.testing.assert_array_equal(third.pixels, source[::-1, ::-1])


def test_reduced_copies_and_masks_are_not_pages():
    file = io.BytesIO()
    writer = TiffImagePlugin.AppendingTiffWriter(file, True)
    for kind, size in ((0, (16, 12)), (1, (8, 6)), (4, (16, 12)), (2, (16, 12))):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[254] = kind
        Image.new("RGB", size).save(writer, "TIFF", tiffinfo=tags)
        writer.newFrame()
    pages = pages_of(file.getvalue(), "TIFF", LIMIT)
    assert pages.count == 2
    assert [page.size for page in read_all(file.getvalue(), "TIFF")] == [(12, 16)] * 2


def test_circular_lists_of_pages_end():
    data = bytearray(encode_pages(sheets(2), "TIFF", None, None))
    link = next_link(data, first_directory(data))
    second = int.from_bytes(data[link : link + 4], "little")
    place = next_link(data, second)
    data[place : place + 4] = first_directory(data).to_bytes(4, "little")
    assert pages_of(bytes(data), "TIFF", LIMIT).count == 2


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG", pytest.param("AVIF", marks=needs_avif)])
@pytest.mark.parametrize("target", ["WEBP", "PNG", "TIFF", pytest.param("AVIF", marks=needs_avif)])
def test_animations_keep_their_frames_and_times(source, target):
    data = animated(source, duration=[40, 80, 120], **({} if source == "AVIF" else {"loop": 0}))
    pages = pages_of(data, target, LIMIT)
    assert (pages.count, pages.kept) == (3, 3)
    found = read_all(data, target)
    for n, frame in enumerate(found):
        np.testing.assert_allclose(frame.pixels.mean((0, 1)), (90 * n, 200, 10), rtol=0, atol=3)
    again = encode_pages(found, target, None, pages.timing())
    with Image.open(io.BytesIO(again)) as image:
        assert image.n_frames == 3
        durations = []
        for n in range(3):
            image.seek(n)
            image.load()
            durations.append(image.info.get("duration"))
            np.testing.assert_allclose(np.asarray(image.convert("RGB")).mean((0, 1)), (90 * n, 200, 10), rtol=0, atol=4)
        if target != "TIFF":
            assert durations == [40, 80, 120]
            assert target == "AVIF" or image.info["loop"] == 0


def test_frames_with_and_without_transparency_and_colour_are_combined():
    mixed = [random_picture(mode, 6, 8, np.uint8) for mode in ("grey", "rgb alpha", "rgb", "grey alpha")]
    data = encode_pages(mixed, "PNG", None, images.Timing((50,) * 4))
    for frame, picture in zip(read_all(data, "PNG"), mixed, strict=True):
        colours = picture.pixels if picture.pixels.ndim == 3 else np.stack([picture.pixels] * 3, -1)
        alpha = np.full(picture.size, 255) if picture.alpha is None else picture.alpha
        np.testing.assert_array_equal(frame.pixels, colours)
        np.testing.assert_array_equal(frame.alpha, alpha)


def test_a_still_outside_the_animation_is_kept():
    data = animated("PNG", default_image=True, duration=[30, 60])
    pages = pages_of(data, "PNG", LIMIT)
    timing = pages.timing()
    assert (pages.count, timing.apart) == (3, True)
    again = encode_pages(read_all(data, "PNG"), "PNG", None, timing)
    with Image.open(io.BytesIO(again)) as image:
        assert (image.n_frames, image.default_image) == (3, True)
    with Image.open(io.BytesIO(encode_pages(read_all(data, "PNG"), "WEBP", None, timing))) as image:
        assert image.n_frames == 2


@pytest.mark.parametrize(
    ("data", "name", "remark"),
    [
        (encode_pages(sheets(), "TIFF", None, None), "PNG", "page 1 of 3; --format tiff keeps all"),
        (encode_pages(sheets(), "TIFF", None, None), "JPEG", "page 1 of 3; --format tiff keeps all"),
        (animated("GIF"), "JPEG", "page 1 of 3; --format webp keeps all"),
        (animated("MPO"), "PNG", "page 1 of 3"),
        (animated("MPO"), "TIFF", "page 1 of 3"),
        (animated("GIF", count=1), "JPEG", ""),
        (b"no picture", "PNG", ""),
    ],
)
def test_left_out_pages_are_reported(data, name, remark):
    pages = pages_of(data, name, LIMIT)
    assert pages.remark == remark
    assert list(pages.files()) == [data]


def test_the_limit_applies_to_all_pages_together():
    data = animated("GIF")
    assert pages_of(data, "PNG", 3 * 48).kept == 3
    with pytest.raises(RestoreError, match="its 3 pages of 8 x 6 pixels are more than the limit"):
        pages_of(data, "PNG", 3 * 48 - 1)


@given(
    st.binary(max_size=60), st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
)
def test_damaged_files_count_as_one_page(noise, magic):
    assert pages_of(magic + noise, "TIFF", LIMIT).kept == 1
