"""The options that several commands share: each is one field, and a command has them all by taking the class."""

import dataclasses
import inspect
import math
import sys
from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, ClassVar

import typer

from ..batch.settings import NAMES, Settings
from ..errors import RestoreError
from . import printing
from .startup import limit_threads


class Precision(str, Enum):
    """What the network calculates in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Runner(str, Enum):
    """What spreads a folder over devices."""

    LOCAL = "local"
    RAY = "ray"


class Format(str, Enum):
    """What outputs are written as."""

    PNG = "png"
    JPG = "jpg"
    WEBP = "webp"
    TIFF = "tiff"
    AVIF = "avif"
    BMP = "bmp"

    @property
    def suffix(self) -> str:
        """The suffix of its files."""
        return f".{self.value}"


FIRST = ("output", "overwrite", "nfe", "model", "format", "quality", "compare", "recursive")  # what everyone needs


def option(*names: str, panel: str | None = None, text: str, **more: Any) -> Any:
    """An option in a panel of the help, in the first one unless it is given."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How a command tells what it did."""

    json: Annotated[bool, option("--json", panel="Output", text="Print a JSON document, and nothing else.")] = False
    debug: Annotated[bool, option("--debug", panel="Output", text="Show the traceback of an error.")] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calculation(Report):
    """What calculating commands take."""

    threads: Annotated[
        int | None,
        option(
            "--threads",
            panel="Model",
            text="Threads on the CPU, of all processes together; one a core unless given.",
            min=1,
            max=1024,
            metavar="N",
        ),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Calculation):
    """How models are evaluated, and on what."""

    label: Annotated[
        str | None,
        option(
            "--label",
            panel="Model",
            text="Class of what is shown, for models that know classes: an index or an ImageNet name; the mean of all "
            "classes unless given.",
            metavar="N|NAME",
        ),
    ] = None
    overlap: Annotated[
        int | None,
        option(
            "--overlap",
            panel="Model",
            text="Pixels that neighbouring windows share, for models of one image size.",
            min=0,
            metavar="N",
        ),
    ] = None
    device: Annotated[
        str,
        option(
            "--device",
            panel="Model",
            text="auto, cpu, cuda or cuda:1; for folders also several, cuda:0,cuda:1, or all.",
            metavar="NAME",
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        option(
            "--precision",
            panel="Model",
            text="Arithmetic of the network; auto is fp32 on CPU.",
        ),
    ] = Precision.AUTO
    seed: Annotated[
        int, option("--seed", panel="Model", text="Seed of the noise.", min=0, max=2**32 - 1, metavar="N")
    ] = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How pictures are read."""

    max_pixels: Annotated[
        float,
        option(
            "--max-pixels",
            panel="Input",
            text="Megapixels that a picture may have; AVIF, WebP, progressive JPEG and 16-bit colour count more.",
            min=1e-6,
            metavar="MP",
        ),
    ] = 200.0

    @property
    def most_pixels(self) -> int:
        """The same as a number of pixels."""
        return round(self.max_pixels * 1e6) if math.isfinite(self.max_pixels) else sys.maxsize


@dataclasses.dataclass(frozen=True, kw_only=True)
class Files(Evaluation):
    """What commands take that write pictures."""

    model: Annotated[
        str | None,
        option("--model", text="Name of a model or path of its file.", metavar="NAME|FILE"),
    ] = None
    output: Annotated[
        str | None,
        option("-o", "--output", text="File or folder to write to.", metavar="PATH"),
    ] = None
    overwrite: Annotated[bool, option("--overwrite", text="Replace outputs that exist.")] = False
    format: Annotated[Format | None, option("--format", text="Format of the outputs, png unless given.")] = None
    quality: Annotated[
        int | None,
        option("--quality", text="Quality of JPEG, WebP and AVIF outputs.", min=1, max=100, metavar="N"),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common(Reading, Files):
    """What every restoring command takes."""

    nfe: Annotated[
        int | None,
        option("--nfe", text="Network evaluations for each picture: 1, 2, 3, 4 (default) or 8.", min=1, metavar="N"),
    ] = None
    scheme: Annotated[
        str | None,
        option("--scheme", panel="Model", text='A scheme of your own, such as "noise 0.5, to 0, fit".', metavar="TEXT"),
    ] = None
    compare: Annotated[
        bool,
        option("--compare", text="Also write OUTPUT_compare.png: before and after, side by side."),
    ] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch(Common):
    """What commands that work on many pictures take besides."""

    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Look into the folders of a folder, too.")] = (
        False
    )
    resume: Annotated[
        bool,
        option(
            "--resume",
            panel="Output",
            text="Keep all outputs that exist, whatever made them. Without it, an output folder's own are kept while "
            "their inputs and the options are the same, and made anew where they are not.",
        ),
    ] = False
    join: Annotated[
        bool,
        option("--join", panel="Cluster", text="Take part in the work of a run that is at work in the output folder."),
    ] = False
    engine: Annotated[
        Runner,
        option(
            "--engine",
            panel="Cluster",
            text="ray: restore on a Ray cluster, whose nodes see the same files or get them by their URLs "
            "(s3://bucket/folder); an actor for each GPU, or for each CPU where there is none.",
        ),
    ] = Runner.LOCAL
    address: Annotated[
        str | None,
        option(
            "--address",
            panel="Cluster",
            text="Of the Ray cluster; $RAY_ADDRESS or a new local one unless given.",
            metavar="HOST:PORT",
        ),
    ] = None
    keep_times: Annotated[
        bool, option("--keep-times", panel="Output", text="Give outputs the times of their inputs.")
    ] = False
    dry_run: Annotated[
        bool, option("--dry-run", panel="Output", text="Only say for each picture what would be done.")
    ] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundTrip(Batch):
    """What `reconstruct` takes: comparisons are always written, and there are two published NFE."""

    compare: ClassVar[bool] = True  # type: ignore[misc]
    nfe: Annotated[
        int | None,
        option(
            "--nfe",
            metavar="N",
            text="Network evaluations there and back: 2 (default, the published one-step inversion) or 3 (two-step).",
            min=1,
        ),
    ] = None


Inputs = Annotated[
    list[str],
    typer.Argument(
        help='Pictures, folders or quoted patterns such as "*.png"; or - for standard input, and output.',
        metavar="INPUT",
        show_default=False,
    ),
]


def settings(options: Files) -> Settings:
    """What a command was asked for, as a run takes it."""
    given = {name: getattr(options, name) for name in NAMES if hasattr(options, name)}
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}
    return Settings(**plain | ({"max_pixels": options.most_pixels} if isinstance(options, Reading) else {}))


def numbers(text: str) -> list[int]:
    """The numbers in the text of `--nfe`, in order: "1,2,4".

    Raises:
        RestoreError: it holds something else.
    """
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise RestoreError(f'--nfe {text}: give numbers from 1 on, such as "1,2,4"')
    return found


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Turns the command's parameter `options`, one of the classes above, into one command-line option a field."""
    own = list(inspect.signature(command).parameters.values())
    kind = next(parameter.annotation for parameter in own if parameter.name == "options")
    # what is common to all stands last in the help
    order = [*FIRST, *(name for level in kind.__mro__ for name in inspect.get_annotations(level))]
    fields = sorted(dataclasses.fields(kind), key=lambda field: order.index(field.name))
    parameters = [parameter for parameter in own if parameter.name != "options"] + [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields
    ]

    def run(**values: Any) -> None:
        options = kind(**{field.name: values.pop(field.name) for field in fields})
        if isinstance(options, Calculation):
            limit_threads(options.threads)
        try:
            command(**values, options=options)
        except Exception as error:
            if options.debug and not isinstance(error, typer.Exit):
                printing.trace(error)
            raise

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run
