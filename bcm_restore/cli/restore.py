"""The commands that restore pictures, one by one or by the folder."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import NothingToRestore, RestoreError
from . import engine, inputs, jobs
from .engine import Engine
from .inputs import Naming
from .masks import Masks
from .options import Batch, Inputs, shared
from .report import Skip
from .worker import Result, Steps

if TYPE_CHECKING:
    import numpy as np

    from ..images import JpegCoefficients, Picture
    from .progress import Bar

MAX_RESULT = 400_000_000  # pixels of an enlarged picture: 5 GB of memory in the process


class Scale(str, Enum):
    """How much larger."""

    X2 = "2"
    X3 = "3"
    X4 = "4"
    X8 = "8"


def restore(
    arguments: list[str],
    naming: Naming,
    options: Batch,
    steps: Callable[[Engine], Steps],
    apart: Iterable[Path] = (),
) -> None:
    """What all commands of this module do: find the pictures, check everything, restore.

    Args:
        arguments: the inputs as typed.
        naming: of the task and its outputs.
        options: what was asked for.
        steps: makes of an engine what restores a file.
        apart: files and folders that are neither inputs nor to be overwritten: masks.
    """
    planned, single = inputs.find(arguments, naming, options, list(apart))
    loaded = engine.prepare(naming.task, options)
    jobs.run(planned, steps(loaded), loaded.header, options, single)


@shared
def inpaint(
    arguments: Inputs,
    options: Batch,
    mask: Annotated[
        str,
        typer.Option(
            help="White where the picture is to be filled: a file for all, a folder of masks with the pictures' stems, "
            "or the word alpha to fill what is transparent.",
            metavar="FILE|FOLDER|alpha",
        ),
    ],
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Fill what is black instead.")] = False,
    grow: Annotated[int, typer.Option(help="Grow the mask by that many pixels.", min=0, max=1000, metavar="N")] = 0,
    fit_mask: Annotated[bool, typer.Option("--fit-mask", help="Resize a mask of another size to its picture.")] = False,
) -> None:
    """Fill holes, scratches and unwanted things, marked by a mask.

    All other pixels stay exactly what they are. The output is photo_inpainted.png beside photo.png, or the folder
    dir_inpainted beside dir.

    Example: bcm-restore inpaint photo.png --mask mask.png --nfe 8
    """
    masks = Masks(mask, invert=invert_mask, grow=grow, fit=fit_mask, max_pixels=options.most_pixels)

    def steps(loaded: Engine) -> Steps:
        from .. import images

        def read(path: Path) -> tuple["Picture", "np.ndarray"]:
            picture = images.read(path, max_pixels=options.most_pixels)
            return picture, masks.of(path, picture.size)

        def fill(path: Path, marked: tuple["Picture", "np.ndarray"], bar: "Bar") -> Result:
            picture, hole = marked
            if not hole.any():
                return Result(picture, picture, remark="copied: its mask is empty")
            restoration = loaded.run(picture.pixels, bar.evaluation, mask=hole)
            filled = picture.with_pixels(restoration.image)
            # what was transparent has been filled
            return Result(picture, replace(filled, alpha=None) if masks.alpha else filled, restoration)

        own = {"mask": masks.alpha, "invert": invert_mask, "grow": grow, "fit": fit_mask}
        return Steps(read, fill, lambda: loaded.settings() | own, masks.file)

    restore(arguments, Naming("_inpainted", "_inpainted", "inpaint"), options, steps, masks.paths)


@shared
def jpeg_restore(
    arguments: Inputs,
    options: Batch,
    input_quality: Annotated[
        int | None,
        typer.Option(help="Quality that pictures without JPEG data were once saved with.", min=1, max=100, metavar="N"),
    ] = None,
) -> None:
    """Take blocks, ringing and banding out of JPEGs of any quality.

    A JPEG file says itself how it was compressed; for a PNG or WebP that was a JPEG once, the quality is estimated.
    In a folder, pictures that never were JPEGs are skipped and listed at the end. The output is photo_restored.png
    beside photo.jpg, or the folder dir_restored beside dir.

    Example: bcm-restore jpeg-restore holiday/ -r -o clean/
    """

    def steps(loaded: Engine) -> Steps:
        from .. import images

        def read(path: Path) -> tuple["Picture", "JpegCoefficients | None"]:
            # the coefficients belong to the pixels as stored: the picture is turned afterwards
            return (
                images.read(path, upright=False, max_pixels=options.most_pixels),
                images.jpeg_coefficients(path, max_pixels=options.most_pixels),
            )

        def clean(path: Path, held: tuple["Picture", "JpegCoefficients | None"], bar: "Bar") -> Result:
            picture, coefficients = held
            how = {"coefficients": coefficients} if coefficients else {"quality": input_quality}
            try:
                restoration = loaded.run(picture.pixels, bar.evaluation, **how)
            except NothingToRestore:
                message = f"{path}: never compressed as JPEG; --input-quality N restores it anyway"
                raise Skip(message) from None
            return Result(picture.upright(), picture.with_pixels(restoration.image).upright(), restoration)

        return Steps(read, clean, lambda: loaded.settings() | {"input_quality": input_quality})

    restore(arguments, Naming("_restored", "_restored", "jpeg"), options, steps)


@shared
def super_resolve(
    arguments: Inputs,
    options: Batch,
    scale: Annotated[Scale, typer.Option(help="How many times larger.")] = Scale.X4,
) -> None:
    """Enlarge pictures 2, 3, 4 or 8 times.

    Scaled down again, the result gives the input back. The output is photo_x4.png beside photo.png, or the folder
    dir_x4 beside dir.

    Example: bcm-restore super-resolve photo.png --scale 2
    """
    factor = int(scale.value)

    def steps(loaded: Engine) -> Steps:
        from .. import images

        def read(path: Path) -> "Picture":
            picture = images.read(path, max_pixels=options.most_pixels)
            height, width = picture.size
            if height * width * factor**2 > MAX_RESULT:
                raise RestoreError(
                    f"{path}: {width * factor}x{height * factor} is more than {MAX_RESULT // 10**6} megapixels; "
                    "use a smaller --scale"
                )
            return picture

        def enlarge(path: Path, picture: "Picture", bar: "Bar") -> Result:
            restoration = loaded.run(picture.pixels, bar.evaluation, scale=factor)
            return Result(picture, picture.with_pixels(restoration.image), restoration)

        return Steps(read, enlarge, lambda: loaded.settings() | {"scale": factor})

    restore(arguments, Naming(f"_x{factor}", "_x[2348]", "super-resolve"), options, steps)
