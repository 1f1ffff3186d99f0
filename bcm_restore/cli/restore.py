"""The commands that restore pictures, one by one or by the folder."""

import dataclasses
import functools
from collections.abc import Hashable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from ..errors import NothingToRestore, RestoreError
from . import engine, inputs, jobs, standard
from .engine import Engine
from .inputs import Naming
from .masks import Masks
from .options import Batch, Inputs, shared
from .report import Header, Skip
from .worker import Loaded, Progress, Result, Steps

if TYPE_CHECKING:
    import numpy as np

    from ..images import Picture
    from ..tasks import Restoration

WIDE = 60  # pixels across a hole
MAX_RESULT = 400_000_000  # pixels of an enlarged picture: 5 GB of memory in the process


class Scale(str, Enum):
    """How much larger."""

    X2 = "2"
    X3 = "3"
    X4 = "4"
    X8 = "8"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restoring(Steps):
    """How the commands of this module restore pictures: with a task.

    Attributes:
        task: its name.
    """

    task: ClassVar[str]
    scale: int = 1

    @functools.cached_property
    def engine(self) -> Engine:
        """The task with its model, loaded when it is first asked for."""
        return engine.prepare(self.task, self.options)

    @property
    def header(self) -> Header:
        """See `Steps`."""
        return self.engine.header

    def settings(self) -> dict[str, Any]:
        """See `Steps`."""
        return self.engine.settings()

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """Pictures of one size, as many as the model evaluates at once."""
        size = height, width = loaded.picture.size
        return size, self.engine.model.at_once(height * self.scale, width * self.scale)

    def restore(self, several: Sequence[Loaded], progress: Progress) -> list[Result]:
        """See `Steps`."""
        from ..tasks.transparency import fill_hidden

        pictures = [fill_hidden(one.picture.pixels, one.picture.alpha, one.inputs.get("mask")) for one in several]
        given = [one.inputs for one in several]
        made = self.engine.task.run_together(pictures, given, progress=progress, **self.engine.how)
        return [
            dataclasses.replace(self.result(one.picture, restoration), remark=one.found)
            for one, restoration in zip(several, made, strict=True)
        ]

    def result(self, picture: "Picture", restoration: "Restoration") -> Result:
        """What becomes of the picture, upright."""
        return Result(picture.upright(), picture.with_pixels(restoration.image).upright(), restoration)


def restore(arguments: list[str], naming: Naming, steps: Steps, apart: Iterable[Path] = ()) -> None:
    """What all commands of this module do: find the pictures, check everything, restore.

    Args:
        arguments: the inputs as typed.
        naming: of the task and its outputs.
        steps: how a picture is restored.
        apart: files and folders that are neither inputs nor to be overwritten: masks.
    """
    with standard.spooled(arguments, steps.options) as (named, options):
        planned, single = inputs.find(named, naming, options, list(apart))
        jobs.run(planned, dataclasses.replace(steps, options=options), single)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inpainting(Restoring):
    """Fills what masks mark."""

    task = "inpaint"
    masks: Masks

    def settings(self) -> dict[str, Any]:
        """With how the masks are read."""
        masks = self.masks
        own = {"mask": masks.alpha, "invert": masks.invert, "grow": masks.grow, "fit": masks.fit}
        return super().settings() | own | {"threshold": masks.threshold}

    def mask(self, source: Path) -> Path | None:
        """See `Steps`."""
        return self.masks.file(source)

    def read(self, source: Path, data: bytes) -> Loaded:
        """The picture and its mask."""
        from .. import images

        picture = images.read(source, max_pixels=self.options.most_pixels, data=data)
        marks = self.masks.of(source, picture)
        remark = "" if marks.hole.any() else "copied: its mask is empty"
        found = f"mask: {marks.found}, taken as marked" if marks.found else ""
        return Loaded(source, picture, {"mask": marks.hole}, remark, found)

    def restore(self, several: Sequence[Loaded], progress: Progress) -> list[Result]:
        """See `Steps`; says what becomes of wide holes. What is hidden and not marked stays as it was."""
        import numpy as np

        found = super().restore(several, progress)
        if "_told" not in vars(self) and any(wide(one.inputs["mask"]) for one in several):
            _ = self._told
        for one, result in zip(several, found, strict=True):
            if one.picture.alpha is not None:
                hidden = (one.picture.alpha == 0) & ~one.inputs["mask"]
                np.copyto(result.after.pixels.T, one.picture.pixels.T, where=hidden.T)
        return found

    @functools.cached_property
    def _told(self) -> None:
        """Told once a run."""
        engine.tell_small(
            self.engine.model, f"holes wider than {WIDE} pixels get a smooth continuation, without texture or objects"
        )

    def result(self, picture: "Picture", restoration: "Restoration") -> Result:
        """What was transparent has been filled."""
        found = super().result(picture, restoration)
        return (
            dataclasses.replace(found, after=dataclasses.replace(found.after, alpha=None))
            if self.masks.alpha
            else found
        )


def wide(hole: "np.ndarray") -> bool:
    """Whether a hole, bool (H, W), is wider somewhere than a small model can fill with more than a smooth surface."""
    from ..tasks.inpaint import distances

    return any(found.max(initial=0.0) > WIDE / 2 for found in distances(hole, 5))


@shared
def inpaint(
    arguments: Inputs,
    options: Batch,
    mask: Annotated[
        str,
        typer.Option(
            help="White where the picture is to be filled, or strokes of any colour on transparent, on one flat colour "
            "or on a copy of the picture: a file for all, a folder of masks with the pictures' stems, or the word "
            "alpha to fill what is transparent.",
            metavar="FILE|FOLDER|alpha",
        ),
    ],
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="Fill what is black instead.")] = False,
    mask_threshold: Annotated[
        int | None,
        typer.Option(
            help="Fill only what is at least that light; without it, whatever the mask touches, however faintly.",
            min=1,
            max=255,
            metavar="LEVEL",
        ),
    ] = None,
    grow: Annotated[int, typer.Option(help="Grow the mask by that many pixels.", min=0, max=1000, metavar="N")] = 0,
    fit_mask: Annotated[bool, typer.Option("--fit-mask", help="Resize a mask of another size to its picture.")] = False,
) -> None:
    """Fill holes, scratches and unwanted things, marked by a mask.

    All other pixels stay exactly what they are. The output is photo_inpainted.png beside photo.png, or the folder
    dir_inpainted beside dir.

    Example: bcm-restore inpaint photo.png --mask mask.png --nfe 8
    """
    masks = Masks(
        mask,
        invert=invert_mask,
        threshold=mask_threshold,
        grow=grow,
        fit=fit_mask,
        max_pixels=options.most_pixels,
    )
    steps = Inpainting(options=options, masks=masks)
    restore(arguments, Naming("_inpainted", "_inpainted", steps.task), steps, masks.paths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cleaning(Restoring):
    """Takes the traces of JPEG compression out."""

    task = "jpeg"
    quality: int | None

    def settings(self) -> dict[str, Any]:
        """With the quality."""
        return super().settings() | {"input_quality": self.quality}

    def read(self, source: Path, data: bytes) -> Loaded:
        """The picture as stored, as its coefficients belong to the pixels as stored: it is turned afterwards."""
        from .. import images

        picture = images.read(source, upright=False, max_pixels=self.options.most_pixels, data=data)
        coefficients = images.jpeg_coefficients(source, max_pixels=self.options.most_pixels, data=data)
        quality = self.quality if coefficients else self._quality(picture)
        inputs: dict[str, Any] = {"coefficients": coefficients, "quality": quality}
        if coefficients and len(coefficients.planes) == 4:
            inputs["coefficients"] = None
            if self.quality is None:
                inks = images.read_inks(source, max_pixels=self.options.most_pixels, data=data)
                inputs = {"inks": inks, "coefficients": coefficients.inks()}
        return Loaded(source, picture, inputs)

    def _quality(self, picture: "Picture") -> int | None:
        """As given; estimated here where hidden pixels are to be filled, as what fills them was never compressed."""
        if self.quality is not None or picture.alpha is None or picture.alpha.all():
            return self.quality
        from ..tasks.jpeg import quality_of

        return quality_of(picture.pixels)

    def alike(self, loaded: Loaded) -> tuple[Hashable, int]:
        """See `Steps`; a picture in inks is restored by itself."""
        kind, most = super().alike(loaded)
        return ((kind, loaded.source), 1) if "inks" in loaded.inputs else (kind, most)

    def restore(self, several: Sequence[Loaded], progress: Progress) -> list[Result]:
        """See `Steps`."""
        try:
            if "inks" in several[0].inputs:
                return [self._in_inks(several[0], progress)]
            return super().restore(several, progress)
        except NothingToRestore:
            source = several[0].source
            raise Skip(f"{source}: no trace of JPEG compression found; --input-quality N restores it anyway") from None

    def _in_inks(self, loaded: Loaded, progress: Progress) -> Result:
        """Cyan, magenta and yellow are restored as a picture, black as another one, if there is any."""
        inks, given = loaded.inputs["inks"], loaded.inputs["coefficients"]

        def restored(pixels: "np.ndarray", coefficients: Any) -> "Restoration":
            inputs = [{"coefficients": coefficients}]
            return self.engine.task.run_together([pixels], inputs, progress=progress, **self.engine.how)[0]

        made = restored(inks.colours, given[0])
        black = restored(inks.black, given[1]).image if inks.black.min() < inks.black.max() else inks.black
        inks = dataclasses.replace(inks, colours=made.image, black=black)
        return self.result(loaded.picture, dataclasses.replace(made, image=inks.srgb()))


@shared
def jpeg_restore(
    arguments: Inputs,
    options: Batch,
    input_quality: Annotated[
        int | None,
        typer.Option(
            help="Quality that the pictures were once saved with, before they were saved in these files.",
            min=1,
            max=100,
            metavar="N",
        ),
    ] = None,
) -> None:
    """Take blocks, ringing and banding out of JPEGs of any quality.

    A JPEG file says itself how it was compressed; for a PNG or WebP that was a JPEG once, the quality is estimated,
    and so is the one that a JPEG had before it was saved again. In a folder, pictures without a trace of JPEG are
    skipped and listed at the end. The output is photo_restored.png beside photo.jpg, or the folder dir_restored beside
    dir.

    Example: bcm-restore jpeg-restore holiday/ -r -o clean/
    """
    steps = Cleaning(options=options, quality=input_quality)
    restore(arguments, Naming("_restored", "_restored", steps.task), steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Enlarging(Restoring):
    """Makes pictures larger."""

    task = "super-resolve"
    scale: int
    noise: float | None

    def settings(self) -> dict[str, Any]:
        """With the scale and the noise."""
        return super().settings() | {"scale": self.scale, "noise": self.noise}

    def pixels(self, data: bytes) -> int:
        """See `Steps`."""
        return super().pixels(data) * self.scale**2

    def read(self, source: Path, data: bytes) -> Loaded:
        """A picture that can become that large; a JPEG as stored, as its coefficients belong to the stored pixels."""
        from .. import images

        coefficients = images.jpeg_coefficients(source, max_pixels=self.options.most_pixels, data=data)
        upright = coefficients is None
        picture = images.read(source, upright=upright, max_pixels=self.options.most_pixels, data=data)
        height, width = picture.size
        if height * width * self.scale**2 > MAX_RESULT:
            raise RestoreError(
                f"{source}: {width * self.scale}x{height * self.scale} is more than {MAX_RESULT // 10**6} megapixels; "
                "use a smaller --scale"
            )
        return Loaded(source, picture, {"scale": self.scale, "noise": self.noise, "coefficients": coefficients})


@shared
def super_resolve(
    arguments: Inputs,
    options: Batch,
    scale: Annotated[Scale, typer.Option(help="How many times larger.")] = Scale.X4,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the pictures' noise, of 255; 0: none. Estimated unless given.",
            min=0,
            max=255,
            metavar="S",
        ),
    ] = None,
) -> None:
    """Enlarge pictures 2, 3, 4 or 8 times.

    Scaled down again, the result gives the input back; of a JPEG or a noisy picture, what it is without artefacts or
    noise. The output is photo_x4.png beside photo.png, or the folder dir_x4 beside dir.

    Example: bcm-restore super-resolve photo.png --scale 2
    """
    steps = Enlarging(options=options, scale=int(scale.value), noise=noise)
    restore(arguments, Naming(f"_x{steps.scale}", "_x[2348]", steps.task), steps)
