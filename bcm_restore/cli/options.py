"""Options that several commands share: a command that takes one of these classes has an option for each field."""

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
    """The arithmetic of the network."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Runner(str, Enum):
    """How a folder is distributed over devices."""

    LOCAL = "local"
    RAY = "ray"


class Format(str, Enum):
    """The format of outputs."""

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


FIRST = ("output", "overwrite", "nfe", "model", "format", "quality", "compare", "recursive")  # shown first in the help


def option(*names: str, panel: str | None = None, text: str, **more: Any) -> Any:
    """An option in a panel of the help; None: the first panel."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How a command reports its results."""

    json: Annotated[bool, option("--json", panel="Output", text="Print only a JSON document.")] = False
    debug: Annotated[bool, option("--debug", panel="Output", text="Show the traceback of an error.")] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calculation(Report):
    """The options of commands that compute."""

    threads: Annotated[
        int | None,
        option(
            "--threads",
            panel="Model",
            text="CPU threads of all processes together; default: one per core.",
            min=1,
            max=1024,
            metavar="N",
        ),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Calculation):
    """How models are evaluated, and on which device."""

    label: Annotated[
        str | None,
        option(
            "--label",
            panel="Model",
            text="Class of the picture, for class-conditional models: an index or an ImageNet name; default: the mean "
            "of all class embeddings.",
            metavar="N|NAME",
        ),
    ] = None
    overlap: Annotated[
        int | None,
        option(
            "--overlap",
            panel="Model",
            text="Overlap of neighbouring windows in pixels, for models of one image size.",
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
            text="Arithmetic of the network; auto is fp32 on the CPU.",
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
            text="Largest picture to read, in megapixels; AVIF, WebP, progressive JPEG and 16-bit colour count more.",
            min=1e-6,
            metavar="MP",
        ),
    ] = 200.0

    @property
    def most_pixels(self) -> int:
        """`max_pixels` as a number of pixels."""
        return round(self.max_pixels * 1e6) if math.isfinite(self.max_pixels) else sys.maxsize


@dataclasses.dataclass(frozen=True, kw_only=True)
class Files(Evaluation):
    """The options of commands that write pictures."""

    model: Annotated[
        str | None,
        option("--model", text="Name of a model or path of its file.", metavar="NAME|FILE"),
    ] = None
    output: Annotated[
        str | None,
        option("-o", "--output", text="File or folder to write to.", metavar="PATH"),
    ] = None
    overwrite: Annotated[bool, option("--overwrite", text="Replace outputs that exist.")] = False
    format: Annotated[Format | None, option("--format", text="Format of the outputs; default: png.")] = None
    quality: Annotated[
        int | None,
        option("--quality", text="Quality of JPEG, WebP and AVIF outputs.", min=1, max=100, metavar="N"),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common(Reading, Files):
    """The options of every command that restores."""

    nfe: Annotated[
        int | None,
        option("--nfe", text="Network evaluations for each picture: 1, 2, 3, 4 (default) or 8.", min=1, metavar="N"),
    ] = None
    scheme: Annotated[
        str | None,
        option("--scheme", panel="Model", text='Your own scheme, such as "noise 0.5, to 0, fit".', metavar="TEXT"),
    ] = None
    compare: Annotated[
        bool,
        option("--compare", text="Also write OUTPUT_compare.png: before and after, side by side."),
    ] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch(Common):
    """Further options of commands that restore many pictures."""

    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Include subfolders.")] = False
    resume: Annotated[
        bool,
        option(
            "--resume",
            panel="Output",
            text="Keep all outputs that exist, whatever wrote them. Without it, those of earlier runs into an output "
            "folder are kept unless their input or the settings have changed, and recomputed otherwise.",
        ),
    ] = False
    join: Annotated[
        bool,
        option("--join", panel="Cluster", text="Share the work of a run that is writing to the output folder."),
    ] = False
    engine: Annotated[
        Runner,
        option(
            "--engine",
            panel="Cluster",
            text="ray: restore on a Ray cluster, with an actor for each GPU, or for each CPU if it has no GPU. The "
            "nodes need the same files, in a shared folder or by URL (s3://bucket/folder).",
        ),
    ] = Runner.LOCAL
    address: Annotated[
        str | None,
        option(
            "--address",
            panel="Cluster",
            text="Address of the Ray cluster; default: $RAY_ADDRESS, or else a local cluster is started.",
            metavar="HOST:PORT",
        ),
    ] = None
    keep_times: Annotated[
        bool, option("--keep-times", panel="Output", text="Give outputs the modification times of their inputs.")
    ] = False
    dry_run: Annotated[
        bool, option("--dry-run", panel="Output", text="Only list what would be done with each picture.")
    ] = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneStep(Batch):
    """The options of `denoise`: one evaluation by default."""

    nfe: Annotated[
        int | None,
        option("--nfe", metavar="N", text="Network evaluations for each picture: 1 (default), 2, 3, 4 or 8.", min=1),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chained(Batch):
    """The options of `restore`: its steps are different tasks, which share no scheme."""

    scheme: ClassVar[None] = None  # type: ignore[misc]
    nfe: Annotated[
        int | None,
        option("--nfe", text="Network evaluations of each step: 1, 2, 3, 4 (default) or 8.", min=1, metavar="N"),
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundTrip(Batch):
    """The options of `reconstruct`: comparisons are always written, and NFE 2 and 3 are published."""

    compare: ClassVar[bool] = True  # type: ignore[misc]
    nfe: Annotated[
        int | None,
        option(
            "--nfe",
            metavar="N",
            text="Evaluations to noise and back: 2 (default, the published one-step inversion) or 3 (two-step).",
            min=1,
        ),
    ] = None


Inputs = Annotated[
    list[str],
    typer.Argument(
        help='Pictures, folders or quoted patterns such as "*.png"; - is standard input and output.',
        metavar="INPUT",
        show_default=False,
    ),
]


def settings(options: Files) -> Settings:
    """The settings of a run, from a command's options."""
    given = {name: getattr(options, name) for name in NAMES if hasattr(options, name)}
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in given.items()}
    return Settings(**plain | ({"max_pixels": options.most_pixels} if isinstance(options, Reading) else {}))


def numbers(text: str) -> list[int]:
    """The numbers in the text of `--nfe`, in order: "1,2,4".

    Raises:
        RestoreError: it contains anything else.
    """
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise RestoreError(f'--nfe {text}: give numbers from 1 on, such as "1,2,4"')
    return found


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Turns the command's parameter `options`, one of the classes above, into a command-line option for each field."""
    own = list(inspect.signature(command).parameters.values())
    kind = next(parameter.annotation for parameter in own if parameter.name == "options")
    # the options that all commands share come last in the help
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
