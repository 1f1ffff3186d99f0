"""The commands that compare methods of restoration."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RestoreError
from . import engine, printing, usage
from .groups import add
from .options import Evaluation, Reading, Report, numbers, option, shared

if TYPE_CHECKING:
    from ..bench.base import Case, Contestant
    from ..bench.measures import Measure
    from ..bench.pictures import Suite
    from ..bench.run import Bench
    from ..model import BCM
    from ..schemes import Scheme


class Size(str, Enum):
    """How large the pictures are."""

    SMALL = "64"
    MEDIUM = "256"
    NATIVE = "native"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benching(Reading, Evaluation):
    """What the bench takes."""

    task: Annotated[
        str | None, option("--task", panel="What", text="inpaint, jpeg, super-resolve or interpolate.", metavar="TASK")
    ] = None
    data: Annotated[
        Path | None,
        option(
            "--data", panel="What", text="Folder of clean pictures; those in scikit-image unless given.", metavar="DIR"
        ),
    ] = None
    case: Annotated[
        list[str] | None, option("--case", panel="What", text="Only this case; repeatable.", metavar="CASE")
    ] = None
    mask: Annotated[
        Path | None, option("--mask", panel="What", text="A mask of your own as one more case.", metavar="FILE")
    ] = None
    size: Annotated[
        Size, option("--size", panel="What", text="Centre crops of that side, as ADM takes them, or whole pictures.")
    ] = Size.MEDIUM
    limit: Annotated[
        int | None, option("--limit", panel="What", text="Only the first N pictures.", min=1, metavar="N")
    ] = None
    export: Annotated[
        Path | None,
        option("--export", panel="What", text="Write the damaged pictures there, for other programs.", metavar="DIR"),
    ] = None
    nfe: Annotated[
        str, option("--nfe", panel="Contestants", text="Network evaluations of BCM and of solvers.", metavar="N,N,...")
    ] = "1,2,4,8"
    scheme: Annotated[
        list[str] | None,
        option("--scheme", panel="Contestants", text="BCM with a scheme of your own; repeatable.", metavar="TEXT"),
    ] = None
    model: Annotated[
        list[str] | None,
        option("--model", panel="Contestants", text="Model or file of one; repeatable.", metavar="NAME|FILE"),
    ] = None
    outputs: Annotated[
        list[str] | None,
        option(
            "--outputs",
            panel="Contestants",
            text="Results of another program, a folder or I2SB's recon.pt, with its NFE if you like; repeatable.",
            metavar="NAME[@NFE]=PATH",
        ),
    ] = None
    solvers: Annotated[
        str,
        option(
            "--solvers",
            panel="Contestants",
            text="Other solvers on the same model: ddrm, diffpir, dps, ddnm, cm4ir.",
            metavar="NAME,...",
        ),
    ] = ""
    classical: Annotated[
        bool, option("--classical/--no-classical", panel="Contestants", text="With methods that need no model.")
    ] = True
    output: Annotated[
        Path | None,
        option("-o", "--output", panel="Output", text="Folder of the report; bench_TASK unless given.", metavar="DIR"),
    ] = None
    overwrite: Annotated[
        bool, option("--overwrite", panel="Output", text="Do all anew, also what earlier runs have done.")
    ] = False


@shared
def _bench(context: typer.Context, options: Benching) -> None:
    if context.invoked_subcommand is None:
        run(options)


def run(options: Benching) -> dict[str, Any]:
    """Runs a bench, writes its report, prints its tables.

    Returns:
        What is in results.json.

    Raises:
        RestoreError: an option makes no sense, or a contestant can't take part.
    """
    if options.task is None:
        raise RestoreError("bench needs a --task: inpaint, jpeg, super-resolve or interpolate")
    from .. import weights
    from ..bench.export import export
    from ..bench.measures import measures
    from ..bench.run import Bench, check
    from ..bench.store import ResultStore

    suite = _suite(options)
    models = {name: engine.load(options, name) for name in options.model or [weights.DEFAULT]}
    contestants = _contestants(options, suite.cases, models)
    check(suite, contestants)
    if options.export:
        export(suite, options.export, overwrite=options.overwrite)
    columns = measures(options.task)
    store = ResultStore(options.output or Path(f"bench_{options.task}"), restart=options.overwrite)
    try:
        bench = Bench(suite, contestants, columns, store, next(iter(models.values())).device)
        return _finish(bench, columns, _run(bench, columns, options), options)
    finally:
        store.close()


def _suite(options: Benching) -> "Suite":
    from .. import masks
    from ..bench import pictures
    from ..bench.cases import cases

    assert options.task is not None
    mask = None if options.mask is None else masks.read(options.mask, max_pixels=options.most_pixels).hole
    chosen = cases(options.task, options.case or (), mask)
    size = None if options.size is Size.NATIVE else int(options.size.value)
    clean = pictures.load(options.data, size, options.limit, max_pixels=options.most_pixels)
    return pictures.Suite(clean, chosen, options.seed)


def _contestants(options: Benching, chosen: "Sequence[Case]", models: "dict[str, BCM]") -> "list[Contestant]":
    """BCM first, then the solvers, then what others computed, then what needs no model."""
    from ..bench.contestants.classical import classical
    from ..bench.contestants.ours import FirstEstimate, Ours
    from ..bench.contestants.outputs import outputs
    from ..tasks import as_scheme

    assert options.task is not None
    nfes = numbers(options.nfe)
    ways: list[int | Scheme] = [*nfes, *map(as_scheme, options.scheme or [])]
    found: list[Contestant] = []
    identities = {name: _identity(name) for name in models}
    for name, model in models.items():
        family = f"BCM {model.name}" if found else "BCM"
        found += [
            Ours(options.task, model, identities[name], way, family=family, label=options.label, seed=options.seed)
            for way in ways
        ]
    names = [name.strip() for name in options.solvers.split(",") if name.strip()]
    if names:
        from ..bench.contestants.solvers import solvers

        name, model = next(iter(models.items()))
        found += solvers(names, nfes, model, identities[name], options.seed)
    found += [outputs(text, chosen) for text in options.outputs or []]
    for contestant in found:
        if not any(map(contestant.suits, chosen)):
            raise RestoreError(f"{contestant.name} can do nothing about {options.task}; leave it out")
    without_model = [FirstEstimate(), *classical(options.task)] if options.classical else []
    return [*found, *(contestant for contestant in without_model if any(map(contestant.suits, chosen)))]


def _identity(model: str) -> dict[str, str]:
    """What tells a model from all others: its file's content."""
    from .. import weights
    from ..files import digest

    path = weights.find(model)
    return {"name": path.stem, "sha256": digest(path)}


def _run(bench: "Bench", columns: "dict[str, Measure]", options: Benching) -> dict[str, Any]:
    """The results of all cases; the table of each is printed as soon as it is there."""
    from ..bench.summary import summarise
    from .progress import Bar

    facts = {"task": options.task, "command": shlex.join(["bcm-restore", *sys.argv[1:]])}
    results = summarise(facts, bench, columns, [])
    with Bar(bench.total, "results", quiet=options.json) as bar:
        for case in bench.suite.cases:
            outcome = bench.run(case, lambda record: bar.file(bench.pixels(record)))
            own = summarise(facts, bench, columns, [outcome])
            results = {**own, "cases": results["cases"] + own["cases"]}
            if not options.json:
                _print_table(results, case.name)
                for note in outcome.notes:
                    printing.note(f"{case.name}: {note}")
    return results


def _finish(
    bench: "Bench", columns: "dict[str, Measure]", results: dict[str, Any], options: Benching
) -> dict[str, Any]:
    """Writes the report."""
    from ..bench import report
    from ..files import atomic_path

    folder = bench.store.folder
    with atomic_path(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1), encoding="utf-8")
    report.write(results, folder, bench.store.load)
    if options.json:
        printing.document(results, indent=None)
        return results
    for column in columns.values():
        if column.missing:
            printing.note(f"{column.title}: n/a; {column.missing}")
    printing.result(f"report: {folder / 'report.html'}")
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
    # a narrower console would cut numbers off; borders and padding take 3 characters a column
    Console(width=max(Console().width, sum(widths) + 3 * len(widths) + 2)).print(table)


@shared
def compare(
    options: Report,
    a: Annotated[Path, typer.Argument(help="results.json, or the folder with it.", metavar="A", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Another one.", metavar="B", show_default=False)],
) -> None:
    """Show two results side by side: every metric of each, and the difference.

    Example: bcm-restore bench compare before/ after/
    """
    from ..bench import report

    for line in report.compare(report.read(a), report.read(b)).splitlines():
        printing.result(line)


@shared
def reproduce(
    options: Report,
    name: Annotated[
        str | None, typer.Argument(help="A recorded bench; unless given, all are listed.", metavar="NAME")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures, if other than those in scikit-image were recorded.", metavar="DIR"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.", metavar="NAME")] = "auto",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the report.", metavar="DIR")] = None,
) -> None:
    """Run a bench again whose results are recorded in this package, and compare.

    Example: bcm-restore bench reproduce inpaint
    """
    from ..bench import recorded, report

    if name is None:
        for each in recorded.names():
            printing.result(f"{each}: {', '.join(recorded.data(each))}")
        return
    before = recorded.results(name, data.resolve().name if data else "scikit-image")
    given = {"data": data, "device": device, "output": output or Path(f"bench_{name}"), "json": options.json}
    now = run(benching(name, given))
    if not options.json:
        for line in report.compare(before, now).splitlines():
            printing.result(line)


def benching(name: str, given: dict[str, Any]) -> Benching:
    """The options of a recorded bench, and some of one's own."""
    from ..bench import recorded

    known = recorded.options(name)
    return Benching(**known | {"size": Size(known.get("size", Size.MEDIUM.value))} | given)


group = typer.Typer(
    name="bench",
    cls=usage.Group,
    help="Compare BCM with other methods by PSNR, SSIM, LPIPS and FID at equal numbers of network evaluations (NFE).",
    epilog="Example: bcm-restore bench --task inpaint",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
group.callback(invoke_without_command=True)(_bench)
for _command in (compare, reproduce):
    add(group, _command)
