"""The recipes of the tasks."""

import inspect
from collections.abc import Mapping
from typing import Any

from ...errors import instead
from ..settings import NAMES, Settings
from .base import Recipe
from .chain import ChainRecipe
from .colorize import ColorizeRecipe
from .deblur import DeblurRecipe
from .denoise import DenoiseRecipe
from .inpaint import InpaintRecipe
from .jpeg import JpegRecipe
from .plain import PlainRecipe
from .reconstruct import ReconstructRecipe
from .super_resolve import SuperResolveRecipe

_OWN: dict[str, Any] = {
    "inpaint": InpaintRecipe,
    "jpeg": JpegRecipe,
    "jpeg-restore": JpegRecipe,
    "super-resolve": SuperResolveRecipe,
    "denoise": DenoiseRecipe,
    "colorize": ColorizeRecipe,
    "deblur": DeblurRecipe,
    "reconstruct": ReconstructRecipe,
    "restore": ChainRecipe,
}


def kinds(task: str) -> dict[str, Any] | None:
    """The types of the inputs of a task, by name; None: any.

    Raises:
        RestoreError: there is no such task.
    """
    if task not in _OWN:
        from ... import tasks
        from ...tasks import arguments

        return arguments.kinds(tasks.get(task))
    parameters = inspect.signature(_OWN[task].create).parameters.values()
    return {own.name: own.annotation for own in parameters if own.name != "settings"}


def recipe(task: str, settings: Settings, inputs: Mapping[str, Any]) -> Recipe:
    """The recipe of a task, or of the command of that name.

    Args:
        task: its name; also of another package.
        settings: of the run.
        inputs: the task's other inputs, see `create` of its recipe; for a task of another package, its `problem`.

    Raises:
        RestoreError: there is no such task, or an input is missing or not valid.
        TypeError: there is no input of that name.
    """
    if task not in _OWN:
        return PlainRecipe.create(settings, task=task, inputs=inputs)
    known = set(kinds(task) or ())
    for name in inputs:
        if name not in known:
            hint = instead(name, sorted(known | NAMES), "it takes")
            raise TypeError(f"{task} got an unexpected keyword argument '{name}'; {hint}")
    return _OWN[task].create(settings, **inputs)
