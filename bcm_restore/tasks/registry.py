"""The tasks of this package and of others, by name."""

import functools
from importlib.metadata import entry_points

from ..errors import RestoreError, instead
from .base import Task
from .colorize import Colorize
from .deblur import Deblur
from .denoise import Denoise
from .inpaint import Inpaint
from .interpolate import Interpolate
from .jpeg import Jpeg
from .super_resolve import SuperResolve

COMMANDS = {"jpeg-restore": "jpeg"}  # commands whose name differs from the task's

_OWN: tuple[type[Task], ...] = (Inpaint, Jpeg, SuperResolve, Denoise, Deblur, Colorize, Interpolate)


def names() -> list[str]:
    """The names of all tasks, including those of other packages, in alphabetical order."""
    return sorted({task.name for task in _OWN} | {point.name for point in _registered()})


@functools.cache
def get(name: str) -> Task:
    """Looks up a task by its name or the name of its command.

    Raises:
        RestoreError: no such task; suggests similar names.
    """
    for task in _OWN:
        if task.name == COMMANDS.get(name, name):
            return task()
    for point in _registered():
        if point.name == name:
            return point.load()()
    if not isinstance(name, str):
        raise RestoreError(f"task {name!r} is a {type(name).__name__}; give a task's name: {', '.join(names())}")
    raise RestoreError(f"task '{name}' is not known; {instead(name, dict.fromkeys([*names(), *COMMANDS]))}")


def _registered() -> list:
    return list(entry_points(group="bcm_restore.tasks"))
