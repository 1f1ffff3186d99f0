"""Bidirectional consistency models, and where they start from."""

from typing import Any

import numpy as np
import torch

from ... import __version__, schemes, tasks
from ...errors import RestoreError
from ...model import BCM, Label
from ...schemes import Scheme
from ...tasks.arrays import to_tensor
from ..base import Case, Contestant, Sample


class Ours(Contestant):
    """A model with its default schemes of one NFE, or with one scheme.

    Args:
        task: name of the task.
        model: a loaded model.
        model_identity: tells the model's weights from all others.
        how: the NFE of the default schemes, or a scheme.
        family: name of the curve.
        label, seed: see `Task.run`.
    """

    def __init__(
        self,
        task: str,
        model: BCM,
        model_identity: dict[str, Any],
        how: int | Scheme,
        *,
        family: str = "BCM",
        label: Label | None = None,
        seed: int = 0,
    ) -> None:
        self.task, self.family, self.model = tasks.get(task), family, model
        self.nfe = how if isinstance(how, int) else how.nfe
        self.name = f"{family}, NFE {how}" if isinstance(how, int) else f'{family}, "{how}"'
        self._options: dict[str, Any] = {"model": model, "label": label, "seed": seed}
        self._options |= {"nfe": how} if isinstance(how, int) else {"scheme": how}
        self._scheme = how if isinstance(how, Scheme) else None
        self._identity = {"model": model_identity, "label": label, "seed": seed, "version": __version__}

    def identity(self) -> dict[str, Any]:
        """The model, the schemes, the label, the seed and this package's version."""
        return {**self._identity, "schemes": str(self._scheme) if self._scheme else self._defaults()}

    def _defaults(self) -> dict[str, str]:
        """The default schemes of its NFE, by case."""
        cases = self.task.cases(self.model)
        return {case: str(table[self.nfe]) for case, table in cases.items() if self.nfe in table}

    def check(self, case: Case, shapes: Any) -> None:
        """Refuses an NFE without default schemes, and a scheme that the model or the task can't run.

        Raises:
            RestoreError: says which.
        """
        if self._scheme:
            schemes.check(tasks.as_scheme(self._scheme), self.model, t0=1.0)
        elif not self._defaults():
            raise RestoreError(f"{self.name}: {self.task.name} has no default schemes with that NFE; change --nfe")

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """What the task itself gives; of an interpolation, all frames as they come back, side by side."""
        example = sample.example
        if case.task == "interpolate":
            pair = list(example.damaged)
            return np.concatenate(self.task.restore(pair, exact=False, **example.inputs, **self._options), axis=1)
        return self.task.restore(example.damaged, **example.inputs, **self._options)


class FirstEstimate(Contestant):
    """What the tasks start from, before any evaluation: how much of a result is not the network's."""

    name = family = "first estimate"
    nfe = 0

    def identity(self) -> dict[str, Any]:
        """This package's version."""
        return {"name": self.name, "version": __version__}

    def suits(self, case: Case) -> bool:
        """Inpainting and super-resolution: a JPEG's is the JPEG itself."""
        return case.task in ("inpaint", "super-resolve")

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The first estimate of the task's problem."""
        task, example = tasks.get(case.task), sample.example
        x, back = to_tensor(example.damaged)
        with torch.no_grad():
            estimate = task.problem(x, **example.inputs).x
        return task.finish(back(estimate), example.damaged, **example.inputs)
