"""The command that searches better schemes for a task."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..batch import inputs
from ..errors import RestoreError
from ..files import atomic_path
from . import printing
from .options import Calculation, Reading, numbers, shared

if TYPE_CHECKING:
    import numpy as np

    from ..schemes import Scheme
    from ..tuning.search import Trial
    from ..tuning.tuner import Found, Tuner

_model_option = functools.partial(typer.Option, rich_help_panel="Model")
_search_option = functools.partial(typer.Option, rich_help_panel="Search")

ENOUGH = 12  # pictures for a reliable ranking of schemes
SHOWN = 6  # schemes of a frontier; --json has all
USES = {
    "inpaint": "inpaint photo.png --mask mask.png",
    "jpeg": "jpeg-restore photo.jpg",
    "denoise": "denoise photo.png",
    "colorize": "colorize grey.png",
    "deblur": "deblur photo.png",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tuning(Reading, Calculation):
    """The options of `tune` besides the task and the pictures."""

    nfe: Annotated[
        list[str] | None,
        typer.Option("--nfe", help='Network evaluations: 4 (default), repeatable, or "1,2,4".', metavar="N"),
    ] = None
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", help="Only this degradation: text, quality-10, x4, ...; repeatable.", metavar="NAME"),
    ] = None
    metric: Annotated[
        str,
        _search_option("--metric", help='psnr, ssim, lpips, or a mix: "psnr=1,lpips=20".', metavar="METRIC"),
    ] = "psnr"
    start: Annotated[
        list[str] | None,
        _search_option("--start", help="A scheme to start from besides the default; repeatable.", metavar="TEXT"),
    ] = None
    minutes: Annotated[float, _search_option("--minutes", help="Time for the search.", min=0.0, metavar="X")] = 10.0
    pictures: Annotated[int, _search_option("--pictures", help="Most pictures to use.", min=1, metavar="N")] = 16
    crop: Annotated[int, _search_option("--crop", help="Side of the centre crops.", min=64, metavar="N")] = 192
    model: Annotated[
        str | None, _model_option("--model", help="Name of a model or path of its file.", metavar="NAME|FILE")
    ] = None
    device: Annotated[str, _model_option("--device", help="auto, cpu, cuda or cuda:1.", metavar="NAME")] = "auto"
    seed: Annotated[int, _model_option("--seed", help="Seed of the noise.", min=0, max=2**31, metavar="N")] = 0
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="TOML file for the schemes; default: TASK.toml.", metavar="FILE"),
    ] = None

    @property
    def nfes(self) -> list[int]:
        """The requested numbers of evaluations, in order."""
        return numbers(",".join(self.nfe or ["4"]))


@shared
def tune(
    options: Tuning,
    task: Annotated[
        str,
        typer.Option(
            help="inpaint, jpeg, super-resolve, denoise, deblur or colorize.", metavar="TASK", show_default=False
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(help="Clean pictures: a folder, file or quoted pattern; repeatable.", metavar="PATH"),
    ],
) -> None:
    """Search better schemes for a task, on clean pictures that are degraded synthetically.

    From the default and other starts, levels are searched by coordinate descent, then noise and moves. Schemes that
    draw patterns into flat areas rank below all that do not. The best of each case and NFE are written to a TOML file
    like those in tasks/; its other contents are kept. Ctrl-C ends the search and keeps the results so far.

    Example: bcm-restore tune --task super-resolve --variant x4 --nfe 1,2,4 --data photos/
    """
    target = Path(options.output or f"{task}.toml")
    given = _starts(options)
    tuner = _tuner(task, data, target, options)
    starts = [*given, *_written(target, tuner, options.nfes)]
    with _always(lambda: _finish(tuner, target, options)):
        tuner.run(options.nfes, starts, options.minutes * 60, _on_result)


@contextlib.contextmanager
def _always(finish: Callable[[], None]) -> Iterator[None]:
    """Finishes after Ctrl-C as well, but not after an error."""
    try:
        yield
    except KeyboardInterrupt:
        finish()
        raise
    finish()


def _starts(options: Tuning) -> "list[Scheme]":
    """The schemes of `--start`.

    Raises:
        RestoreError: one is malformed, leaves noise in the picture, or has an NFE that is not requested.
    """
    from .. import schemes

    starts = [schemes.parse(text) for text in options.start or []]
    for scheme in starts:
        if not scheme.ends_clean:
            raise RestoreError(f'--start "{scheme}" leaves noise in the picture; end it with "to 0" or "mean"')
        if scheme.nfe not in options.nfes:
            raise RestoreError(f'--start "{scheme}" has NFE {scheme.nfe}; ask for it with --nfe {scheme.nfe}')
    return starts


def _written(target: Path, tuner: "Tuner", nfes: list[int]) -> "list[Scheme]":
    """The schemes of an earlier run in the file, as further starts of the search."""
    from .. import schemes
    from ..tuning.tables import read_table

    cases = read_table(_read_target(target)).get(tuner.model.name, {})
    tables = [cases.get(case, {}) for case in tuner.evaluators]
    found = [schemes.parse(table[nfe]) for table in tables for nfe in nfes if nfe in table]
    return [scheme for scheme in found if scheme.ends_clean]


def _tuner(task: str, data: list[str], target: Path, options: Tuning) -> "Tuner":
    """Checks everything before any work, and degrades the pictures."""
    from .. import tasks, weights
    from ..simulation.degradations import variants
    from ..tuning.scores import parse_metric
    from ..tuning.tuner import Tuner

    chosen = tasks.get(task)
    degradations = variants(task, options.variant)
    _read_target(target)
    metric = parse_metric(options.metric)
    clean = _pictures(data, options)
    model = weights.load_model(options.model or weights.DEFAULT, device=options.device)
    return Tuner(chosen, model, clean, degradations, metric, options.seed)


def _pictures(data: list[str], options: Tuning) -> "list[np.ndarray]":
    """Centre crops (H, W, 3), uint8, of some pictures, evenly spread over all that were found.

    Raises:
        RestoreError: there is no picture, or none that is large enough.
    """
    from .. import images
    from ..bench.pictures import rgb
    from ..simulation.degradations import SMALLEST
    from ..tuning.tuner import centre, evenly_spread

    sources = inputs.expand(data, False, "(?!)").sources
    chosen = evenly_spread(sources, options.pictures)
    read = [images.read(source.path, max_pixels=options.most_pixels).pixels for source in chosen]
    large = [rgb(pixels) for pixels in read if min(pixels.shape[:2]) >= SMALLEST]
    if not large:
        raise RestoreError(f"--data {' '.join(data)}: no picture there is {SMALLEST}x{SMALLEST} or larger")
    if len(large) < len(read):
        printing.note(f"{len(read) - len(large)} of {len(read)} pictures left out: smaller than {SMALLEST}x{SMALLEST}")
    if len(large) < min(ENOUGH, options.pictures):
        printing.note(f"only {len(large)} pictures; {ENOUGH} or more rank schemes more reliably")
    return [centre(pixels, options.crop) for pixels in large]


def _read_target(target: Path) -> str:
    """The text of the file for the schemes, empty if it does not exist.

    Raises:
        RestoreError: it is another kind of file.
    """
    from ..tuning.tables import read_table

    if not target.exists():
        return ""
    try:
        text = target.read_text(encoding="utf-8")
        read_table(text)
    except (RestoreError, UnicodeDecodeError) as error:
        why = error if isinstance(error, RestoreError) else "it is not a text file"
        raise RestoreError(f"{target}: {why}; give another -o") from error
    return text


def _on_result(case: str, nfe: int, trial: "Trial") -> None:
    printing.note(f"{case}, NFE {nfe}: {_values(trial.values)}: {trial.scheme}")


def _finish(tuner: "Tuner", target: Path, options: Tuning) -> None:
    """Reports all results, then writes the best schemes: the report survives if writing fails."""
    best = _best(tuner)
    if options.json:
        printing.document(_document(tuner, target if best else None, options))
    else:
        for found in tuner.found:
            _print_found(tuner, found)
    if not best:
        printing.note("nothing was written: no scheme was tried yet")
        return
    _write(target, tuner.model.name, best)
    if not options.json:
        printing.result(f"wrote {target}")
        case, nfe = next((case, max(table)) for case, table in best.items())
        printing.result(f'use: bcm-restore {_use(tuner.task.name, case)} --scheme "{best[case][nfe]}"')


def _best(tuner: "Tuner") -> "dict[str, dict[int, Scheme]]":
    """The best scheme of each case and NFE that one was found for."""
    best: dict[str, dict[int, Scheme]] = {}
    for found in tuner.found:
        if found.search.best:
            best.setdefault(found.case, {})[found.nfe] = found.search.best.scheme
    return best


def _write(target: Path, model: str, best: "dict[str, dict[int, Scheme]]") -> None:
    from ..tuning.tables import merged

    text = merged(_read_target(target), model, best)
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _print_found(tuner: "Tuner", found: "Found") -> None:
    """Prints the results of one case and NFE: the best schemes, beside the default and the first estimate."""
    trials = found.search.trials.values()
    drew = sum(trial.penalised for trial in trials)
    printing.result(f"{found.case}, NFE {found.nfe}: {len(trials)} schemes tried, {drew} draw into flat areas")
    printing.result(f"  first estimate: {_values(found.start)}")
    if found.default is None:
        printing.result("  default: none")
    else:
        printing.result(f"  default: {_values(found.default.values)}{_drawn(found.default)}: {found.default.scheme}")
    for trial in tuner.frontier(found)[:SHOWN]:
        gains = [_gains(trial, found.default.values, "default")] if found.default else []
        gains.append(_gains(trial, found.start, "first estimate"))
        seconds = tuner.evaluators[found.case].seconds(trial.scheme)
        text = f"{_values(trial.values)}{_drawn(trial)} ({'; '.join(gains)}; {seconds:.2f} s per picture)"
        printing.result(f"  {text}: {trial.scheme}")


def _drawn(trial: "Trial") -> str:
    """A note on the error in flat areas, if it is too large."""
    return f", draws {trial.flat_error:.1f} of 255 into flat areas" if trial.penalised else ""


def _values(values: dict[str, float]) -> str:
    """ "27.31 dB", or "27.31 dB, lpips 0.2110"."""
    from ..tuning.scores import DECIMALS

    return ", ".join(
        f"{value:.{DECIMALS[name]}f} dB" if name == "psnr" else f"{name} {value:.{DECIMALS[name]}f}"
        for name, value in values.items()
    )


def _gains(trial: "Trial", over: dict[str, float], what: str) -> str:
    from ..tuning.scores import DECIMALS

    gains = [f"{value - over[name]:+.{DECIMALS[name]}f}" for name, value in trial.values.items()]
    return f"{', '.join(gains)} over the {what}"


def _use(task: str, case: str) -> str:
    return USES.get(task) or f"super-resolve photo.png --scale {case.removeprefix('x')}"


def _document(tuner: "Tuner", written: Path | None, options: Tuning) -> dict[str, Any]:
    """All trials, for `--json`."""

    def plain(trial: "Trial") -> dict[str, Any]:
        return {
            "scheme": str(trial.scheme), "score": trial.score, "metrics": trial.values, "flat_error": trial.flat_error,
        }  # fmt: skip

    return {
        "task": tuner.task.name,
        "model": tuner.model.name,
        "device": str(tuner.model.device),
        "seed": options.seed,
        "metric": str(tuner.metric),
        "output": None if written is None else str(written),
        "searches": [
            {
                "case": found.case,
                "nfe": found.nfe,
                "pictures": len(tuner.evaluators[found.case].pictures),
                "first_estimate": found.start,
                "default": plain(found.default) if found.default else None,
                "best": plain(found.search.best) if found.search.best else None,
                "frontier": [
                    {**plain(trial), "seconds": tuner.evaluators[found.case].seconds(trial.scheme)}
                    for trial in tuner.frontier(found)
                ],
                "trials": [plain(trial) for trial in found.search.trials.values()],
            }
            for found in tuner.found
        ],
    }
