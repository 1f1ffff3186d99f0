"""The root of the command line: its commands, exit statuses and signals.

Only light modules are imported before a command runs: torch takes seconds to import, and `--help` must not.
"""

import signal
import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer

from .. import __version__
from . import printing, startup, usage
from .bench import group as bench
from .generate import generate
from .groups import add
from .info import info, tasks
from .interpolate import interpolate
from .restore import colorize, deblur, denoise, inpaint, jpeg_restore, reconstruct, restore_, super_resolve
from .run import group as run
from .train import train
from .tune import tune
from .web import web
from .weights import group as weights

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run like Ctrl-C, with cleanup."""


class _Shell(usage.Group):
    """Turns every error into one line on stderr and an exit status: 2, or 130 after Ctrl-C and 143 after SIGTERM.

    If the reader of stdout has closed it, typer exits with status 1 and without a line.
    """

    def main(self, *args: Any, **more: Any) -> NoReturn:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = printing.warning
                status = super().main(*args, **{**more, "standalone_mode": False})
        except typer.Abort:
            status = INTERRUPTED
        except Exception as error:
            printing.note(f"error: {usage.describe(error)}")
            status = 2
        sys.exit(status or 0)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            printing.note("interrupted")
            raise typer.Exit(TERMINATED if isinstance(stop, Terminated) else INTERRUPTED) from None


app = typer.Typer(
    name="bcm-restore",
    cls=_Shell,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_COMMANDS = (
    inpaint,
    jpeg_restore,
    super_resolve,
    denoise,
    deblur,
    colorize,
    restore_,
    interpolate,
    generate,
    reconstruct,
    web,
    train,
    tune,
    tasks,
    info,
)

for _command in _COMMANDS:
    add(app, _command)
app.add_typer(run)
app.add_typer(bench)
app.add_typer(weights)


def _show_version(wanted: bool) -> None:
    if wanted:
        printing.result(f"bcm-restore {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Restore pictures with one generative model and a few network evaluations, without training for the damage.

    Fill holes, clean JPEGs, enlarge, denoise, colorize, and interpolate: bcm-restore COMMAND --help shows how.
    """
    if context.invoked_subcommand is None:
        printing.result(context.get_help())


def main() -> None:
    """Runs the command line of this process."""
    startup.prepare()
    stop_when_terminated()
    app()


def stop_when_terminated() -> None:
    """Makes SIGTERM end this process as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: Any) -> NoReturn:
    raise Terminated
