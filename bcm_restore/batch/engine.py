"""A task, its model and its scheme, checked before any picture is read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import RestoreError
from ..files import digest
from .outcomes import Header
from .settings import Settings

if TYPE_CHECKING:
    from ..model import BCM
    from ..schemes import Scheme
    from ..tasks import Task


SMALL = 50_000_000  # parameters; models that generate objects have many times more


@dataclass(frozen=True)
class Engine:
    """The task, model and scheme of a run."""

    task: "Task"
    model: "BCM"
    nfe: int
    scheme: "Scheme | None"
    settings: Settings

    @property
    def header(self) -> Header:
        """The facts that all pictures share."""
        return header(self.task.name, self.model, self.settings.seed)

    def fingerprint(self) -> dict[str, Any]:
        """Everything that results depend on besides the files; see `fingerprint`."""
        cases = self.task.cases(self.model)
        defaults = {case: str(table[self.nfe]) for case, table in cases.items() if self.nfe in table}
        return fingerprint(self.task.name, str(self.scheme) if self.scheme else defaults, self.settings)

    @property
    def run_kwargs(self) -> dict[str, Any]:
        """The keyword arguments of `Task.run` that all pictures share."""
        own = {name: getattr(self, name) for name in ("nfe", "scheme", "model")}
        return own | {"label": self.settings.label, "seed": self.settings.seed}


def prepare(task: str, settings: Settings, model: "BCM | None" = None) -> Engine:
    """Loads the task and the model that the settings name; `model`: the model, if it is already loaded.

    Raises:
        RestoreError: the task, the scheme, its NFE, the model or the device is not found or not valid.
    """
    from .. import tasks

    found = tasks.get(task)
    scheme = given_scheme(settings)
    model = model or load(settings)
    nfe = found.default_nfe if settings.nfe is None else settings.nfe
    if scheme is None:
        _check_nfe(found, nfe, model)
    return Engine(found, model, nfe, scheme, settings)


def header(task: str, model: "BCM", seed: int) -> Header:
    """The facts that all pictures of a run share."""
    return {"task": task, "model": model.name, "device": str(model.device), "seed": seed}


def fingerprint(task: str, scheme: str | dict[str, str], settings: Settings) -> dict[str, Any]:
    """Everything that results depend on besides the files.

    Args:
        task: name of the task.
        scheme: the only one, or one for each case.
        settings: of the run.
    """
    from .. import weights

    label = None if settings.label is None else str(settings.label)
    return {
        "task": task,
        "model": digest(weights.find(settings.model or weights.DEFAULT)),
        "scheme": scheme,
        "label": label,
        **{name: getattr(settings, name) for name in ("seed", "precision", "overlap", "quality")},
    }


def load(settings: Settings) -> "BCM":
    """Loads the model, with the options of the settings.

    Raises:
        RestoreError: the model, its device or the class of the label is not found.
    """
    from .. import weights

    model = weights.load_model(
        settings.model or weights.DEFAULT,
        device=settings.device,
        dtype=settings.precision,
        overlap=settings.overlap,
    )
    model.labels(settings.label)
    return model


def small_model_note(model: "BCM", expected: str) -> str | None:
    """A note on the limits of a model that is too small to know objects; None for a large one."""
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    if parameters >= SMALL:
        return None
    return f"{model.name} is a small model ({parameters / 1e6:.1f} M parameters): {expected}"


def given_scheme(settings: Settings) -> "Scheme | None":
    """The scheme of the settings; None if they have none.

    Raises:
        RestoreError: it is malformed, leaves noise in the picture, or has another NFE than the settings.
    """
    from ..tasks import as_scheme

    if settings.scheme is None:
        return None
    scheme = as_scheme(settings.scheme)
    if settings.nfe is not None and settings.nfe != scheme.nfe:
        raise RestoreError(f'scheme "{scheme}" has NFE {scheme.nfe}, not {settings.nfe}; leave --nfe out')
    return scheme


def _check_nfe(task: "Task", nfe: int, model: "BCM") -> None:
    """Refuses an NFE without a default scheme in any case; a single case that lacks it fails with its pictures."""
    cases = task.cases(model)
    if not cases:
        raise RestoreError(f"{task.name} has no default schemes for model '{model.name}'; give a --scheme")
    if not any(nfe in table for table in cases.values()):
        task.default(nfe, model, next(iter(cases)))
