"""The command that generates pictures from noise."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..batch import engine, planning
from ..errors import RestoreError
from . import printing
from .options import Files, settings, shared

if TYPE_CHECKING:
    import numpy as np

    from ..model import BCM
    from ..schemes import Scheme

BATCH = 16  # pictures generated at a time
LARGEST = 16384  # pixels along a side


@shared
def generate(
    options: Files,
    n: Annotated[int, typer.Option("--n", help="How many pictures.", min=1, metavar="N")] = 16,
    schedule: Annotated[
        str,
        typer.Option(
            help='one-step, ancestral-2, zigzag-3, mixed-4, or a scheme such as "noise 80, to 3, to 0".',
            metavar="NAME|SCHEME",
        ),
    ] = "one-step",
    size: Annotated[
        str | None,
        typer.Option(help="Width and height; default: those that the model was trained on.", metavar="WxH"),
    ] = None,
    grid: Annotated[Path | None, typer.Option(help="Write all pictures into one file.", metavar="FILE")] = None,
) -> None:
    """Generate pictures from noise.

    -o DIR/ gets sample_000.png and so on (default: generated/, unless --grid is given). Picture i is generated with
    the seed SEED + i.

    Example: bcm-restore generate --model bcm-imagenet64 --n 16 --schedule zigzag-3 --label tabby --grid cats.png
    """
    from .. import images, samplers, schemes
    from ..images import montage

    targets = _targets(n, grid, options)
    shape = _shape(size)
    scheme = samplers.generation(schedule)
    model = engine.load(settings(options))
    schemes.check(scheme, model)
    made: list[np.ndarray] = []
    for pixels in _samples(model, scheme, n, shape, options):
        if targets:
            images.write(images.Picture(pixels), targets[len(made)], quality=options.quality)
        made.append(pixels)
    if grid:
        images.write(images.Picture(montage.grid(made)), grid, quality=options.quality)
    if note := engine.small_model_note(model, "from pure noise it generates soft colours and textures, no objects"):
        printing.note(note)
    written = [str(path) for path in (*targets, *([grid] if grid else []))]
    if options.json:
        facts = {"label": options.label, "scheme": str(scheme), "nfe": scheme.nfe}
        printing.document({**engine.header("generate", model, options.seed), **facts, "files": written})
        return
    height, width = made[0].shape[:2]
    rest = f" and {len(written) - 1} more" if len(written) > 1 else ""
    printing.result(f"{n} pictures -> {written[-1]}{rest} ({width}x{height}, NFE {scheme.nfe})")


def _targets(n: int, grid: Path | None, options: Files) -> list[Path]:
    """The file of each picture; empty if only a grid is written.

    Raises:
        RestoreError: an output exists, or its name is not valid.
    """
    if grid:
        planning.check_suffix(grid, options.format and options.format.value)
    targets: list[Path] = []
    if options.output or not grid:
        folder = Path(options.output or "generated")
        if planning.is_file_name(str(folder)):
            raise RestoreError(f"{folder}: name a folder for the pictures; --grid {folder} writes them all to one file")
        suffix = options.format.suffix if options.format else ".png"
        digits = max(3, len(str(n - 1)))
        targets = [folder / f"sample_{i:0{digits}}{suffix}" for i in range(n)]
    planning.check_new([*targets, *([grid] if grid else [])], options.overwrite)
    return targets


def _shape(size: str | None) -> tuple[int, int] | None:
    """Height and width of "640x480" or "64"."""
    if size is None:
        return None
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", size)
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 0 < min(width, height) <= max(width, height) <= LARGEST:
        raise RestoreError(f"--size '{size}': write WIDTHxHEIGHT, such as 96x64, with sides of 1 to {LARGEST}")
    return height, width


def _samples(
    model: "BCM", scheme: "Scheme", n: int, shape: tuple[int, int] | None, options: Files
) -> Iterator["np.ndarray"]:
    """The pictures (H, W, 3), uint8, as soon as they are generated."""
    import torch

    from .. import samplers
    from .progress import Bar

    with Bar(n, "pictures", quiet=options.json) as bar:
        for start in range(0, n, BATCH):
            count, seed = min(BATCH, n - start), options.seed + start
            batch = samplers.generate(
                model, count, scheme, size=shape, label=options.label, seed=seed, progress=bar.evaluation
            )
            for pixels in batch.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy():
                yield pixels
                bar.file(pixels.shape[0] * pixels.shape[1])
