"""Searches schemes for every case of a task at every NFE, on clean pictures with simulated degradations."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import NothingToRestore, RestoreError
from ..model import BCM
from ..operators import Blur, Mask
from ..schemes import Scheme
from ..simulation.degradations import Degradation
from ..tasks import NFES, Task
from .evaluation import Evaluator, Prepared, prepare
from .scores import Metric, sign
from .search import Search, Trial, frontier
from .search_space import Plan, SearchSpace, plan_of, scheme_of

FLAT_SIDE = 64  # of the flat pictures, in pixels
FLAT_COLOURS = ((0, 0, 0), (128, 128, 128), (255, 255, 255), (30, 60, 200))
HIGHEST_T0, HIGHEST_T0_BLUR = 4.0, 20.0  # highest level, as a multiple of t0

OnResult = Callable[[str, int, Trial], None]  # called with case, NFE and the best trial so far


@dataclass(frozen=True)
class Found:
    """The search of one case at one NFE.

    Attributes:
        case, nfe: the case and the NFE.
        search: the search with its trials.
        default: the trial of the current default scheme, if any.
        start: the metrics of the first estimates, before any network evaluation.
    """

    case: str
    nfe: int
    search: Search
    default: Trial | None
    start: dict[str, float]


class Tuner:
    """Searches the schemes of a task.

    Args:
        task, model: the task and the model to tune.
        pictures: clean pictures, (H, W, 3) uint8 each.
        degradations: the variants of the task's degradation.
        metric: the metric of the score.
        seed: of the noise; the degradation depends only on the picture's index.

    Attributes:
        evaluators: one for each case of the degradations.
        found: the searches so far, also after an interruption.
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
            [
                one
                for degrade in degradations.values()
                for n, picture in enumerate(each)
                if (one := self._prepare(picture, degrade, n, seed))
            ]
            for each in (pictures, flat_pictures())
        )
        self.evaluators = {
            case: Evaluator(task, model, _of_case(prepared, case), _of_case(flat, case), metric)
            for case in dict.fromkeys(one.problem.case for one in prepared)
        }
        self.found: list[Found] = []

    def _prepare(self, picture: np.ndarray, degrade: Degradation, number: int, seed: int) -> Prepared | None:
        """The inverse problem of a degraded picture; None: the task would leave it alone."""
        example = degrade(picture, np.random.default_rng(number))
        try:
            return prepare(self.task, example, seed + number, self.model.device)
        except NothingToRestore:
            return None

    def run(self, nfes: Sequence[int], starts: Sequence[Scheme], seconds: float, on_result: OnResult) -> None:
        """Searches every case at every NFE, each with an equal share of the remaining time.

        Args:
            nfes: numbers of network evaluations.
            starts: further schemes to start from, each used at its own NFE.
            seconds: time budget; the current default is evaluated in any case.
            on_result: called with every improvement.

        Raises:
            RestoreError: the model cannot run a start.
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
        """The Pareto frontier of a search, the best score first."""
        return frontier(found.search.trials.values(), {name: sign(name) for name in self.metric.names})

    def _search(self, case: str, nfe: int, starts: Sequence[Scheme], deadline: float, on_result: OnResult) -> None:
        evaluator, default = self.evaluators[case], self._default(case, nfe)
        search = Search(evaluator.trial, self._space(evaluator), deadline, lambda trial: on_result(case, nfe, trial))
        default_trial = search.trial(default) if default else None
        self.found.append(Found(case, nfe, search, default_trial, evaluator.baseline()))
        search.run(self._starts(case, nfe, default, starts))

    def _default(self, case: str, nfe: int) -> Scheme | None:
        """The default scheme; None if there is none, or if it is another model's and this one cannot run it."""
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
        noisy = isinstance(problem.operator, Blur)
        highest = (HIGHEST_T0_BLUR if noisy else HIGHEST_T0) if relative else self.model.sigma_max
        return SearchSpace(relative, self.model.diagonal, holes, highest, noisy)

    def _starts(self, case: str, nfe: int, default: Scheme | None, given: Sequence[Scheme]) -> list[Scheme]:
        """The current default, given schemes, extensions of lower NFEs or defaults, and the search space's own."""
        space = self._space(self.evaluators[case])
        first = [default] if default else []
        first += [scheme for scheme in given if scheme.nfe == nfe]
        plans: list[Plan] = []
        lower = [found.search.best for found in self.found if found.case == case and found.nfe < nfe]
        if lower and lower[-1] and (plan := plan_of(lower[-1].scheme)):
            plans.append(space.extend(plan, nfe))
        if not default and (nearest := self._nearest_default(case, nfe)) and (plan := plan_of(nearest)):
            plans.append(space.extend(plan, nfe))
        plans += space.starts(nfe)
        return list(dict.fromkeys([*first, *(scheme_of(plan) for plan in plans if space.allows(plan))]))

    def _nearest_default(self, case: str, nfe: int) -> Scheme | None:
        return self._default(case, max((n for n in NFES if n <= nfe), default=1))


def _of_case(prepared: Sequence[Prepared], case: str) -> list[Prepared]:
    return [one for one in prepared if one.problem.case == case]


def flat_pictures() -> list[np.ndarray]:
    """Pictures of one colour, (FLAT_SIDE, FLAT_SIDE, 3) uint8 each, which show artefacts most clearly."""
    return [np.full((FLAT_SIDE, FLAT_SIDE, 3), colour, np.uint8) for colour in FLAT_COLOURS]


def centre(picture: np.ndarray, side: int) -> np.ndarray:
    """The centre crop of a picture (H, W, 3), at most `side` in each dimension."""
    spans = [
        slice((length - min(length, side)) // 2, (length + min(length, side)) // 2) for length in picture.shape[:2]
    ]
    return np.ascontiguousarray(picture[spans[0], spans[1]])


def evenly_spread(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[n * len(items) // count] for n in range(count)]
