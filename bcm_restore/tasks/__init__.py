"""The tasks: what damage can be undone, by name.

    from bcm_restore import tasks
    restored = tasks.get("super-resolve").restore(image, scale=4)

Other packages add tasks through the entry-point group `bcm_restore.tasks`: a name and a subclass of `Task`, whose
`inputs` are the options of `bcm-restore run NAME`.
"""

import difflib
import functools
from importlib.metadata import entry_points

from ..errors import RestoreError
from .base import DEFAULT_NFE, NFES, Problem, Restoration, Task, as_scheme
from .inpaint import Inpaint
from .inputs import Input
from .interpolate import Interpolate
from .jpeg import Jpeg
from .super_resolve import SuperResolve

COMMANDS = {"jpeg-restore": "jpeg"}  # what the command line calls a task, where that is another name

_OWN: tuple[type[Task], ...] = (Inpaint, Jpeg, SuperResolve, Interpolate)


def names() -> list[str]:
    """Names of all tasks, those of other packages included, in alphabetical order."""
    return sorted({task.name for task in _OWN} | {point.name for point in _foreign()})


@functools.cache
def get(name: str) -> Task:
    """The task of that name, or of the command of that name.

    Raises:
        RestoreError: there is none; close names are offered.
    """
    for task in _OWN:
        if task.name == COMMANDS.get(name, name):
            return task()
    for point in _foreign():
        if point.name == name:
            return point.load()()
    close = difflib.get_close_matches(name, [*names(), *COMMANDS], 1) or names()
    raise RestoreError(f"task '{name}' is not known; did you mean {', '.join(close)}?")


def _foreign() -> list:
    return list(entry_points(group="bcm_restore.tasks"))


__all__ = [
    "DEFAULT_NFE",
    "NFES",
    "Inpaint",
    "Input",
    "Interpolate",
    "Jpeg",
    "Problem",
    "Restoration",
    "SuperResolve",
    "Task",
    "as_scheme",
    "get",
    "names",
]
