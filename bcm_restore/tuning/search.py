"""The search: coordinate descent over the levels of a scheme, then over its moves, as long as there is time."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..schemes import Scheme
from .scores import penalty
from .search_space import Plan, SearchSpace, Stage, plan_of, scheme_of

FACTORS = (1.4, 1.15)  # by which levels are raised and lowered
LEAST_GAIN = 1e-4  # of the score: less is no progress (0.003 dB at 27 dB)
OUTSIDE = float("-inf")  # the score outside the search space


@dataclass(frozen=True)
class Trial:
    """A scheme that was tried.

    Attributes:
        scheme: what was run.
        score: what is made as large as possible.
        values: what the score is made of, by metric.
        flat_error: what it adds in flat areas, RMS of 0 to 255.
    """

    scheme: Scheme
    score: float
    values: dict[str, float] = field(default_factory=dict)
    flat_error: float = 0.0

    @property
    def penalised(self) -> bool:
        """Whether it draws into flat areas."""
        return penalty(self.flat_error) > 0


Evaluate = Callable[[Scheme], Trial]


class _OutOfTime(Exception):  # noqa: N818
    """The budget is spent."""


class Search:
    """Searches one NFE of one case. Every scheme is evaluated once; what was found stays when it is interrupted.

    Args:
        evaluate: tries a scheme.
        space: what may be tried.
        deadline: by `time.monotonic()`, when to stop.
        found: called with every trial that is better than all before.

    Attributes:
        trials: all that was tried, in that order.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        space: SearchSpace,
        deadline: float = float("inf"),
        found: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self.trials: dict[Scheme, Trial] = {}
        self._evaluate, self._space, self._deadline, self._found = evaluate, space, deadline, found

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score; None before the first."""
        return max(self.trials.values(), key=lambda trial: trial.score, default=None)

    def run(self, starts: Iterable[Scheme]) -> None:
        """Tries the starts, the first in any case, and goes on from each, the best one first, until time is up."""
        starts = list(starts)
        for scheme in starts[:1]:
            self.trial(scheme)
        try:
            for scheme in starts:
                self._in_time(scheme)
            for trial in sorted((self.trials[scheme] for scheme in starts), key=lambda trial: -trial.score):
                plan = plan_of(trial.scheme)
                if plan is not None:
                    self._descend(plan)
        except _OutOfTime:
            pass

    def trial(self, scheme: Scheme) -> Trial:
        """Tries a scheme, whatever the time."""
        if scheme not in self.trials:
            best = self.best
            trial = self.trials[scheme] = self._evaluate(scheme)
            if best is None or trial.score > best.score:
                self._found(trial)
        return self.trials[scheme]

    def _in_time(self, scheme: Scheme) -> Trial:
        if scheme not in self.trials and time.monotonic() >= self._deadline:
            raise _OutOfTime
        return self.trial(scheme)

    def _score(self, plan: Plan) -> float:
        return self._in_time(scheme_of(plan)).score if self._space.allows(plan) else OUTSIDE

    def _descend(self, plan: Plan) -> Plan:
        """Levels in large steps and in small ones, then moves; and once more, in small steps, where moves changed."""
        plan = self._tune_levels(self._tune_levels(plan, FACTORS[0]), FACTORS[1])
        while (flipped := self._flip(plan)) != plan:
            plan = self._tune_levels(flipped, FACTORS[1])
        return plan

    def _tune_levels(self, plan: Plan, factor: float) -> Plan:
        for index in range(len(plan)):
            before = plan
            plan = self._climb(plan, index, factor)
            if plan == before:  # no use in going back to where it came from
                plan = self._climb(plan, index, 1 / factor)
        return plan

    def _climb(self, plan: Plan, index: int, change: float) -> Plan:
        """Changes one level by that factor for as long as it helps."""
        while self._better(other := _with(plan, index, plan[index].at(plan[index].level * change)), plan):
            plan = other
        return plan

    def _flip(self, plan: Plan) -> Plan:
        for index in range(len(plan)):
            for stage in self._space.flips(plan[index]):
                other = _with(plan, index, stage)
                if self._better(other, plan):
                    plan = other
        return plan

    def _better(self, other: Plan, plan: Plan) -> bool:
        score, before = self._score(other), self._score(plan)
        if OUTSIDE in (score, before):
            return score > before
        return score > before + LEAST_GAIN * abs(before)


def _with(plan: Plan, index: int, stage: Stage) -> Plan:
    return (*plan[:index], stage, *plan[index + 1 :])


def frontier(trials: Iterable[Trial], metrics: dict[str, int]) -> list[Trial]:
    """The trials that no other beats in every metric, the best score first.

    Args:
        trials: those that draw into flat areas don't count unless all do.
        metrics: 1 where more is better, else -1.
    """

    def beats(a: Trial, b: Trial) -> bool:
        gains = [way * (a.values[name] - b.values[name]) for name, way in metrics.items()]
        return min(gains) >= 0 and max(gains) > 0

    trials = sorted(trials, key=lambda trial: -trial.score)
    allowed = [trial for trial in trials if not trial.penalised] or trials
    unbeaten = [trial for trial in allowed if not any(beats(other, trial) for other in allowed)]
    alike: dict[tuple[float, ...], Trial] = {}
    for trial in unbeaten:  # one of those with the very same values
        alike.setdefault(tuple(trial.values.values()), trial)
    return list(alike.values())
