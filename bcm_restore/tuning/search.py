"""The search: coordinate descent over the noise levels of a scheme, then over its moves, within a time budget."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..schemes import Scheme
from .scores import penalty
from .search_space import Plan, SearchSpace, Stage, plan_of, scheme_of

FACTORS = (1.4, 1.15)  # by which levels are raised and lowered
MIN_GAIN = 1e-4  # relative gain of the score that counts as progress (0.003 dB at 27 dB)
OUTSIDE = float("-inf")  # the score outside the search space


@dataclass(frozen=True)
class Trial:
    """A scheme and its score.

    Attributes:
        scheme: the scheme that was run.
        score: the score to maximise.
        values: the components of the score, by metric.
        flat_error: the error that it adds in flat areas, RMS on a scale of 0 to 255.
    """

    scheme: Scheme
    score: float
    values: dict[str, float] = field(default_factory=dict)
    flat_error: float = 0.0

    @property
    def penalised(self) -> bool:
        """Whether it has artefacts in flat areas."""
        return penalty(self.flat_error) > 0


Evaluate = Callable[[Scheme], Trial]


class _OutOfTime(Exception):  # noqa: N818
    """The deadline has passed."""


class Search:
    """Searches one NFE of one case. Evaluates every scheme once; an interruption keeps all trials.

    Args:
        evaluate: evaluates a scheme.
        space: the search space.
        deadline: when to stop, by `time.monotonic()`.
        on_best: called with every trial that is better than all before.

    Attributes:
        trials: all trials, in their order.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        space: SearchSpace,
        deadline: float = float("inf"),
        on_best: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        self.trials: dict[Scheme, Trial] = {}
        self._evaluate, self._space, self._deadline, self._on_best = evaluate, space, deadline, on_best

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score; None before the first."""
        return max(self.trials.values(), key=lambda trial: trial.score, default=None)

    def run(self, starts: Iterable[Scheme]) -> None:
        """Evaluates the starts, then descends from each, best first, until the deadline; always tries the first."""
        starts = list(starts)
        for scheme in starts[:1]:
            self.trial(scheme)
        try:
            for scheme in starts:
                self._before_deadline(scheme)
            for trial in sorted((self.trials[scheme] for scheme in starts), key=lambda trial: -trial.score):
                plan = plan_of(trial.scheme)
                if plan is not None:
                    self._descend(plan)
        except _OutOfTime:
            pass

    def trial(self, scheme: Scheme) -> Trial:
        """Evaluates a scheme, regardless of the deadline."""
        if scheme not in self.trials:
            best = self.best
            trial = self.trials[scheme] = self._evaluate(scheme)
            if best is None or trial.score > best.score:
                self._on_best(trial)
        return self.trials[scheme]

    def _before_deadline(self, scheme: Scheme) -> Trial:
        if scheme not in self.trials and time.monotonic() >= self._deadline:
            raise _OutOfTime
        return self.trial(scheme)

    def _score(self, plan: Plan) -> float:
        return self._before_deadline(scheme_of(plan)).score if self._space.allows(plan) else OUTSIDE

    def _descend(self, plan: Plan) -> Plan:
        """Tunes levels in large and small steps, then moves; after a change of moves, levels again in small steps."""
        plan = self._tune_levels(self._tune_levels(plan, FACTORS[0]), FACTORS[1])
        while (changed := self._trade(self._flip(plan))) != plan:
            plan = self._tune_levels(changed, FACTORS[1])
        return plan

    def _tune_levels(self, plan: Plan, factor: float) -> Plan:
        for index in range(len(plan)):
            before = plan
            plan = self._climb(plan, index, factor)
            if plan == before:  # after progress, the other direction leads back
                plan = self._climb(plan, index, 1 / factor)
        return plan

    def _climb(self, plan: Plan, index: int, change: float) -> Plan:
        """Multiplies one level by a factor for as long as the score improves."""
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

    def _trade(self, plan: Plan) -> Plan:
        """Exchanges stages for orientations of other stages while the score improves."""
        while better := [other for other in self._space.trades(plan) if self._better(other, plan)]:
            plan = max(better, key=self._score)
        return plan

    def _better(self, other: Plan, plan: Plan) -> bool:
        score, before = self._score(other), self._score(plan)
        if OUTSIDE in (score, before):
            return score > before
        return score > before + MIN_GAIN * abs(before)


def _with(plan: Plan, index: int, stage: Stage) -> Plan:
    return (*plan[:index], stage, *plan[index + 1 :])


def frontier(trials: Iterable[Trial], metrics: dict[str, int]) -> list[Trial]:
    """The Pareto frontier: trials that no other beats in every metric, the best score first.

    Args:
        trials: the trials; those with artefacts in flat areas are left out unless all have them.
        metrics: 1 where higher is better, else -1.
    """

    def beats(a: Trial, b: Trial) -> bool:
        gains = [sign * (a.values[name] - b.values[name]) for name, sign in metrics.items()]
        return min(gains) >= 0 and max(gains) > 0

    trials = sorted(trials, key=lambda trial: -trial.score)
    allowed = [trial for trial in trials if not trial.penalised] or trials
    unbeaten = [trial for trial in allowed if not any(beats(other, trial) for other in allowed)]
    unique: dict[tuple[float, ...], Trial] = {}
    for trial in unbeaten:  # one of several with equal values
        unique.setdefault(tuple(trial.values.values()), trial)
    return list(unique.values())
