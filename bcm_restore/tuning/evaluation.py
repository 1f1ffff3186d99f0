"""Evaluates schemes on the damaged pictures of one case; runs shared parts of schemes only once."""

import dataclasses
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import schemes
from ..model import BCM, Noise
from ..operators import Mask, Operator, Resize
from ..schemes import Scheme, Setting, State
from ..simulation.degradations import Example
from ..tasks import Problem, Task
from ..tasks.arrays import to_tensor
from .scores import Metric
from .search import Trial
from .search_space import parts

BATCH = 8  # pictures at a time on a GPU; CPUs are fastest with one
CACHED = 12  # states of earlier schemes, for each batch


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """An example and its inverse problem, which does not depend on the scheme.

    Attributes:
        example: the damaged picture and the clean one.
        problem: the inverse problem of this picture.
        seed: of its noise.
    """

    example: Example
    problem: Problem
    seed: int


def prepare(task: Task, example: Example, seed: int, device: torch.device) -> Prepared:
    """Sets up the inverse problem of a damaged picture.

    Raises:
        RestoreError: the task cannot restore the picture.
    """
    image, _ = to_tensor(example.damaged)
    return Prepared(example, task.problem(image.to(device), **example.inputs), seed)


class Evaluator:
    """Evaluates schemes on the pictures of one case.

    Args:
        task: the task.
        model: the model.
        pictures: the pictures of the score.
        flat: pictures of one colour, for the flat error.
        metric: the metric of the score.
    """

    def __init__(
        self,
        task: Task,
        model: BCM,
        pictures: Sequence[Prepared],
        flat: Sequence[Prepared],
        metric: Metric,
    ) -> None:
        self.metric = metric
        self.pictures, self.flat = list(pictures), list(flat)
        size = BATCH if model.device.type == "cuda" else 1
        self._batches, self._flat_batches = (
            [_Batch(task, model, batch) for batch in batches(each, size)] for each in (pictures, flat)
        )
        self._timed = _Batch(task, model, pictures[:1])
        self._model = model
        self._highest_t0 = max((prepared.problem.t0 for prepared in (*pictures, *flat)), default=0.0)

    def trial(self, scheme: Scheme) -> Trial:
        """Evaluates a scheme on all pictures.

        Raises:
            RestoreError: the model or the task does not support a move.
        """
        self.check(scheme)
        values, flat_error = self._measure(scheme), self.flat_error(scheme)
        return Trial(scheme, self.metric.score(values, flat_error), values, flat_error)

    def check(self, scheme: Scheme) -> None:
        """Checks that a scheme can be run.

        Raises:
            RestoreError: the model does not support a move, or a level is out of bounds.
        """
        schemes.check(scheme, self._model, self._highest_t0)

    def baseline(self) -> dict[str, float]:
        """The metrics of the first estimates, before any network evaluation."""
        return self._measure(None)

    def flat_error(self, scheme: Scheme) -> float:
        """The largest error that the scheme adds to the first estimate of a flat picture.

        RMS on a scale of 0 to 255, in the hole if there is one: sqrt(after^2 - before^2).
        """
        added = [0.0]
        for batch in self._flat_batches:
            before, after = (batch.squared_errors(each) for each in (None, scheme))
            added += [b - a for a, b in zip(before, after, strict=True)]
        return math.sqrt(max(added))

    def results(self, scheme: Scheme) -> list[np.ndarray]:
        """The restored pictures (H, W, 3) uint8, in the order of the batches."""
        return [picture for batch in self._batches for picture in batch.pictures(scheme)]

    def seconds(self, scheme: Scheme) -> float:
        """The scheme's time for one picture, without the cache."""
        start = time.perf_counter()
        self._timed.solve(scheme)
        return time.perf_counter() - start

    def _measure(self, scheme: Scheme | None) -> dict[str, float]:
        """The mean metrics of a scheme; None: of the first estimates."""
        return self.metric.mean([row for batch in self._batches for row in batch.measure(self.metric, scheme)])


class _Batch:
    """One batch. Caches the states after the first parts of earlier schemes, which most candidates share."""

    def __init__(self, task: Task, model: BCM, batch: Sequence[Prepared]) -> None:
        self._task, self._model = task, model
        self.examples = [prepared.example for prepared in batch]
        self._problem = _stack([prepared.problem for prepared in batch])
        self._seeds = [prepared.seed for prepared in batch]
        self._backs = [to_tensor(example.damaged)[1] for example in self.examples]
        self._states: OrderedDict[tuple[Scheme, ...], tuple[State, list[Tensor]]] = OrderedDict()

    def pictures(self, scheme: Scheme | None) -> list[np.ndarray]:
        """The restored batch, (H, W, 3) uint8 each; None: the first estimates."""
        last = self._problem.x if scheme is None else self._advance(parts(scheme))
        x = self._task.united(last, self._problem)
        return [
            self._task.finish(back(one[None]), example.damaged, **example.inputs)
            for one, back, example in zip(x, self._backs, self.examples, strict=True)
        ]

    def measure(self, metric: Metric, scheme: Scheme | None) -> list[dict[str, float]]:
        """The metrics of each picture."""
        return [metric.measure(*pair) for pair in zip(self.pictures(scheme), self.examples, strict=True)]

    def squared_errors(self, scheme: Scheme | None) -> list[float]:
        """The mean squared error of each picture, on a scale of 0 to 255, where it was damaged."""
        pairs = zip(self.pictures(scheme), self.examples, strict=True)
        squares = [((result.astype(np.float64) - example.clean) ** 2, example.where) for result, example in pairs]
        return [float((square if where is None else square[where]).mean()) for square, where in squares]

    def solve(self, scheme: Scheme) -> Tensor:
        """Restores the batch with the task itself, without the cache."""
        [restored] = self._task.solve([self._problem], scheme, self._model, [Noise(self._seeds)])
        return restored

    def _advance(self, steps: tuple[Scheme, ...]) -> Tensor:
        problem, noise = self._problem, Noise(self._seeds)
        state, done = State(problem.x, problem.t0, remember=True), 0
        for count in range(len(steps) - 1, 0, -1):
            if steps[:count] in self._states:
                kept, generators = self._states[steps[:count]]
                self._states.move_to_end(steps[:count])
                state, done = dataclasses.replace(kept), count
                for generator, before in zip(noise.generators, generators, strict=True):
                    generator.set_state(before)
                break
        setting = Setting(self._model, problem.operator, problem.y, noise, problem.t0)
        for count in range(done + 1, len(steps) + 1):
            for move in steps[count - 1].moves:  # not `advance`, which drops what a later `renoise` needs
                schemes.step([state], move, [setting])
            if count < len(steps):
                self._cache(steps[:count], state, noise)
        return state.x

    def _cache(self, steps: tuple[Scheme, ...], state: State, noise: Noise) -> None:
        # a shallow copy is enough: moves replace a state's tensors and never write into them
        self._states[steps] = dataclasses.replace(state), [generator.get_state() for generator in noise.generators]
        if len(self._states) > CACHED:
            self._states.popitem(last=False)


def batches(prepared: Sequence[Prepared], size: int = BATCH) -> list[list[Prepared]]:
    """Groups pictures that can be restored together, up to `size`; JPEG files with coefficients are not grouped."""
    groups: dict[Any, list[Prepared]] = {}
    for one in prepared:
        groups.setdefault(_kind(one), []).append(one)
    return [group[n : n + size] for group in groups.values() for n in range(0, len(group), size)]


def _kind(prepared: Prepared) -> Any:
    """A key that is equal for problems that differ only in their pixels."""
    operator = prepared.problem.operator
    if isinstance(operator, Resize):
        return operator.image_size, operator.size
    if isinstance(operator, Mask):
        return type(operator), tuple(prepared.problem.x.shape)
    return id(prepared)


def _stack(problems: Sequence[Problem]) -> Problem:
    """Stacks problems into one; a single problem is returned as is."""
    first = problems[0]
    if len(problems) == 1:
        return first
    operator: Operator = first.operator
    if isinstance(operator, Mask):
        operator = _stack_masks([problem.operator for problem in problems if isinstance(problem.operator, Mask)])
    return dataclasses.replace(
        first,
        operator=operator,
        y=torch.cat([problem.y for problem in problems]),
        x=torch.cat([problem.x for problem in problems]),
    )


def _stack_masks(masks: Sequence[Mask]) -> Mask:
    """Stacks masks into one; either all of them have limits, or none."""
    limits = [mask.limits for mask in masks if mask.limits is not None]
    low_high = tuple(torch.cat(ends) for ends in zip(*limits, strict=True))
    known = torch.cat([mask.known for mask in masks])
    return type(masks[0])(known, (low_high[0], low_high[1]) if low_high else None)
