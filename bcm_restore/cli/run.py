"""`bcm-restore run TASK`: any task; tasks of other packages have an option for each declared input."""

import inspect
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RestoreError, describe
from . import groups, usage
from .groups import add
from .interpolate import interpolate
from .options import Batch, Inputs, shared
from .restore import colorize, deblur, denoise, inpaint, jpeg_restore, restore, super_resolve

if TYPE_CHECKING:
    from ..tasks import Input, Task


class _Tasks(usage.Group):
    """The tasks of this package by their own commands; tasks of other packages are looked up when needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all tasks, without importing them."""
        return sorted({*super().list_commands(ctx), *(point.name for point in entry_points(group="bcm_restore.tasks"))})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a task; for a task that cannot be loaded, a command that reports why.

        Raises:
            RestoreError: there is no such task.
        """
        if own := super().get_command(ctx, cmd_name):
            return own
        from .. import tasks

        try:
            function = _restoring(cmd_name, tasks.get(cmd_name))
        except Exception as error:
            if cmd_name not in self.list_commands(ctx):
                raise
            function = _unusable(error)
        app = typer.Typer(add_completion=False)
        add(app, shared(function), cmd_name)
        return typer.main.get_command(app)


def _unusable(error: Exception) -> Any:
    """The function of a command that cannot be run."""

    def run(arguments: Inputs, options: Batch) -> None:
        raise error

    run.__doc__ = f"""Cannot be run: {describe(error)}.

    Example: bcm-restore run inpaint photo.png --mask mask.png"""
    return run


def _restoring(name: str, task: "Task") -> Any:
    """The function of a task's command, with a parameter for each declared input."""
    from ..batch.recipes.plain import RESERVED

    def run(arguments: Inputs, options: Batch, **inputs: Any) -> None:
        restore(name, arguments, options, **{key: value for key, value in inputs.items() if value is not None})

    for declared in task.inputs:
        if declared.name in RESERVED:
            raise RestoreError(f"task '{name}' has an input '{declared.name}', an option of every command; rename it")
    common = list(inspect.signature(run).parameters.values())[:2]
    run.__signature__ = inspect.Signature([*common, *map(_parameter, task.inputs)])  # type: ignore[attr-defined]
    run.__doc__ = f"""Run the task {task.name}, which {task.summary}.

    The output is photo_{task.name}.png beside photo.png, or the folder dir_{task.name} beside dir.

    Example: bcm-restore run {name} photo.png"""
    return run


def _parameter(declared: "Input") -> inspect.Parameter:
    """An input as an option."""
    numeric = declared.kind in (int, float)
    metavars: dict[Any, str | None] = {bool: None, str: "TEXT", Path: "FILE"}
    option = typer.Option(
        f"--{declared.name.replace('_', '-')}",
        help=declared.help,
        min=declared.minimum if numeric else None,
        max=declared.maximum if numeric else None,
        metavar=metavars.get(declared.kind, "N"),
    )
    kind: Any = declared.kind if declared.kind is bool or declared.required else declared.kind | None
    default = bool(declared.default) if declared.kind is bool else declared.default
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if declared.required else default,
        annotation=Annotated[kind, option],
    )


group = groups.group(
    "run",
    "Run any task, also of another package, with its own inputs as options.",
    "bcm-restore run inpaint photo.png --mask mask.png",
    _Tasks,
)


for _name, _own in (
    ("inpaint", inpaint),
    ("jpeg", jpeg_restore),
    ("super-resolve", super_resolve),
    ("denoise", denoise),
    ("colorize", colorize),
    ("interpolate", interpolate),
    ("deblur", deblur),
):
    add(group, _own, _name)
