"""A tuner: clean pictures become an evaluator for each case of a task, and every case is searched at every NFE."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import RestoreError
from ..model import BCM
from ..operators import Mask
from ..schemes import Scheme
from ..simulation.degradations import Degradation
from ..tasks import NFES, Task
from .evaluation import Evaluator, Prepared, prepare
from .scores import Metric, sign
from .search import Search, Trial, frontier
from .search_space import Plan, SearchSpace, plan_of, scheme_of

FLAT_SIDE = 64  # of the flat pictures
FLAT_COLOURS = ((0, 0, 0), (128, 128, 128), (255, 255, 255), (30, 60, 200))
HIGHEST_T0 = 4.0  # levels that are multiples of t0 end there

OnResult = Callable[[str, int, Trial], None]  # called with case, NFE and the best trial so far


@dataclass(frozen=True)
class Found:
    """What was found for one case at one NFE.

    Attributes:
        case, nfe: which.
        search: what was tried.
        default: the present default scheme's trial; None where there is none.
        start: the metrics of the first estimates, before any evaluation.
    """

    case: str
    nfe: int
    search: Search
    default: Trial | None
    start: dict[str, float]


class Tuner:
    """Searches the schemes of a task.

    Args:
        task, model: what is tuned.
        pictures: clean, (H, W, 3) uint8 each.
        degradations: the variants of the task's damage.
        metric: what schemes are judged by.
        seed: of the noise; the damage depends on the picture's place alone.

    Attributes:
        evaluators: one for each case that the degradations make.
        found: what is known so far, also when `run` was interrupted.
    """

    def __init__(
        self,
        task: Task,
        model: BCM,
        pictures: Sequence[np.ndarray],
        degradations: dict[str, Degradation],
        metric: Metric,
        seed: int = 0,
    ) -> None:
        self.task, self.model, self.metric = task, model, metric
        prepared, flat = (
            [self._prepare(p, d, n, seed) for d in degradations.values() for n, p in enumerate(some)]
            for some in (pictures, flat_pictures())
        )
        self.evaluators = {
            case: Evaluator(task, model, _of(prepared, case), _of(flat, case), metric)
            for case in dict.fromkeys(one.problem.case for one in prepared)
        }
        self.found: list[Found] = []

    def _prepare(self, picture: np.ndarray, degrade: Degradation, number: int, seed: int) -> Prepared:
        example = degrade(picture, np.random.default_rng(number))
        return prepare(self.task, example, seed + number, self.model.device)

    def run(self, nfes: Sequence[int], starts: Sequence[Scheme], seconds: float, on_result: OnResult) -> None:
        """Searches every case at every NFE, each for an equal part of the time that is left.

        Args:
            nfes: numbers of evaluations.
            starts: schemes to begin with besides those known; each counts where its NFE is asked for.
            seconds: when they are over, no further scheme is tried; the present default always is.
            on_result: called with every improvement.

        Raises:
            RestoreError: the model can't run a start.
        """
        for evaluator in self.evaluators.values():
            for scheme in starts:
                evaluator.check(scheme)
        targets = [(case, nfe) for case in self.evaluators for nfe in sorted(set(nfes))]
        end = time.monotonic() + seconds
        for n, (case, nfe) in enumerate(targets):
            now = time.monotonic()
            deadline = now + max(end - now, 0.0) / (len(targets) - n)
            self._search(case, nfe, starts, deadline, on_result)

    def frontier(self, found: Found) -> list[Trial]:
        """The trials that no other of the same case and NFE beats in every metric, the best score first."""
        return frontier(found.search.trials.values(), {name: sign(name) for name in self.metric.names})

    def _search(self, case: str, nfe: int, starts: Sequence[Scheme], deadline: float, on_result: OnResult) -> None:
        evaluator, default = self.evaluators[case], self._default(case, nfe)
        search = Search(evaluator.trial, self._space(evaluator), deadline, lambda trial: on_result(case, nfe, trial))
        default_trial = search.trial(default) if default else None
        self.found.append(Found(case, nfe, search, default_trial, evaluator.baseline()))
        search.run(self._starts(case, nfe, default, starts))

    def _default(self, case: str, nfe: int) -> Scheme | None:
        """The default scheme; None where there is none, or one of another model's that this one can't run."""
        try:
            scheme = self.task.default(nfe, self.model, case)
            self.evaluators[case].check(scheme)
        except RestoreError:
            return None
        return scheme

    def _space(self, evaluator: Evaluator) -> SearchSpace:
        problem = evaluator.pictures[0].problem
        relative = problem.t0 > 0
        holes = self.model.level_maps and isinstance(problem.operator, Mask)
        return SearchSpace(relative, self.model.diagonal, holes, HIGHEST_T0 if relative else self.model.sigma_max)

    def _starts(self, case: str, nfe: int, default: Scheme | None, given: Sequence[Scheme]) -> list[Scheme]:
        """The present default, what was given, what lower NFEs or other defaults suggest, and the space's own."""
        space = self._space(self.evaluators[case])
        first = [default] if default else []
        first += [scheme for scheme in given if scheme.nfe == nfe]
        plans: list[Plan] = []
        lower = [found.search.best for found in self.found if found.case == case and found.nfe < nfe]
        if lower and lower[-1] and (plan := plan_of(lower[-1].scheme)):
            plans.append(space.longer(plan, nfe))
        if not default and (nearest := self._nearest_default(case, nfe)) and (plan := plan_of(nearest)):
            plans.append(space.longer(plan, nfe))
        plans += space.starts(nfe)
        return list(dict.fromkeys([*first, *(scheme_of(plan) for plan in plans if space.allows(plan))]))

    def _nearest_default(self, case: str, nfe: int) -> Scheme | None:
        return self._default(case, max((n for n in NFES if n <= nfe), default=1))


def _of(prepared: Sequence[Prepared], case: str) -> list[Prepared]:
    return [one for one in prepared if one.problem.case == case]


def flat_pictures() -> list[np.ndarray]:
    """(FLAT_SIDE, FLAT_SIDE, 3) uint8 each: of one colour, where what a bad scheme draws shows most."""
    return [np.full((FLAT_SIDE, FLAT_SIDE, 3), colour, np.uint8) for colour in FLAT_COLOURS]


def centre(picture: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture (H, W, 3), `side` or less each way."""
    spans = [
        slice((length - min(length, side)) // 2, (length + min(length, side)) // 2) for length in picture.shape[:2]
    ]
    return np.ascontiguousarray(picture[spans[0], spans[1]])


def evenly_spread(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[n * len(items) // count] for n in range(count)]
