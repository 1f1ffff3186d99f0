"""The command that trains models."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RestoreError
from . import printing
from .options import Calculation, Report, shared

if TYPE_CHECKING:
    from ..train.config import Config
    from ..train.start import Prepared
    from ..train.trainer import Status, Trainer

MINUTE = 60.0


@shared
def train(
    options: Calculation,
    config: Annotated[Path, typer.Argument(help="TOML file of the training run.", metavar="CONFIG")],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Pictures, folders or .tar files, instead of the configuration's.", metavar="PATH"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Wall-clock budget, instead of the configuration's.", min=0.01, metavar="N"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in steps, instead of minutes.", min=1, metavar="N")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the run; default: runs/CONFIG.", metavar="FOLDER"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the folder's checkpoint.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.", metavar="NAME")] = "auto",
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write logs and pictures for TensorBoard.")
    ] = False,
) -> None:
    """Train a model, from scratch or from another model.

    The run's folder gets model.safetensors, which every command takes as --model; checkpoint.pt for --resume; and
    log.csv. Ctrl-C saves and ends the run. On several devices: torchrun --nproc-per-node 2 -m bcm_restore train CONFIG.

    Example: bcm-restore train examples/train.toml --data photos/ --minutes 60
    """
    from ..train import config as configs
    from ..train import start
    from ..train.records import Board, Log

    if minutes is not None and steps is not None:
        raise RestoreError("--minutes and --steps both set the budget; give one")
    chosen = start.with_options(configs.read_config(config), sources=tuple(data or ()), minutes=minutes, steps=steps)
    if not chosen.data.sources:
        raise RestoreError(f"no pictures to train on: give --data FOLDER, or 'sources' in the [data] of {config}")
    folder = output or Path("runs") / config.stem
    _check_folder(folder, resume)
    prepared = start.prepare(chosen, folder, device)
    trainer = prepared.trainer
    if resume:
        trainer.resume()
    first = trainer.rank == 0
    reports: list[Callable[[Status], None]] = []
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        reports = [Log(folder, resume)]
        if tensorboard:
            reports.append(Board(folder, trainer))
        if not options.json:
            _introduce(prepared, chosen, folder)
    last = _run(trainer, reports, quiet=options.json or not first)
    if first and last is not None:
        _conclude(last, folder, options)


def _check_folder(folder: Path, resume: bool) -> None:
    """Refuses to write over another run."""
    from ..train.checkpoints import CHECKPOINT

    if folder.exists() and not folder.is_dir():
        raise RestoreError(f"{folder}: is a file; give another -o")
    if not resume and (folder / CHECKPOINT).exists():
        raise RestoreError(f"{folder}: contains another run; resume it with --resume, or give another -o")


def _run(trainer: "Trainer", reports: list[Callable[["Status"], None]], quiet: bool) -> "Status | None":
    """Trains, and returns the last status."""
    from .training_view import View

    last: Status | None = None

    def report(status: "Status") -> None:
        nonlocal last
        last = status
        for each in reports:
            each(status)
        view(status)

    with View(quiet, "compiling, no step yet" if trainer.compiles else "no step yet") as view, _signals(trainer):
        try:
            trainer.run(report)
        except KeyboardInterrupt:
            saved = f"stopped within step {trainer.steps + 1}" if trainer.stepping else f"saved at step {trainer.steps}"
            printing.note(f"{saved}; --resume resumes the run")
            raise
    return last


@contextlib.contextmanager
def _signals(trainer: "Trainer") -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the current step; a second signal ends it at once."""

    def ask(number: int, frame: Any) -> None:
        if trainer.stop:
            raise KeyboardInterrupt
        trainer.stop = True
        with contextlib.suppress(RuntimeError):  # the signal came while something was printed
            printing.note("stopping after this step; Ctrl-C again stops at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _introduce(prepared: "Prepared", config: "Config", folder: Path) -> None:
    trainer = prepared.trainer
    for line in prepared.skipped:
        printing.note(f"skipped {line}")
    skipped = f", {len(prepared.skipped)} skipped" if prepared.skipped else ""
    size = sum(parameter.numel() for parameter in trainer.network.parameters()) / 1e6
    processes = f"{trainer.world} processes, " if trainer.world > 1 else ""
    printing.note(f"{prepared.pictures} pictures, {prepared.held_out} more for validation{skipped}")
    budget = f"{config.run.minutes:g} minutes" if config.run.minutes is not None else f"{config.run.steps} steps"
    printing.note(
        f"{config.objective.name}, {size:.1f} M parameters, {processes}{trainer.device}, {budget}, in {folder}"
    )
    if trainer.compiles:
        printing.note("compiling in the first step: minutes on a CPU, which are part of the budget")


def _conclude(last: "Status", folder: Path, options: Report) -> None:
    from ..train.trainer import MODEL

    model = folder / MODEL
    if options.json:
        facts = {"model": str(model), "steps": last.step, "seconds": round(last.seconds, 1)}
        printing.document({**facts, "losses": last.losses, "scores": last.scores})
        return
    printing.result(f"{os.fspath(model)}: {last.step} steps in {last.seconds / MINUTE:.1f} minutes")
