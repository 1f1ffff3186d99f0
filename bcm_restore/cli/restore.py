"""The commands that restore pictures, one by one or by the folder."""

import contextlib
from enum import Enum
from typing import Annotated, Any

import typer

from ..batch.planning import plan
from ..batch.recipes.registry import recipe
from ..batch.run import run
from ..errors import RestoreError
from . import standard
from .options import Batch, Chained, Inputs, OneStep, RoundTrip, Runner, settings, shared
from .report import View


class Scale(str, Enum):
    """The scale factor."""

    X2 = "2"
    X3 = "3"
    X4 = "4"
    X8 = "8"


def restore(task: str, arguments: list[str], options: Batch, **inputs: Any) -> None:
    """Finds the pictures, checks everything, and restores: the work of all commands of this module.

    Args:
        task: name of the task.
        arguments: the inputs as typed.
        options: of the command.
        **inputs: the task's other inputs.

    Raises:
        typer.Exit: with status 1, a picture of several could not be restored.
        Exception: the single picture could not be restored.
    """
    with standard.spooled(arguments, options) as (named, options):
        asked = settings(options)
        chosen = recipe(task, asked, inputs)
        planned = plan(named, chosen.naming, asked, chosen.apart)
        if options.threads is not None and options.engine is Runner.RAY:
            raise RestoreError(f"--threads {options.threads}: Ray gives each of its processes a core; leave it out")
        with View(asked, options, planned) as view, contextlib.closing(run(planned, chosen, view)) as outcomes:
            for _ in outcomes:
                pass
        if view.list_failures():
            raise typer.Exit(1)


@shared
def inpaint(
    arguments: Inputs,
    options: Batch,
    mask: Annotated[
        str,
        typer.Option(
            help="What to fill: white on black, or strokes of any colour on transparent, on one flat colour or on a "
            "copy of the picture. One file for all pictures, a folder of masks with the pictures' names, or the word "
            "alpha to fill what is transparent.",
            metavar="FILE|FOLDER|alpha",
        ),
    ],
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Fill the black pixels instead.")] = False,
    mask_threshold: Annotated[
        int | None,
        typer.Option(
            help="Only fill pixels where the mask is at least this light, of 255; default: all that a stroke touches.",
            min=1,
            max=255,
            metavar="N",
        ),
    ] = None,
    grow: Annotated[int, typer.Option(help="Grow the mask by N pixels.", min=0, max=1000, metavar="N")] = 0,
    fit_mask: Annotated[bool, typer.Option("--fit-mask", help="Resize a mask of another size to its picture.")] = False,
) -> None:
    """Fill holes, scratches and unwanted objects that a mask marks.

    All other pixels stay identical, except in lossy formats such as JPEG. The output is photo_inpainted.png
    beside photo.png, or the folder dir_inpainted beside dir.

    Example: bcm-restore inpaint photo.png --mask mask.png --nfe 8
    """
    restore(
        "inpaint",
        arguments,
        options,
        mask=mask,
        invert_mask=invert_mask,
        mask_threshold=mask_threshold,
        grow=grow,
        fit_mask=fit_mask,
    )


@shared
def jpeg_restore(
    arguments: Inputs,
    options: Batch,
    input_quality: Annotated[
        int | None,
        typer.Option(
            help="Quality of an earlier JPEG compression, before the pictures were saved in these files.",
            min=1,
            max=100,
            metavar="N",
        ),
    ] = None,
) -> None:
    """Remove blocks, ringing and banding from JPEGs of any quality.

    The quantisation is read from a JPEG file. For a PNG or WebP that was once a JPEG, the quality is estimated, and so
    is that of an earlier compression of a JPEG. In a folder, pictures without a trace of JPEG are skipped and listed at
    the end. The output is photo_restored.png beside photo.jpg, or the folder dir_restored beside dir.

    Example: bcm-restore jpeg-restore holiday/ -r -o clean/
    """
    restore("jpeg", arguments, options, input_quality=input_quality)


@shared
def super_resolve(
    arguments: Inputs,
    options: Batch,
    scale: Annotated[Scale, typer.Option(help="Scale factor.")] = Scale.X4,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the pictures' noise, of 255; 0: none; default: estimated.",
            min=0,
            max=255,
            metavar="S",
        ),
    ] = None,
) -> None:
    """Enlarge pictures 2, 3, 4 or 8 times.

    Scaled down again, the result gives the input; for a JPEG or a noisy picture, the input without artefacts or
    noise. The output is photo_x4.png beside photo.png, or the folder dir_x4 beside dir.

    Example: bcm-restore super-resolve photo.png --scale 2
    """
    restore("super-resolve", arguments, options, scale=int(scale.value), noise=noise)


@shared
def denoise(
    arguments: Inputs,
    options: OneStep,
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the noise, of 255; default: measured in each picture.",
            min=0.1,
            max=255,
            metavar="S",
        ),
    ] = None,
    grain: Annotated[
        float,
        typer.Option(help="Share of the picture's own noise to keep, 0 to 1.", min=0, max=1, metavar="G"),
    ] = 0.0,
) -> None:
    """Remove noise.

    The noise is measured in each picture, and in each channel where they differ. In a folder, pictures without noise
    are skipped and listed at the end. The output is photo_denoised.png beside photo.png, or the folder dir_denoised
    beside dir.

    Example: bcm-restore denoise photo.png --grain 0.2
    """
    restore("denoise", arguments, options, sigma=sigma, grain=grain)


@shared
def restore_(
    arguments: Inputs,
    options: Chained,
    steps: Annotated[
        list[str],
        typer.Option(
            help="Tasks with commas between, each followed by options: name=value, a name alone for yes, or xN for "
            "scale=N. nfe=N sets the evaluations of one step. Values with spaces or commas are quoted. Repeatable: the "
            "steps follow those before.",
            metavar="TEXT",
        ),
    ],
) -> None:
    """Restore in several steps: tasks run one after the other, with 16 bits in between.

    A step is any task of bcm-restore tasks, with the options of its command. It is skipped where it finds nothing to
    restore. A mask has the size of the input, so inpaint comes before super-resolve. The output is photo_restored.png
    beside photo.jpg, or the folder dir_restored beside dir.

    Example: bcm-restore restore photo.jpg --steps "jpeg nfe=8, inpaint mask=mask.png, super-resolve x2"
    """
    restore("restore", arguments, options, steps=", ".join(steps))


@shared
def colorize(arguments: Inputs, options: Batch) -> None:
    """Tint black and white photographs with faint colours.

    The luma (brightness) stays the same. The models in the package are small: the colours are faint guesses, on average
    no closer to the true ones than grey is. Of a colour picture, such as a yellowed scan, only the luma is used. The
    output is photo_colorized.png beside photo.png, in RGB, or the folder dir_colorized beside dir.

    Example: bcm-restore colorize grey.png --nfe 8
    """
    restore("colorize", arguments, options)


@shared
def deblur(
    arguments: Inputs,
    options: Batch,
    kernel: Annotated[
        str,
        typer.Option(
            help="The blur: gaussian:SIGMA, motion:LENGTH:ANGLE, disk:RADIUS (in pixels and degrees), the file of a "
            "kernel's picture, or auto, which finds one of the first three in each picture.",
            metavar="KERNEL",
        ),
    ] = "auto",
    noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the pictures' noise, of 255; default: estimated.", min=0, max=255, metavar="S"
        ),
    ] = None,
) -> None:
    """Sharpen blurred pictures: out of focus, moved or shaken.

    Camera shake, and pictures with a side below 192 pixels, need --kernel. In a folder, pictures without a blur that
    auto finds are skipped and listed at the end. The output is photo_deblurred.png beside photo.png, or the folder
    dir_deblurred beside dir.

    Example: bcm-restore deblur photo.png --kernel motion:15:30
    """
    restore("deblur", arguments, options, kernel=kernel, noise=noise)


@shared
def reconstruct(arguments: Inputs, options: RoundTrip) -> None:
    """Invert pictures to noise and back, and measure the error.

    Prints the mean squared error of each picture, for pixels in [0, 1], and the mean of all. The output is
    photo_reconstructed.png beside photo.png, or the folder dir_reconstructed beside dir, with a comparison for each
    picture: before and after, side by side.

    Example: bcm-restore reconstruct photos/ --nfe 2
    """
    restore("reconstruct", arguments, options)
