"""Metadata: kept if the output format can hold them, and updated for the new pixels."""

import io
import struct

import numpy as np
import pytest
from helpers.pictures import PROFILE, exif_with, needs_avif, png16, random_picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from bcm_restore import images
from bcm_restore.errors import RestoreError
from bcm_restore.images import colour, stale

EXIF_FORMATS = [".jpg", ".png", ".webp", ".tif", pytest.param(".avif", marks=needs_avif)]
XMP = (
    b'<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description tiff:Orientation="6" exif:PixelXDimension="40" xmpNote:HasExtendedXMP="AB" '
    b'dc:title="Caf\xc3\xa9"><xmp:Thumbnails><rdf:Alt><rdf:li>b2xk</rdf:li></rdf:Alt></xmp:Thumbnails>'
    b"<tiff:ImageLength>30</tiff:ImageLength></rdf:Description></rdf:RDF></x:xmpmeta>"
)
IPTC = b"\x1c\x02\x78\x00\x05words"


def jpeg(colour_of="red"):
    file = io.BytesIO()
    Image.new("RGB", (16, 12), colour_of).save(file, "JPEG")
    return file.getvalue()


def exif_of(order="<", thumbnail=None, strips=b"", maker_note=b"", kind=3):
    """EXIF of a 40x30 picture with a thumbnail: a JPEG, or raw pixels."""

    def directory(entries, following):
        body = struct.pack(order + "H", len(entries))
        for tag, type_, count, value in entries:
            short = type_ == 3 and count == 1
            body += struct.pack(order + "HHI", tag, type_, count) + struct.pack(
                order + "HH" if short else order + "I", *((value, 0) if short else (value,))
            )
        return body + struct.pack(order + "I", following)

    data = thumbnail or strips
    first, exif = 8, 8 + 2 + 2 * 12 + 4
    second = exif + 2 + 3 * 12 + 4
    notes = second + (2 + 3 * 12 + 4 if data else 0)
    pixels = notes + len(maker_note)
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)
    tiff += directory([(0x0112, 3, 1, 1), (0x8769, 4, 1, exif)], second if data else 0)
    tiff += directory([(0x927C, 7, len(maker_note), notes), (0xA002, kind, 1, 40), (0xA003, kind, 1, 30)], 0)
    if thumbnail:
        tiff += directory([(0x0103, 3, 1, 6), (0x0201, 4, 1, pixels), (0x0202, 4, 1, len(data))], 0)
    elif strips:
        tiff += directory([(0x0103, 3, 1, 1), (0x0111, 4, 1, pixels), (0x0117, 4, 1, len(data))], 0)
    return b"Exif\0\0" + tiff + maker_note + data


def written(tmp_path, picture, suffix, **options):
    path = tmp_path / f"out{suffix}"
    images.write(picture, path, **options)
    return path


# Thumbnails and sizes


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", EXIF_FORMATS)
def test_no_output_shows_the_old_thumbnail(tmp_path, order, suffix):
    for thumbnail, strips in ((jpeg(), b""), (None, b"\x11old" * 20)):
        exif = exif_of(order, thumbnail, strips, b"maker's notes")
        Image.new("RGB", (40, 30)).save(tmp_path / "in.jpg", exif=exif)
        assert (thumbnail or strips) in (tmp_path / "in.jpg").read_bytes()
        picture = images.read(tmp_path / "in.jpg")
        larger = picture.with_pixels(np.zeros((60, 80, 3), np.uint8))
        data = written(tmp_path, larger, suffix).read_bytes()
        assert (thumbnail or strips) not in data
        assert b"\x11old" not in data
        tags = Image.open(io.BytesIO(data)).getexif()
        details = tags.get_ifd(0x8769)
        assert (details[0xA002], details[0xA003]) == (80, 60)
        assert b"maker's notes" in bytes(details[0x927C])


def test_previews_in_maker_notes_are_removed():
    exif = exif_of(maker_note=b"Canon\0" + jpeg() + b"serial number")
    fresh = stale.fresh_exif(exif, (30, 40))
    assert len(fresh) == len(exif)
    assert jpeg() not in fresh
    assert b"Canon\0\0" in fresh
    assert b"serial number" in fresh


def test_exif_without_thumbnail_keeps_all_its_bytes_but_the_size():
    exif = exif_of(maker_note=b"notes \xff\xd8\xff that are no JPEG")
    assert stale.fresh_exif(exif, (30, 40)).replace(b"\x04\0\x01\0\0\0\x28\0\0\0", b"\x03\0\x01\0\0\0\x28\0\0\0") == (
        exif.replace(b"\x03\0\x01\0\0\0\x1e\0\0\0", b"\x04\0\x01\0\0\0\x1e\0\0\0")
    )


@pytest.mark.parametrize("kind", [3, 4])
def test_sizes_beyond_two_bytes_fit(kind):
    fresh = stale.fresh_exif(exif_of(kind=kind), (3, 70_000))
    tags = Image.Exif()
    tags.load(fresh)
    assert (tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003]) == (70_000, 3)


@given(st.binary(max_size=200), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_arbitrary_exif_bytes_do_no_harm(noise, magic):
    exif = b"Exif\0\0" + magic + noise
    assert len(stale.fresh_exif(exif, (3, 4))) == len(exif)


@given(st.integers(0, 400), st.integers(0, 255))
def test_damaged_exif_with_a_thumbnail_does_no_harm(place, value):
    exif = bytearray(exif_of(thumbnail=jpeg()[:60], maker_note=b"notes"))
    exif[min(place, len(exif) - 1)] = value
    assert len(stale.fresh_exif(bytes(exif), (3, 4))) == len(exif)


def test_xmp_has_the_new_size_and_orientation_and_no_thumbnail():
    fresh = stale.fresh_xmp(XMP, 1, (60, 80))
    assert b'tiff:Orientation="1"' in fresh
    assert b'exif:PixelXDimension="80"' in fresh
    assert b"<tiff:ImageLength>60<" in fresh
    assert b"b2xk" not in fresh
    assert b"HasExtendedXMP" not in fresh
    assert 'dc:title="Café"'.encode() in fresh


@pytest.mark.parametrize("suffix", [*EXIF_FORMATS, ".bmp"])
def test_resolution_is_kept_without_exif_too(tmp_path, suffix):
    first = images.read(written(tmp_path, random_picture("rgb", 6, 8, np.uint8, dpi=(300.0, 150.0)), suffix))
    np.testing.assert_allclose(first.dpi, (300, 150), rtol=0, atol=0.02)
    again = images.read(written(tmp_path, first, ".png"))
    np.testing.assert_allclose(again.dpi, (300, 150), rtol=0, atol=0.02)


def test_truncated_or_empty_xmp_does_no_harm():
    for xmp in (b"<xmp:Thumbnails>abc", b"<xmp:Thumbnails", b"<xmp:Thumbnails/>abc", b""):
        fresh = stale.fresh_xmp(xmp, 1, (3, 4))
        assert fresh == (b"abc" if xmp.endswith(b"/>abc") else xmp)
    two = b"a<xmp:Thumbnails>x</xmp:Thumbnails>b<xmp:Thumbnails a='1'>y</xmp:Thumbnails>c"
    assert stale.fresh_xmp(two, 1, (3, 4)) == b"abc"


def test_malicious_metadata_are_processed_quickly():
    jpegs = exif_of(maker_note=b"\xff\xd8\xff\xe0\x00\x04" * 100_000)
    assert len(stale.fresh_exif(jpegs, (3, 4))) == len(jpegs)
    assert stale.fresh_xmp(b"<xmp:Thumbnails>" * 100_000, 1, (3, 4)).startswith(b"<xmp")


# Texts


@pytest.mark.parametrize("suffix", EXIF_FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_xmp_is_kept(tmp_path, suffix, dtype):
    picture = random_picture("rgb", 30, 40, dtype, xmp=XMP)
    again = images.read(written(tmp_path, picture, suffix))
    assert again.xmp == stale.fresh_xmp(XMP, 1, (30, 40))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("iptc", [IPTC, IPTC + b"\x1c\x02\x05\x00\x01t", IPTC * 20])
def test_iptc_is_kept(tmp_path, suffix, dtype, iptc):
    first = images.read(written(tmp_path, random_picture("rgb", 4, 5, dtype, iptc=iptc), suffix))
    assert first.iptc == iptc
    assert images.read(written(tmp_path, first, ".jpg")).iptc == iptc


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_text_and_comments_are_kept(tmp_path, dtype):
    words = (("Title", "A café"), ("parameters", "steps: 20, 黒"), ("Comment", "by hand"))
    picture = random_picture("grey", 4, 5, dtype, text=words)
    again = images.read(written(tmp_path, picture, ".png"))
    assert again.text == words
    as_jpeg = written(tmp_path, again, ".jpg")
    assert Image.open(as_jpeg).info["comment"] == b"by hand"
    assert images.read(as_jpeg).text == (("Comment", "by hand"),)
    for suffix in (".tif", ".webp", ".bmp"):
        assert images.read(written(tmp_path, again, suffix)).text == ()


def test_comments_of_other_encodings_are_read(tmp_path):
    Image.new("L", (4, 5)).save(tmp_path / "a.jpg", comment="café".encode("latin-1"))
    assert images.read(tmp_path / "a.jpg").text == (("Comment", "café"),)
    Image.new("L", (4, 5)).save(tmp_path / "a.gif", comment="café".encode())
    assert images.read(tmp_path / "a.gif").text == (("Comment", "café"),)


def test_exif_in_png_text_is_not_kept_as_text(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n       4\n45786966\n")
    info.add_text("Author", "me")
    Image.new("L", (4, 5)).save(tmp_path / "a.png", pnginfo=info)
    assert images.read(tmp_path / "a.png").text == (("Author", "me"),)


def test_metadata_too_long_for_a_jpeg_segment_are_left_out(tmp_path):
    long = "x" * 70_000
    picture = random_picture(
        "rgb", 4, 5, np.uint8, xmp=XMP + long.encode(), iptc=long.encode(), text=(("Comment", long),)
    )
    again = images.read(written(tmp_path, picture, ".jpg"))
    assert (again.xmp, again.iptc, again.text) == (None, None, ())


# Colours


def linear(samples):
    return np.where(samples <= 0.04045, samples / 12.92, ((samples + 0.055) / 1.055) ** 2.4)


def photograph():
    rng = np.random.default_rng(0)
    return rng.random((16, 20, 3))


def with_chunks(samples, *chunks, deep=True):
    scaled = np.rint(samples * 65535)
    return png16(scaled, 2 if samples.ndim == 3 else 0, *chunks)


def seen(picture):
    """The colours converted to sRGB by the picture's profile."""
    mode = "RGB" if picture.pixels.ndim == 3 else "L"
    image = Image.fromarray(images.as_depth(picture.pixels, np.uint8))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
    found = ImageCms.profileToProfile(
        image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB", renderingIntent=1
    )
    return np.asarray(found if mode == "RGB" else found.getchannel(0)) / 255


GAMMA_1 = (b"gAMA", struct.pack(">I", 100_000))
P3 = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("grey", [False, True])
def test_linear_light_is_preserved(tmp_path, suffix, grey):
    wanted = 0.3 + 0.7 * (photograph()[..., 0] if grey else photograph())
    (tmp_path / "in.png").write_bytes(with_chunks(linear(wanted), GAMMA_1))
    picture = images.read(tmp_path / "in.png")
    np.testing.assert_allclose(seen(picture), wanted, rtol=0, atol=0.02)
    assert images.read(written(tmp_path, picture, suffix)).icc == picture.icc


def test_primaries_are_preserved(tmp_path):
    (tmp_path / "in.png").write_bytes(with_chunks(photograph(), P3))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(images.read(tmp_path / "in.png").icc)).profile
    # Display P3's published primaries, adapted to D50
    for found, published in (
        (profile.red_colorant, (0.5151, 0.2412, -0.0011)),
        (profile.green_colorant, (0.2919, 0.6922, 0.0419)),
        (profile.blue_colorant, (0.1572, 0.0666, 0.7841)),
    ):
        np.testing.assert_allclose(found[0], published, rtol=0, atol=3e-4)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [(b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 45455))],
        [(b"cICP", bytes((1, 13, 0, 1)))],
        [(b"gAMA", bytes(4))],
        [(b"cHRM", bytes(32))],
        [(b"cHRM", struct.pack(">8I", *[30000] * 8))],
    ],
)
def test_srgb_and_nonsense_need_no_profile(tmp_path, chunks):
    (tmp_path / "in.png").write_bytes(with_chunks(photograph(), *chunks))
    picture = images.read(tmp_path / "in.png")
    assert (picture.icc, picture.cicp) == (None, None)


@pytest.mark.parametrize("cicp", [(9, 16, 0, 1), (9, 18, 0, 1), (1, 13, 0, 0), (22, 13, 0, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cicp_without_a_profile_is_kept_in_png_and_refused_elsewhere(tmp_path, cicp, dtype):
    (tmp_path / "in.png").write_bytes(with_chunks(photograph(), (b"cICP", bytes(cicp))))
    picture = images.read(tmp_path / "in.png")
    assert picture.cicp == cicp
    as_deep = picture.with_pixels(images.as_depth(picture.pixels, dtype))
    data = written(tmp_path, as_deep, ".png").read_bytes()
    assert b"cICP" + bytes(cicp) in data
    assert images.read(tmp_path / "out.png").cicp == cicp
    for suffix in (".jpg", ".tif", ".webp", ".bmp"):
        with pytest.raises(
            RestoreError, match=r"out\S+: its colours are in .*cICP.*, which \w+ does not hold; write .png"
        ):
            written(tmp_path, picture, suffix)
        assert not (tmp_path / f"out{suffix}").exists()


def test_cicp_overrides_a_profile_and_becomes_one_if_possible(tmp_path):
    for deep in (True, False):
        data = with_chunks(photograph(), (b"cICP", bytes((12, 13, 0, 1))))
        (tmp_path / "in.png").write_bytes(data)
        picture = images.read(tmp_path / "in.png")
        assert picture.icc == colour.profile(colour._PRIMARIES[12], colour._SRGB_CURVE, False)
        assert picture.cicp is None
        assert deep or picture.pixels.dtype == np.uint16


@needs_avif
def test_the_colour_box_of_avif_is_read(tmp_path):
    Image.fromarray((photograph() * 255).astype(np.uint8)).save(tmp_path / "in.avif")
    data = (tmp_path / "in.avif").read_bytes()
    start = data.index(b"colrnclx") + 8
    for codes, expected in (((12, 13), None), ((9, 16), (9, 16, 0, 1))):
        (tmp_path / "in.avif").write_bytes(data[:start] + struct.pack(">2H", *codes) + data[start + 4 :])
        picture = images.read(tmp_path / "in.avif")
        assert picture.cicp == expected
        assert (picture.icc is None) == (expected is not None)
    (tmp_path / "in.avif").write_bytes(data)
    assert images.read(tmp_path / "in.avif").icc is None


def test_an_embedded_profile_is_kept(tmp_path):
    picture = random_picture("rgb", 4, 5, np.uint8, icc=PROFILE, exif=exif_with(1))
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        assert images.read(written(tmp_path, picture, suffix)).icc == PROFILE
