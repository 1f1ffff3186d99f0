"""Models that are trained for one kind of damage: I2SB and Palette."""

from typing import Any

import numpy as np
import torch

from ... import __version__, tasks
from ...model import Noise
from ...supervised import Damaged, SupervisedModel
from ...tasks.arrays import to_tensor
from ...train.damage import first_estimate
from ..base import Case, Contestant, Sample


class Supervised(Contestant):
    """A model with the sampler of its process, at one NFE.

    Args:
        model: a loaded model.
        model_identity: identifies the model's weights.
        nfe: number of network evaluations.
        family: name of the curve.
        seed: of the noise.
    """

    def __init__(
        self, model: SupervisedModel, model_identity: dict[str, Any], nfe: int, *, family: str, seed: int = 0
    ) -> None:
        self.model, self.nfe, self.family, self._seed, self._steps = model, nfe, family, seed, nfe
        self.name = f"{family}, NFE {nfe}"
        self._identity = {"model": model_identity, "nfe": nfe, "seed": seed, "version": __version__}

    def identity(self) -> dict[str, Any]:
        """The model, the NFE, the seed and this package's version."""
        return self._identity

    def suits(self, case: Case) -> bool:
        """The task that it is trained for, also damage of other strength than in training."""
        return case.task == self.model.damage["task"]

    def restore(self, case: Case, sample: Sample) -> np.ndarray:
        """The sample of the process, as 8-bit pixels."""
        x, back = to_tensor(sample.example.damaged)
        task, example = tasks.get(case.task), sample.example
        hole = None if example.where is None else torch.from_numpy(example.where)[None, None]
        with torch.no_grad():
            damaged = Damaged(first_estimate(task, x, example), hole)
        restored = self.model.restore(damaged.to(self.model.device), self._steps, Noise([self._seed]))
        return task.finish(back(restored), example.damaged, **example.inputs)
