"""Bidirectional consistency models and their first estimate."""

from typing import Any

import numpy as np
import torch

from ... import __version__, schemes, tasks
from ...errors import NothingToRestore, RestoreError
from ...model import BCM, Label
from ...schemes import Scheme
from ...tasks.arrays import to_tensor
from ..base import Case, Contestant, Sample


class Ours(Contestant):
    """A model with the default schemes of one NFE, or with one scheme.

    Args:
        task: name of the task.
        model: a loaded model.
        model_identity: identifies the model's weights.
        schedule: the NFE of the default schemes, or a scheme.
        family: name of the curve.
        label, seed: see `Task.run`.
        informed: whether `denoise` gets the level of the noise; otherwise it is measured, as for users.
    """

    def __init__(
        self,
        task: str,
        model: BCM,
        model_identity: dict[str, Any],
        schedule: int | Scheme,
        *,
        family: str = "BCM",
        label: Label | None = None,
        seed: int = 0,
        informed: bool = False,
    ) -> None:
        self.task, self.family, self.model = tasks.get(task), family, model
        self.nfe = schedule if isinstance(schedule, int) else schedule.nfe
        self.name = f"{family}, NFE {schedule}" if isinstance(schedule, int) else f'{family}, "{schedule}"'
        self.name += ", sigma given" * informed
        self._options: dict[str, Any] = {"model": model, "label": label, "seed": seed}
        self._options |= {"nfe": schedule} if isinstance(schedule, int) else {"scheme": schedule}
        self._scheme = schedule if isinstance(schedule, Scheme) else None
        self._informed = informed
        self._identity = {"model": model_identity, "label": label, "seed": seed, "version": __version__}

    def identity(self) -> dict[str, Any]:
        """The model, the schemes, the label, the seed and this package's version."""
        own = {"informed": True} if self._informed else {}
        return {**self._identity, **own, "schemes": str(self._scheme) if self._scheme else self._defaults()}

    def _defaults(self) -> dict[str, str]:
        """The default schemes at its NFE, by case."""
        cases = self.task.cases(self.model)
        return {case: str(table[self.nfe]) for case, table in cases.items() if self.nfe in table}

    def suits(self, case: Case) -> bool:
        """All cases, but a given level needs one whose level is known."""
        return not (self._informed and case.blind)

    def check(self, case: Case, shapes: Any) -> None:
        """Checks that there are default schemes at its NFE, or that the model and the task support its scheme.

        Raises:
            RestoreError: names the NFE or the scheme.
        """
        if self._scheme:
            schemes.check(tasks.as_scheme(self._scheme), self.model, t0=1.0)
        elif not self._defaults():
            raise RestoreError(f"{self.name}: {self.task.name} has no default schemes at that NFE; change --nfe")

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The task's result; for an interpolation, all frames side by side, decoded endpoints included.

        A picture that the task leaves alone is returned as it is.
        """
        example = sample.example
        if case.task == "interpolate":
            pair = list(example.damaged)
            return np.concatenate(self.task.restore(pair, exact=False, **example.inputs, **self._options), axis=1)
        inputs = {} if case.task == "denoise" and not self._informed else example.inputs
        try:
            return self.task.restore(example.damaged, **inputs, **self._options)
        except NothingToRestore:
            return example.damaged


class FirstEstimate(Contestant):
    """The tasks' first estimate, before any network evaluation."""

    name = family = "first estimate"
    nfe = 0

    def identity(self) -> dict[str, Any]:
        """This package's version."""
        return {"name": self.name, "version": __version__}

    def suits(self, case: Case) -> bool:
        """Inpainting, super-resolution and deblurring; a JPEG's first estimate is the JPEG itself."""
        return case.task in ("inpaint", "super-resolve", "deblur")

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The first estimate of the task's inverse problem."""
        task, example = tasks.get(case.task), sample.example
        x, back = to_tensor(example.damaged)
        with torch.no_grad():
            estimate = task.problem(x, **example.inputs).x
        return task.finish(back(estimate), example.damaged, **example.inputs)
