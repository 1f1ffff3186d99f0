"""The commands that compare restoration methods."""

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RestoreError
from . import groups, printing
from .groups import add
from .options import Evaluation, Reading, Report, numbers, option, shared

if TYPE_CHECKING:
    from ..bench.assembly import BenchSettings


FURTHER = (
    *("thin-strokes", "random-50", "box-noise-5"),
    *("quality-3", "quality-60"),
    *("x3", "x4-noise-5", "x4-jpeg-60"),
)  # those of bench.cases, which is slow to import
QUICK: dict[str, Any] = {"size": 128, "limit": 2, "nfe": [1, 4]}


class Size(str, Enum):
    """The size of the pictures."""

    SMALL = "64"
    MEDIUM = "256"
    NATIVE = "native"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benching(Reading, Evaluation):
    """The options of `bench`."""

    task: Annotated[
        str | None,
        option(
            "--task",
            panel="Data",
            text="inpaint, jpeg, super-resolve, denoise, deblur, colorize or interpolate.",
            metavar="TASK",
        ),
    ] = None
    data: Annotated[
        Path | None,
        option("--data", panel="Data", text="Folder of clean pictures; default: those in scikit-image.", metavar="DIR"),
    ] = None
    case: Annotated[
        list[str] | None,
        option(
            "--case",
            panel="Data",
            text=f"Only this case; repeatable. Cases that are run only if chosen: {', '.join(FURTHER)}.",
            metavar="CASE",
        ),
    ] = None
    mask: Annotated[
        Path | None, option("--mask", panel="Data", text="Your own mask as an additional case.", metavar="FILE")
    ] = None
    size: Annotated[
        Size, option("--size", panel="Data", text="Side of the centre crops (as in ADM); native: whole pictures.")
    ] = Size.MEDIUM
    limit: Annotated[
        int | None, option("--limit", panel="Data", text="Only the first N pictures.", min=1, metavar="N")
    ] = None
    export: Annotated[
        Path | None,
        option("--export", panel="Data", text="Folder for the damaged pictures, for other programs.", metavar="DIR"),
    ] = None
    nfe: Annotated[
        str | None,
        option(
            "--nfe",
            panel="Contestants",
            text="Network evaluations of BCM and the solvers; default: 1,2,4,8, for denoise 1.",
            metavar="N,N,...",
        ),
    ] = None
    scheme: Annotated[
        list[str] | None,
        option("--scheme", panel="Contestants", text="BCM with your own scheme; repeatable.", metavar="TEXT"),
    ] = None
    model: Annotated[
        list[str] | None,
        option(
            "--model",
            panel="Contestants",
            text="Name of a model, or its file; ffdnet: FFDNet in our schemes; repeatable.",
            metavar="NAME|FILE",
        ),
    ] = None
    outputs: Annotated[
        list[str] | None,
        option(
            "--outputs",
            panel="Contestants",
            text="Results of another program: a folder or I2SB's recon.pt, optionally with its NFE; repeatable.",
            metavar="NAME[@NFE]=PATH",
        ),
    ] = None
    solvers: Annotated[
        str,
        option(
            "--solvers",
            panel="Contestants",
            text="Other solvers on the same model: ddrm, diffpir, dps, ddnm, cm4ir, dds, reddiff, dpm-solver++.",
            metavar="NAME,...",
        ),
    ] = ""
    classical: Annotated[
        bool, option("--classical/--no-classical", panel="Contestants", text="Include methods without a model.")
    ] = True
    output: Annotated[
        Path | None,
        option("-o", "--output", panel="Output", text="Folder of the report; default: bench_TASK.", metavar="DIR"),
    ] = None
    overwrite: Annotated[
        bool, option("--overwrite", panel="Output", text="Recompute all results, including those of earlier runs.")
    ] = False
    quick: Annotated[bool, option("--quick", panel="Data", text="Under a minute: --size 128 --limit 2 --nfe 1,4.")] = (
        False
    )


@shared
def _bench(context: typer.Context, options: Benching) -> None:
    if context.invoked_subcommand is not None:
        return
    if options.task is None:
        raise RestoreError(
            "bench needs a --task: inpaint, jpeg, super-resolve, denoise, deblur, colorize or interpolate"
        )
    from ..bench.assembly import BenchSettings

    names = {field.name for field in dataclasses.fields(BenchSettings)}
    given = {name: value for name, value in vars(options).items() if name in names and value is not None}
    own: dict[str, Any] = {
        "nfe": None if options.nfe is None else numbers(options.nfe),
        "size": None if options.size is Size.NATIVE else int(options.size.value),
        **(_quick(context) if options.quick else {}),
        "solvers": [name.strip() for name in options.solvers.split(",") if name.strip()],
        "precision": options.precision.value,
        "max_pixels": options.most_pixels,
        "command": _typed_command(),
    }
    _run(BenchSettings(**given | own), options.json)


def _quick(context: typer.Context) -> dict[str, Any]:
    """The settings of --quick, without those that were typed."""
    sources = {name: context.get_parameter_source(name) for name in QUICK}
    return {name: value for name, value in QUICK.items() if (source := sources[name]) and source.name == "DEFAULT"}


def _typed_command() -> str:
    """The command line as it was typed."""
    return shlex.join(["bcm-restore", *sys.argv[1:]])


def _run(settings: "BenchSettings", as_json: bool) -> dict[str, Any]:
    """Runs a bench and prints each table as soon as it is complete, or all results as JSON."""
    from ..bench import report
    from ..bench.assembly import assembled
    from .progress import Bar

    def show(results: dict[str, Any], case: str, notes: Sequence[str]) -> None:
        if not as_json:
            _print_table(results, case)
            for note in notes:
                printing.note(f"{case}: {note}")

    with assembled(settings) as assembly:
        if kept := len(assembly.bench.store):
            printing.note(f"{assembly.bench.store.folder}: resumes; {kept} results are there, unchanged ones are kept")
        with Bar(assembly.bench.total, "results", quiet=as_json) as bar:
            results = assembly.run(bar.file, show)
        assembly.write(results)
        if as_json:
            printing.document(results, indent=None)
            return results
        for case, sentence in report.answers(results):
            printing.result(f"{case}: {sentence}")
        for column in assembly.columns.values():
            if column.missing:
                printing.note(f"{column.title}: n/a; {column.missing}")
        printing.result(f"report: {assembly.bench.store.folder / 'report.html'}")
    return results


def _print_table(results: dict[str, Any], case: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..bench import report

    header, rows = report.table(results, case)
    table = Table(title=f"{results['task']}, {case}", title_justify="left", box=box.SIMPLE, padding=(0, 1))
    shown = [[cell.partition(" ±")[0] for cell in row] for row in rows]
    widths = [max(map(len, [*title.split(), *cells])) for title, *cells in zip(header, *shown, strict=True)]
    for n, (title, width) in enumerate(zip(header, widths, strict=True)):
        table.add_column(title, justify="right" if n else "left", width=width)
    for row, cells in zip(rows, shown, strict=True):
        table.add_row(*(Text(text, style="bold" if cell.best else "") for text, cell in zip(cells, row, strict=True)))
    # a narrower console would truncate numbers; borders and padding take 3 characters per column
    Console(width=max(Console().width, sum(widths) + 3 * len(widths) + 2)).print(table)


@shared
def compare(
    options: Report,
    a: Annotated[Path, typer.Argument(help="results.json, or the folder with it.", metavar="A", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The results to compare with A.", metavar="B", show_default=False)],
) -> None:
    """Show two results side by side: every metric, and the difference.

    Example: bcm-restore bench compare before/ after/
    """
    from ..bench import report

    for line in report.compare(report.read(a), report.read(b)).splitlines():
        printing.result(line)


@shared
def reproduce(
    options: Report,
    name: Annotated[
        str | None, typer.Argument(help="A recorded bench; without it, all are listed.", metavar="NAME")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures, if they are not those in scikit-image.", metavar="DIR"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.", metavar="NAME")] = "auto",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the report.", metavar="DIR")] = None,
) -> None:
    """Rerun a bench whose results are recorded in this package, and compare.

    Example: bcm-restore bench reproduce inpaint
    """
    from ..bench import recorded, report
    from ..bench.assembly import recorded_settings

    if name is None:
        for each in recorded.names():
            printing.result(f"{each}: {', '.join(recorded.data(each))}")
        return
    before = recorded.results(name, data.resolve().name if data else "scikit-image")
    settings = recorded_settings(
        name, data=data, device=device, output=output or Path(f"bench_{name}"), command=_typed_command()
    )
    now = _run(settings, options.json)
    if not options.json:
        for line in report.compare(before, now).splitlines():
            printing.result(line)


group = groups.group(
    "bench",
    "Compare BCM with other methods by PSNR, SSIM, LPIPS and FID at equal numbers of network evaluations (NFE).",
    "bcm-restore bench --task inpaint",
)
group.callback(invoke_without_command=True)(_bench)
for _command in (compare, reproduce):
    add(group, _command)
