"""The command that interpolates between two pictures."""

from pathlib import Path
from typing import Annotated

import typer

from ..batch.interpolation import interpolate as interpolate_files
from . import standard
from .options import Common, settings, shared
from .report import View


@shared
def interpolate(
    first: Annotated[str, typer.Argument(help="The first picture.", metavar="A", show_default=False)],
    last: Annotated[str, typer.Argument(help="The last picture.", metavar="B", show_default=False)],
    options: Common,
    frames: Annotated[
        int, typer.Option(help="Number of frames, including A and B.", min=2, max=10_000, metavar="N")
    ] = 9,
    fps: Annotated[float, typer.Option(help="Frames per second of an animation.", min=0.1, max=100, metavar="N")] = 10,
    resize: Annotated[bool, typer.Option("--resize", help="Resize B to the size of A.")] = False,
) -> None:
    """Interpolate between two pictures.

    -o DIR/ gets frame_000.png and so on (default: A_to_B/ beside A), -o FILE.gif or FILE.webp an animation, and a
    file of another format all frames in a row. - is standard input and standard output, which gets the frames in a
    row or, with --format webp, an animation.

    Example: bcm-restore interpolate day.jpg night.jpg --frames 17 -o day_to_night.gif
    """
    with standard.spooled((first, last), options) as (names, options):
        asked, (a, b) = settings(options), map(Path, names)
        with View(asked, options, unit="interpolations") as view:
            interpolate_files(a, b, asked, view, frames=frames, fps=fps, resize=resize)
