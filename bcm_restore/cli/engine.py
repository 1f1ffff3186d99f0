"""A task, its model and its scheme, checked before any picture is read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import RestoreError
from ..files import digest
from . import printing
from .options import Common, Evaluation

if TYPE_CHECKING:
    from ..model import BCM, Label
    from ..schemes import Scheme
    from ..tasks import Task


SMALL = 50_000_000  # parameters: those of models that generate are many times more


@dataclass(frozen=True)
class Engine:
    """What a command restores with."""

    task: "Task"
    model: "BCM"
    nfe: int
    scheme: "Scheme | None"
    label: "Label | None"
    seed: int
    options: Common

    @property
    def header(self) -> dict[str, str | int]:
        """What the report says of it."""
        return header(self.task.name, self.model, self.seed)

    def settings(self) -> dict[str, Any]:
        """All that results depend on besides the files; see `settings`."""
        cases = self.task.cases(self.model)
        defaults = {case: str(table[self.nfe]) for case, table in cases.items() if self.nfe in table}
        return settings(self.task.name, str(self.scheme) if self.scheme else defaults, self.options)

    @property
    def how(self) -> dict[str, Any]:
        """What `Task.run` takes besides the picture."""
        return {name: getattr(self, name) for name in ("nfe", "scheme", "model", "label", "seed")}


def prepare(name: str, options: Common) -> Engine:
    """Loads what the options name.

    Raises:
        RestoreError: the scheme, its NFE, the model or the device is not there or makes no sense.
    """
    from .. import tasks

    task = tasks.get(name)
    scheme = given_scheme(options)
    model = load(options, options.model)
    nfe = tasks.DEFAULT_NFE if options.nfe is None else options.nfe
    if scheme is None:
        _check_nfe(task, nfe, model)
    return Engine(task, model, nfe, scheme, options.label, options.seed, options)


def header(task: str, model: "BCM", seed: int) -> dict[str, str | int]:
    """What a report says of a run."""
    return {"task": task, "model": model.name, "device": str(model.device), "seed": seed}


def settings(task: str, scheme: str | dict[str, str], options: Common) -> dict[str, Any]:
    """All that results depend on besides the files.

    Args:
        task: name of the task.
        scheme: the only one, or one for each case.
        options: what was asked for.
    """
    from .. import weights

    return {
        "task": task,
        "model": digest(weights.find(options.model or weights.DEFAULT)),
        "scheme": scheme,
        **{name: getattr(options, name) for name in ("seed", "label", "precision", "overlap", "quality")},
    }


def load(options: Evaluation, name: str | None) -> "BCM":
    """The model of that name or file, the default model for None, as the options want it.

    Raises:
        RestoreError: the model, its device or the class of the label is not there.
    """
    from .. import weights

    model = weights.load_model(
        name or weights.DEFAULT,
        device=options.device,
        dtype=options.precision.value,
        overlap=options.overlap,
    )
    model.labels(options.label)
    return model


def tell_small(model: "BCM", expected: str) -> None:
    """Says what is to be expected of a model that is too small to know what pictures show."""
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    if parameters < SMALL:
        printing.note(f"{model.name} is a small model ({parameters / 1e6:.1f} M parameters): {expected}")


def given_scheme(options: Common) -> "Scheme | None":
    """The scheme of `--scheme`; None where there is none.

    Raises:
        RestoreError: it makes no sense, leaves noise in the picture, or has not the NFE of `--nfe`.
    """
    from ..tasks import as_scheme

    if options.scheme is None:
        return None
    scheme = as_scheme(options.scheme)
    if options.nfe is not None and options.nfe != scheme.nfe:
        raise RestoreError(f'scheme "{scheme}" has NFE {scheme.nfe}, not {options.nfe}; leave --nfe out')
    return scheme


def _check_nfe(task: "Task", nfe: int, model: "BCM") -> None:
    """Refuses an NFE that no case has a default scheme for; a case that lacks it says so when a picture is one."""
    cases = task.cases(model)
    if not cases:
        raise RestoreError(f"{task.name} has no default schemes for model '{model.name}'; give a --scheme")
    if not any(nfe in table for table in cases.values()):
        task.default(nfe, model, next(iter(cases)))
