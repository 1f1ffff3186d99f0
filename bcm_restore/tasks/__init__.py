"""The restoration tasks, by name.

    from bcm_restore import tasks
    restored = tasks.get("super-resolve").restore(image, scale=4)

    clean = tasks.chain("jpeg, super-resolve x2").restore(image)

`Custom(operator)` is a task for an operator of your own, also for deepinv's physics; it is not in the registry.

Other packages add tasks through the entry-point group `bcm_restore.tasks`: a name and a subclass of `Task`, whose
`inputs` become the options of `bcm-restore run NAME`.
"""

from ..task_inputs import Input
from .base import DEFAULT_NFE, NFES, Problem, Restoration, Task, as_scheme
from .chain import Chain, chain
from .colorize import Colorize
from .custom import Custom
from .deblur import Deblur
from .denoise import Denoise
from .inpaint import Inpaint
from .interpolate import Interpolate
from .jpeg import Jpeg
from .registry import COMMANDS, get, names
from .super_resolve import SuperResolve

__all__ = [
    "COMMANDS",
    "DEFAULT_NFE",
    "NFES",
    "Chain",
    "Colorize",
    "Custom",
    "Deblur",
    "Denoise",
    "Inpaint",
    "Input",
    "Interpolate",
    "Jpeg",
    "Problem",
    "Restoration",
    "SuperResolve",
    "Task",
    "as_scheme",
    "chain",
    "get",
    "names",
]
