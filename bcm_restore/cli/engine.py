"""A task, its model and its scheme, checked before any picture is read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import RestoreError
from .options import Common

if TYPE_CHECKING:
    from ..model import BCM
    from ..schemes import Scheme
    from ..tasks import Restoration, Task


@dataclass(frozen=True)
class Engine:
    """What a command restores with."""

    task: "Task"
    model: "BCM"
    nfe: int
    scheme: "Scheme | None"
    seed: int

    def run(self, image: Any, progress: Callable[[int, int], None], **inputs: Any) -> "Restoration":
        """Restores one picture; see `Task.run`."""
        return self.task.run(
            image, nfe=self.nfe, scheme=self.scheme, model=self.model, seed=self.seed, progress=progress, **inputs
        )


def prepare(name: str, options: Common) -> Engine:
    """Loads what the options name.

    Raises:
        RestoreError: the scheme, its NFE, the model or the device is not there or makes no sense.
    """
    from .. import tasks, weights

    task = tasks.get(name)
    scheme = _scheme(task, options)
    model = weights.load_model(options.model or weights.DEFAULT, device=options.device, dtype=options.precision.value)
    nfe = tasks.DEFAULT_NFE if options.nfe is None else options.nfe
    if scheme is None:
        _check_nfe(task, nfe, model.name)
    return Engine(task, model, nfe, scheme, options.seed)


def _scheme(task: "Task", options: Common) -> "Scheme | None":
    if options.scheme is None:
        return None
    scheme = task.choose(options.scheme, 0, "", "")
    if options.nfe is not None and options.nfe != scheme.nfe:
        raise RestoreError(f'scheme "{scheme}" has NFE {scheme.nfe}, not {options.nfe}; leave --nfe out')
    return scheme


def _check_nfe(task: "Task", nfe: int, model: str) -> None:
    """Refuses an NFE that no case has a default scheme for; a case that lacks it says so when a picture is one."""
    cases = task.cases(model)
    if not cases:
        raise RestoreError(f"{task.name} has no default schemes for model '{model}'; give a --scheme")
    if not any(nfe in table for table in cases.values()):
        task.choose(None, nfe, model, next(iter(cases)))
