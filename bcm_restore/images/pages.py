"""Files with several pages or frames."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from PIL import TiffImagePlugin

from ..errors import RestoreError
from .captions import read_iptc, read_text, read_xmp
from .channels import split
from .colour import colour_space
from .encoding import as_image, check, encode, pillow_settings
from .metadata import read_dpi, read_exif
from .picture import Picture, Timing
from .reading import opened
from .silenced import libraries_silenced, pillow_silenced
from .stale import TIFF_MAGICS, byte_order, entries, first_directory, next_link

_ANIMATIONS = ("GIF", "WEBP", "PNG", "AVIF")
_HOLDING = {"TIFF": ("TIFF", *_ANIMATIONS), **dict.fromkeys(("WEBP", "PNG", "AVIF"), _ANIMATIONS)}
"""The input formats whose pages each output format can hold."""
_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 1 | 4
_MOST_ENTRIES = 1_000_000  # of all directories of a TIFF


@dataclass(frozen=True)
class Pages:
    """The pages of a file's bytes.

    Attributes:
        data: the bytes.
        count: number of pages.
        kept: number of pages that the output can hold: all, or 1.
        offsets: where the pages of a TIFF begin.
        hint: how to keep the others.
    """

    data: bytes
    count: int = 1
    kept: int = 1
    offsets: tuple[int, ...] = ()
    hint: str = ""

    @property
    def remark(self) -> str:
        """A remark that pages are left out; empty if none are."""
        return "" if self.kept == self.count else f"page 1 of {self.count}{self.hint}"

    def files(self) -> Iterator[bytes]:
        """Yields each kept page as the bytes of a file whose first page it is."""
        if self.kept == 1:
            yield self.data
        elif self.offsets:
            order = byte_order(self.data)
            for offset in self.offsets:
                yield self.data[:4] + struct.pack(order + "I", offset) + self.data[8:]
        else:
            yield from (encode(frame, "PNG") for frame in _frames(self.data))

    def timing(self) -> Timing | None:
        """The timing of the kept pages, if they are an animation."""
        if self.kept == 1 or self.offsets:
            return None
        with pillow_silenced(), opened(BytesIO(self.data), sys.maxsize) as image:
            durations: list[int] = []
            for number in range(self.kept):
                image.seek(number)
                image.load()
                durations.append(round(image.info.get("duration") or 0))
            # without a loop count it runs once; Pillow does not report AVIF's
            loop = int(image.info.get("loop", 0 if image.format == "AVIF" else 1))
            return Timing(tuple(durations), loop, bool(getattr(image, "default_image", False)))


def pages_of(data: bytes, name: str, max_pixels: int) -> Pages:
    """Finds the pages of a file's bytes, for an output of Pillow's format `name`.

    Raises:
        RestoreError: all pages together have more pixels than `max_pixels`; without the file's name.
    """
    try:
        with pillow_silenced(), libraries_silenced(), opened(BytesIO(data), sys.maxsize) as image:
            kind, size = image.format or "", image.size
            offsets = _tiff_pages(data) if kind == "TIFF" else ()
            count = len(offsets) or int(getattr(image, "n_frames", 1))
    except Exception:  # `read` reports the error
        return Pages(data)
    if count < 2:
        return Pages(data)
    if kind not in _HOLDING.get(name, ()) or (kind == "TIFF" and not offsets):
        way = "tiff" if offsets else "webp" if kind in _ANIMATIONS else ""
        return Pages(data, count, hint=f"; --format {way} keeps all" if way else "")
    if count * size[0] * size[1] > max_pixels:
        raise RestoreError(
            f"its {count} pages of {size[0]} x {size[1]} pixels are more than the limit of {max_pixels / 1e6:g} "
            "megapixels; raise --max-pixels, or give a --format that holds only the first page, such as jpg"
        )
    return Pages(data, count, count, offsets)


def page_count(data: bytes) -> int:
    """The number of pages or frames in a file's bytes; 1 if `read` would fail."""
    return pages_of(data, "", 0).count


def encode_pages(pictures: Sequence[Picture], name: str, quality: int | None, timing: Timing | None) -> bytes:
    """Encodes pictures as the pages, or with `timing` as the frames, of one file of Pillow's format `name`.

    Raises RestoreError, without the file's name, if the format cannot hold them.
    """
    if name == "TIFF":
        return _joined([encode(picture, name, quality) for picture in pictures])
    for picture in pictures:
        check(picture, name, quality)
    timing = timing or Timing((0,) * len(pictures))
    apart = int(timing.apart)  # only PNG has a separate picture
    if name == "PNG":
        return _animation(
            pictures, timing.durations[apart:], name, quality, loop=timing.loop, default_image=timing.apart
        )
    more = {} if name == "AVIF" else {"loop": timing.loop}
    return _animation(pictures[apart:], timing.durations[apart:], name, quality, **more)


def _tiff_pages(data: bytes) -> tuple[int, ...]:
    """The offsets of the pages of a TIFF, without reduced copies and masks; none if unknown."""
    if data[:4] not in TIFF_MAGICS:
        return ()
    found: dict[int, bool] = {}
    order, offset, most = byte_order(data), first_directory(data), _MOST_ENTRIES
    while offset and offset not in found and most > 0:
        tags = list(entries(data, offset))
        kinds = [struct.unpack_from(order + "I", data, one.place)[0] for one in tags if one.tag == _SUBFILE_TYPE]
        found[offset] = not any(kind & _REDUCED_OR_MASK for kind in kinds)
        most -= len(tags) + 1
        (offset,) = struct.unpack_from(order + "I", data, next_link(data, offset))
    return tuple(offset for offset, is_page in found.items() if is_page)


def _frames(data: bytes) -> Iterator[Picture]:
    """Yields the frames of an animation as displayed."""
    with pillow_silenced(), opened(BytesIO(data), sys.maxsize) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            exif, orientation = read_exif(image)
            icc, cicp = colour_space(image, data)
            pixels, alpha = split(image)
            frame = Picture(pixels, alpha, icc, exif, orientation, dpi=read_dpi(image), cicp=cicp)
            yield replace(frame, xmp=read_xmp(image), iptc=read_iptc(image), text=read_text(image))


def _joined(files: Sequence[bytes]) -> bytes:
    """Joins TIFFs into one."""
    joined = BytesIO()
    writer = TiffImagePlugin.AppendingTiffWriter(joined, True)  # no `with`: it would close the file
    for file in files:
        writer.write(file)
        writer.newFrame()
    return joined.getvalue()


def _animation(
    pictures: Sequence[Picture], durations: Sequence[int], name: str, quality: int | None, **more: Any
) -> bytes:
    colour = any(picture.pixels.ndim == 3 for picture in pictures)
    clear = any(picture.alpha is not None for picture in pictures)
    images = [as_image(picture).convert(("RGB" if colour else "L") + "A" * clear) for picture in pictures]
    settings = pillow_settings(pictures[0], name, quality) | {"duration": list(durations)} | more
    file = BytesIO()
    with pillow_silenced():
        images[0].save(file, name, save_all=True, append_images=images[1:], **settings)
    return file.getvalue()
