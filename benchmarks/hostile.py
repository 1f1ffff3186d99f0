"""Test files: small valid ones of every format and mode, random damage to them, and hand-made malicious ones."""

import functools
import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms
from skimage import data

PNG = b"\x89PNG\r\n\x1a\n"
PHOTO = data.astronaut()[40:88, 170:234]
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
Seed = tuple[str, bytes]  # a name with its suffix, and the file


def saved(image: Image.Image, name: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    # Pillow changes the image object when it writes a JPEG
    more = [frame.copy() for frame in settings.pop("append_images", [])]
    image.copy().save(file, name, append_images=more, **settings)
    return file.getvalue()


@functools.cache
def seeds() -> list[Seed]:
    """One small valid file of each kind."""
    rgb, grey = Image.fromarray(PHOTO), Image.fromarray(PHOTO[..., 0])
    rgba, cmyk, palette = rgb.convert("RGBA"), rgb.convert("CMYK"), rgb.quantize(16)
    rgba.putalpha(grey)
    deep = PHOTO.astype(np.uint16) * 257
    deeper = np.dstack([deep, deep[..., 0]])
    frames = [rgb.rotate(90 * n) for n in range(3)]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # without its creation time
    described = {"exif": exif.tobytes(), "icc_profile": profile, "dpi": (72, 72)}
    many = {"save_all": True, "append_images": frames[1:]}
    found = {
        "bit.png": saved(rgb.convert("1"), "PNG"),
        "grey.png": saved(grey, "PNG"),
        "grey16.png": saved(Image.fromarray(deep[..., 0]), "PNG"),
        "grey_alpha.png": saved(rgba.convert("LA"), "PNG"),
        "palette.png": saved(palette, "PNG", transparency=3),
        "rgb.png": saved(rgb, "PNG", **described),
        "rgba.png": saved(rgba, "PNG"),
        "rgb16.png": cv2.imencode(".png", deep)[1].tobytes(),
        "rgba16.png": cv2.imencode(".png", deeper)[1].tobytes(),
        "interlaced.png": interlaced(PHOTO[..., 0]),
        "animated.png": saved(rgb, "PNG", **many),
        "grey.jpg": saved(grey, "JPEG"),
        "rgb.jpg": saved(rgb, "JPEG", subsampling="4:4:4", **described),
        "subsampled.jpg": saved(rgb, "JPEG", subsampling="4:2:0"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "restarts.jpg": saved(rgb, "JPEG", restart_marker_blocks=2),
        "cmyk.jpg": saved(cmyk, "JPEG"),
        "cmyk_profile.jpg": saved(cmyk, "JPEG", icc_profile=profile),
        "cmyk_unmarked.jpg": re.sub(rb"(?s)\xff\xee\x00\x0eAdobe.{7}", b"", saved(cmyk, "JPEG")),
        "ycck.jpg": re.sub(rb"(?s)(\xff\xee\x00\x0eAdobe.{6}).", b"\\1\x02", saved(cmyk, "JPEG")),
        "several.jpg": saved(rgb, "MPO", **many),
        "lossy.webp": saved(rgb, "WEBP", **{k: v for k, v in described.items() if k != "dpi"}),
        "lossless.webp": saved(rgba, "WEBP", lossless=True),
        "animated.webp": saved(rgb, "WEBP", **many),
        "raw.tif": saved(rgb, "TIFF", **described),
        "bit_g4.tif": saved(rgb.convert("1"), "TIFF", compression="group4"),
        "lzw.tif": saved(rgba, "TIFF", compression="tiff_lzw"),
        "deflate.tif": saved(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "packbits.tif": saved(palette, "TIFF", compression="packbits"),
        "jpeg.tif": saved(rgb, "TIFF", compression="jpeg"),
        "cmyk.tif": saved(cmyk, "TIFF"),
        "lab.tif": saved(rgb.convert("LAB"), "TIFF", icc_profile=b""),
        "pages.tif": saved(rgb, "TIFF", **many),
        "grey16.tif": saved(Image.fromarray(deep[..., 0]), "TIFF"),
        "float.tif": saved(Image.fromarray(PHOTO[..., 0] / np.float32(255)), "TIFF"),
        "tiled.tif": tiff(PHOTO, tile=(16, 16)),
        "planar.tif": tiff(PHOTO.transpose(2, 0, 1).copy(), planarconfig="separate", photometric="rgb"),
        "rgb16.tif": tiff(deep, photometric="rgb", rowsperstrip=5),
        "rgba16_tiled.tif": tiff(deeper, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16), byteorder=">"),
        "big.tif": tiff(PHOTO, bigtiff=True),
        "rgb.bmp": saved(rgb, "BMP"),
        "palette.bmp": saved(palette, "BMP"),
        "rgba.bmp": saved(rgba, "BMP"),
        "bit.bmp": saved(rgb.convert("1"), "BMP"),
        "palette.gif": saved(palette, "GIF", transparency=2),
        "animated.gif": saved(rgb, "GIF", **many),
        "rgb.avif": saved(rgb, "AVIF", exif=exif.tobytes(), icc_profile=profile, speed=10),
        "rgba.avif": saved(rgba, "AVIF", quality=100, subsampling="4:4:4", speed=10),
        "animated.avif": timeless(saved(rgb, "AVIF", speed=10, **many)),
    }
    return list(found.items())


def timeless(avif: bytes) -> bytes:
    """Removes the creation times."""
    return re.sub(rb"(?s)((?:mvhd|tkhd|mdhd)\x01.{3}).{16}", lambda found: found[1] + bytes(16), avif)


def tiff(pixels: np.ndarray, **settings: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **settings)
    return file.getvalue()


# PNG, chunk by chunk


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, start = [], 8
    while start + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, start)
        found.append((png[start + 4 : start + 8], png[start + 8 : start + 8 + length]))
        start += 12 + length
    return found


def png(parts: list[tuple[bytes, bytes]]) -> bytes:
    return PNG + b"".join(chunk(kind, body) for kind, body in parts)


def header(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)


def interlaced(grey: np.ndarray) -> bytes:
    """A PNG with Adam7 interlacing, which neither Pillow nor OpenCV writes."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [b"\0" + row.tobytes() for y, x, down, across in passes for row in grey[y::down, x::across]]
    parts = [header(grey.shape[1], grey.shape[0], 8, 0, 1), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return png(parts)


def zeros(count: int) -> bytes:
    """Deflates `count` zeros without holding them in memory."""
    packer = zlib.compressobj(9, wbits=-15)
    blocks, rest = divmod(count, 1 << 20)
    # after a full flush, a block is independent and can be repeated
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(bytes(rest)) + packer.flush()
    adler = (count % 65521) << 16 | 1
    return b"\x78\xda" + block * blocks + end + struct.pack(">I", adler)


def flat_png(width: int, height: int, depth: int, colour: int) -> bytes:
    """A valid picture of zeros."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    palette = [(b"PLTE", bytes(6))] if colour == 3 else []
    rows = height * (1 + -(-width * depth * channels // 8))
    return png([header(width, height, depth, colour), *palette, (b"IDAT", zeros(rows)), (b"IEND", b"")])


# Damage


def damaged(name: str, content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Applies one to three kinds of damage; `other` is a file of the same format."""
    ways: list[Callable[[bytes], bytes]] = [
        lambda b: b[: rng.randrange(1, len(b))],
        lambda b: _flipped(b, rng, len(b)),
        lambda b: _flipped(b, rng, 200),
        lambda b: _edge(b, rng, len(b)),
        lambda b: _edge(b, rng, 300),
        lambda b: _edge(b, rng, 300),
        lambda b: b[: (at := rng.randrange(len(b)))] + other[min(at, len(other) - 1) :],
        lambda b: b[: (at := rng.randrange(len(b)))] + b[rng.randrange(at + 1) :],
        lambda b: b[: (at := rng.randrange(len(b)))] + bytes(n := rng.randrange(1, 400)) + b[at + n :],
    ]
    structured = {"png": _bad_chunks, "jpg": _bad_segments, "tif": _bad_directory}.get(name.rpartition(".")[2])
    if structured:
        ways += [lambda b: structured(b, rng)] * 9
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(ways)(content) or content
    return content


def _flipped(content: bytes, rng: random.Random, reach: int) -> bytes:
    out = bytearray(content)
    for _ in range(rng.choice((1, 2, 5, 20))):
        at = rng.randrange(min(reach, len(out)))
        out[at] = out[at] ^ (1 << rng.randrange(8)) if rng.random() < 0.5 else rng.randrange(256)
    return bytes(out)


def _edge(content: bytes, rng: random.Random, reach: int) -> bytes:
    """Replaces a random number by one that provokes overflows."""
    out = bytearray(content)
    form = rng.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(form)
    if len(out) > size:
        value = rng.choice(EDGES) & (256**size - 1)
        struct.pack_into(form, out, rng.randrange(min(reach, len(out) - size)), value)
    return bytes(out)


def _bad_chunks(content: bytes, rng: random.Random) -> bytes:
    """Drops, doubles, moves or damages chunks; checksums stay valid."""
    parts = chunks(content)
    if not parts:
        return content
    at, way = rng.randrange(len(parts)), rng.randrange(6)
    kind, body = parts[at]
    if way == 0:
        parts.insert(rng.randrange(len(parts) + 1), parts[at])
    elif way == 1:
        del parts[at]
    elif way == 2:
        parts.insert(rng.randrange(len(parts)), parts.pop(at))
    elif way == 3:
        size = tuple(rng.choice((0, 1, 7, 48, 64, 65535, 65536, 2**31 - 1, 2**32 - 1)) for _ in "wh")
        parts[0] = header(*size, rng.choice((1, 2, 4, 8, 16)), rng.choice((0, 2, 3, 4, 6)), rng.randrange(2))
    else:
        parts[at] = kind, (_flipped if way == 4 else _edge)(body or b"\0", rng, len(body) or 1)
    return png(parts)


def _bad_segments(content: bytes, rng: random.Random) -> bytes:
    """Drops, doubles, moves or damages segments, or changes the size or sampling in the frame."""
    starts = [match.start() for match in re.finditer(rb"\xff[\xc0-\xcf\xda-\xdf\xe0-\xef\xfe]", content)]
    if len(starts) < 2:
        return content
    n, way = rng.randrange(len(starts) - 1), rng.randrange(5)
    begin, end = starts[n], starts[n + 1]
    segment = content[begin:end]
    if way == 0:
        return content[:begin] + content[end:]
    if way == 1:
        return content[:end] + segment * rng.choice((1, 5, 200)) + content[end:]
    if way == 2:
        at = rng.choice(starts)
        return content[:at] + segment + content[at:]
    if way == 3:
        return content[:begin] + _flipped(segment, rng, 40) + content[end:]
    frame = re.search(rb"\xff[\xc0-\xc2]\x00.\x08", content, re.DOTALL)
    if frame is None:
        return content
    out = bytearray(content)
    if rng.random() < 0.5:
        struct.pack_into(">HH", out, frame.end(), *(rng.choice((0, 1, 7, 48, 1000, 65500, 65535)) for _ in "hw"))
    else:
        out[min(frame.end() + 6 + 3 * rng.randrange(4), len(out) - 1)] = rng.choice((0, 17, 33, 34, 65, 68, 20, 255))
    return bytes(out)


def _bad_directory(content: bytes, rng: random.Random) -> bytes:
    """Changes the count, type or value of an entry of the first directory, or breaks the directory's link."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        (directory,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, directory)
        at = directory + 2 + 12 * rng.randrange(count or 1)
        out = bytearray(content)
        way = rng.randrange(6)
        if way == 0:
            struct.pack_into(order + "H", out, at + 2, rng.randrange(20))
        elif way == 1:
            struct.pack_into(order + "I", out, at + 4, rng.choice(EDGES))
        elif way == 2:
            struct.pack_into(order + "I", out, directory + 2 + 12 * count, rng.choice((directory, 0, 8, 2**32 - 1)))
        elif way == 3:
            struct.pack_into(order + "H", out, at, rng.choice((256, 257, 258, 259, 262, 273, 277, 278, 279, 317, 322)))
        else:
            struct.pack_into(order + "I", out, at + 8, rng.choice((*EDGES, 3, 4, 5, 6, 7, 8, 16, 32, 64, directory)))
    except struct.error:
        return content
    return bytes(out)


# Traps


def directory(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of one directory: (tag, type, count, value) each."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", following)


def strip_tiff(width: int, height: int, body: bytes, compression: int, *more: tuple[int, int, int, int]) -> bytes:
    """An 8-bit grey TIFF in one strip."""
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: 0, 277: 1, 278: height, 279: len(body)}
    entries = {tag: (tag, 4, 1, value) for tag, value in tags.items()} | {entry[0]: entry for entry in more}
    start = len(directory(*entries.values()))
    if entries[273][3] == 0:
        entries[273] = (273, 4, 1, start)
    return directory(*entries.values()) + body


def _samples(count: int, bits: int) -> list[tuple[int, int, int, int]]:
    """The entries of an RGB or RGBA TIFF: readers apply one bit depth to all channels."""
    more = [(338, 3, 1, 2)] if count == 4 else []
    return [(258, 3, 1, bits), (262, 3, 1, 2), (277, 3, 1, count), *more]


def jpeg_of(width: int, height: int, scans: int) -> bytes:
    """A progressive grey picture with empty scans: the time of each is in proportion to the pixels."""
    table = b"\xff\xdb\0\x43\0" + b"\1" * 64
    codes = b"".join(b"\xff\xc4\0\x14" + bytes([kind, 1, *([0] * 15), 0]) for kind in (0x00, 0x10))
    frame = b"\xff\xc2\0\x0b\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0"
    first = b"\xff\xda\0\x08\1\1\0\0\0\0" + bytes(-(-height // 8) * -(-width // 8) // 8 + 1)
    later = b"\xff\xda\0\x08\1\1\0\1\x3f\0" + bytes(8)
    return b"\xff\xd8" + table + codes + frame + first + later * (scans - 1) + b"\xff\xd9"


def traps() -> Iterator[Seed]:
    """Yields malicious files that random damage would hardly produce; all are quick to read."""
    valid = dict(seeds())
    parts = chunks(valid["rgb.png"])
    text = (b"tEXt", b"Comment\0" + b"x" * 100)
    yield "texts.png", png([*parts[:-1], *[text] * 10_000, parts[-1]])
    yield "texts_before.png", png([parts[0], *[text] * 10_000, *parts[1:]])
    bomb = zeros(1 << 30)
    yield "ztxt_bomb.png", png([parts[0], (b"zTXt", b"Comment\0\0" + bomb), *parts[1:]])
    yield "ztxt_bombs.png", png([parts[0], *[(b"zTXt", b"Comment\0\0" + zeros(1 << 20))] * 500, *parts[1:]])
    yield "itxt_bomb.png", png([*parts[:-1], (b"iTXt", b"Comment\0\1\0\0\0" + bomb), parts[-1]])
    yield "iccp_bomb.png", png([parts[0], (b"iCCP", b"ICC\0\0" + bomb), *parts[1:]])
    yield "idat_bomb.png", png([header(64, 48), (b"IDAT", bomb), (b"IEND", b"")])
    yield "declared.png", png([header(2**31 - 1, 2**31 - 1), *parts[1:]])
    yield "wide.png", flat_png(65_535, 1, 8, 2)
    yield "wide16.png", flat_png(65_535, 1, 16, 6)
    yield "tall.png", flat_png(1, 65_535, 8, 6)
    for scans in (100, 5_000, 100_000):
        yield f"scans_{scans}.jpg", jpeg_of(2_000, 2_000, scans)
    for kind in ("rgb", "subsampled", "progressive", "cmyk", "grey"):
        file = bytearray(valid[f"{kind}.jpg"])
        frame = re.search(rb"\xff[\xc0-\xc2]\x00.\x08", file, re.DOTALL)
        struct.pack_into(">HH", file, frame.end(), 14_000, 14_000)
        yield f"declared_{kind}.jpg", bytes(file)
    yield "segments.jpg", valid["rgb.jpg"][:2] + b"\xff\xfe\0\x04ab" * 100_000 + valid["rgb.jpg"][2:]
    yield "fill.jpg", valid["rgb.jpg"][:2] + b"\xff" * 5_000_000 + valid["rgb.jpg"][2:]
    yield "wide.jpg", saved(Image.new("RGB", (65_500, 1)), "JPEG")
    yield "wide.tif", strip_tiff(65_535, 1, bytes(65_535), 1)
    yield "large_raw.tif", strip_tiff(19_990, 10_000, bytes(100), 1)
    for compression in (5, 8, 7, 32773, 4, 50000, 34925):
        yield f"declared_{compression}.tif", strip_tiff(19_990, 10_000, zeros(1 << 20), compression)
    tile = [(322, 4, 1, 2**20), (323, 4, 1, 2**20), (324, 4, 1, 8), (325, 4, 1, 100)]
    yield "tile.tif", strip_tiff(64, 48, bytes(9000), 8, *tile)
    yield "strips.tif", strip_tiff(64, 48, bytes(9000), 1, (273, 4, 2**31, 8), (279, 4, 2**31, 8))
    yield "samples.tif", strip_tiff(64, 48, bytes(9000), 1, (277, 4, 1, 65535))
    loop = strip_tiff(64, 48, bytes(64 * 48), 1)
    at = len(directory(*[(0, 0, 0, 0)] * 9)) - 4
    yield "loop.tif", loop[:at] + struct.pack("<I", 8) + loop[at + 4 :]
    yield "exif_loop.tif", strip_tiff(64, 48, bytes(64 * 48), 1, (0x8769, 4, 1, 8))
    yield "sub_loop.tif", strip_tiff(64, 48, bytes(64 * 48), 1, (330, 4, 1, 8))
    exif = b"Exif\0\0" + directory((0x0112, 3, 1, 6), (0x8769, 4, 1, 8), (0x8825, 4, 1, 8), following=8)
    yield "exif_loop.jpg", saved(Image.fromarray(PHOTO), "JPEG", exif=exif)
    yield "exif_loop.png", png([parts[0], (b"eXIf", exif[6:]), *parts[1:]])
    gif = bytearray(valid["palette.gif"])
    struct.pack_into("<HH", gif, 6, 65_535, 65_535)
    yield "screen.gif", bytes(gif)
    webp = bytearray(valid["animated.webp"])
    webp[24:30] = struct.pack("<I", 16_382)[:3] * 2
    yield "canvas.webp", bytes(webp)
    webp[24:30] = b"\xff" * 6
    yield "declared.webp", bytes(webp)
    for side in (16_384, 2**31 - 1):
        at = valid["rgb.avif"].index(b"ispe") + 8
        yield (
            f"declared_{side}.avif",
            valid["rgb.avif"][:at] + struct.pack(">II", side, side) + valid["rgb.avif"][at + 8 :],
        )
    for bits, compression in ((24, 0), (8, 1), (4, 2), (32, 3)):
        info = struct.pack("<IiiHHIIiiII", 40, 14_000, 14_000, 1, bits, compression, 0, 0, 0, 0, 0)
        yield (
            f"declared_{bits}.bmp",
            b"BM" + struct.pack("<IHHI", 10_000, 0, 0, 1078) + info + bytes(1024) + bytes(9000),
        )


def large() -> Iterator[Seed]:
    """Yields flat pictures of the largest size that is read by default, in small files, and larger ones."""
    valid = dict(seeds())
    gif, webp, avif = bytearray(valid["palette.gif"]), bytearray(valid["animated.webp"]), bytearray(valid["rgb.avif"])
    ispe = avif.index(b"ispe") + 8
    once, heavier, twice = 14_140, 11_540, 9_990  # just below 200, 133 and 100 megapixels
    for depth, colour in ((1, 0), (8, 0), (8, 2), (8, 3), (8, 4), (8, 6), (16, 0)):
        yield f"large_{depth}_{colour}.png", flat_png(once, once, depth, colour)
    for mode in ("L", "RGB", "CMYK"):
        yield f"large_{mode}.jpg", saved(Image.new(mode, (once, once)), "JPEG", subsampling="4:4:4")
    yield "large_scans.jpg", jpeg_of(once, once, 60)
    yield "large_grey.tif", strip_tiff(once, once, zeros(once**2), 8)
    yield "large_rgba.tif", strip_tiff(once, once, zeros(4 * once**2), 8, *_samples(4, 8))
    inks = (258, 3, 1, 8), (262, 3, 1, 5), (277, 3, 1, 4)
    yield "large_cmyk.tif", strip_tiff(once, once, zeros(4 * once**2), 8, *inks)
    yield "large_float.tif", strip_tiff(once, once, zeros(4 * once**2), 8, (258, 4, 1, 32), (339, 4, 1, 3))
    struct.pack_into("<HH", gif, 6, once, once)
    yield "large.gif", bytes(gif)
    for side in (heavier, once):
        yield f"large_{side}_16_2.png", flat_png(side, side, 16, 2)
        yield f"large_{side}_16_2.tif", strip_tiff(side, side, zeros(6 * side**2), 8, *_samples(3, 16))
        for mode in ("L", "RGB", "CMYK"):
            flat = Image.new(mode, (side, side))
            yield f"large_{side}_{mode}.jpg", saved(flat, "JPEG", subsampling="4:4:4", progressive=True)
        struct.pack_into(">II", avif, ispe, side, side)
        yield f"large_{side}.avif", bytes(avif)
    for side in (twice, once):
        yield f"large_{side}_16_4.png", flat_png(side, side, 16, 4)
        yield f"large_{side}_16_6.png", flat_png(side, side, 16, 6)
        yield f"large_{side}_16_6.tif", strip_tiff(side, side, zeros(8 * side**2), 8, *_samples(4, 16))
        webp[24:30] = struct.pack("<I", side - 1)[:3] * 2
        yield f"large_{side}_canvas.webp", bytes(webp)
        yield f"large_{side}.webp", saved(Image.new("RGB", (side, side)), "WEBP", lossless=True, method=0)
