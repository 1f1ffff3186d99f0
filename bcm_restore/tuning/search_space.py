"""The search space: stages of one move of the network each, at noise levels that decrease from stage to stage.

stage   = start, move, fit
start   = level s                   the estimate's error is treated as noise
        | level s, noise r s        noise is added: r is 1.2 unless a given scheme has another
        | noise s                   only fresh noise
        | noise s hole              only at unknown pixels; the known ones are clean until a `level`
move    = to 0 | mean | mean n      averaged over n orientations

After the first stage, `renoise s eta` may replace `noise s`. The `fit` after `noise s hole` is optional in input. Where
measurements are noisy, the last `fit` may be missing, as it leaves some of the noise.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import schemes
from ..networks.orientations import COUNT
from ..schemes import Level, Move, Scheme

NOISE = 1.2  # noise of a stage relative to its level, as in the default schemes of wide holes
ETAS = (0.7, 0.3)  # fractions of fresh noise to try
LOWEST = 0.005  # noise level


@dataclass(frozen=True)
class Stage:
    """A move of the network and the moves around it.

    Attributes:
        level: s, the noise level of the estimate.
        start: "level", "noise" or "hole".
        ratio: r, the noise relative to `level`; 0: none. Only after "level".
        move: "to 0" or "mean".
        relative: whether levels are multiples of t0.
        eta: fraction of fresh noise; below 1 for `renoise`.
        fit: whether `fit` follows.
        orientations: of "mean".
    """

    level: float
    start: str = "level"
    ratio: float = 0.0
    move: str = "to 0"
    relative: bool = False
    eta: float = 1.0
    fit: bool = True
    orientations: int = 1

    def __str__(self) -> str:
        several = f" {self.orientations}" if self.orientations > 1 else ""
        end = self.move + several + ", fit" * self.fit
        if self.start == "level":
            noise = f", {self._noise(self.level * self.ratio)}" if self.ratio else ""
            return f"level {self._text(self.level)}{noise}, {end}"
        return f"{self._noise(self.level)}{' hole' * (self.start == 'hole')}, {end}"

    def _noise(self, level: float) -> str:
        return f"noise {self._text(level)}" if self.eta == 1 else f"renoise {self._text(level)} {self.eta:g}"

    def _text(self, level: float) -> str:
        return f"{level:.3g}" + "t0" * self.relative

    def at(self, level: float) -> "Stage":
        """The stage at another level, rounded to three digits."""
        return dataclasses.replace(self, level=float(f"{level:.3g}"))


Plan = tuple[Stage, ...]


def evaluations(plan: Sequence[Stage]) -> int:
    """The number of network evaluations."""
    return sum(stage.orientations for stage in plan)


def scheme_of(plan: Plan) -> Scheme:
    """The scheme of the stages."""
    return schemes.parse(", ".join(map(str, plan)))


def plan_of(scheme: Scheme) -> Plan | None:
    """The stages of a scheme; None outside the search space."""
    stages = [_stage(part.moves) for part in parts(scheme)]
    known = tuple(stage for stage in stages if stage is not None)
    return known if len(known) == len(stages) else None


def parts(scheme: Scheme) -> tuple[Scheme, ...]:
    """Splits a scheme after every network evaluation and its `fit`."""
    moves, pairs = scheme.moves, enumerate(itertools.pairwise(scheme.moves), 1)
    cuts = [n for n, (a, b) in pairs if b.word != "fit" and (a.nfe or a.word == "fit")]
    return tuple(Scheme(moves[a:b]) for a, b in itertools.pairwise([0, *cuts, len(moves)]))


def _stage(moves: Sequence[Move]) -> Stage | None:
    match moves:
        case [*start, Move("mean") | Move("to", Level(0, False)) as move, Move("fit")]:
            return _started(start, move)
        case [Move("noise", hole=True) as start, Move("mean") | Move("to", Level(0, False)) as move]:
            return _started([start], move)
        case [*start, Move("mean") | Move("to", Level(0, False)) as move]:
            stage = _started(start, move)
            return stage and dataclasses.replace(stage, fit=False)
    return None


def _started(start: Sequence[Move], end: Move) -> Stage | None:
    stage = _start(start, "mean" if end.word == "mean" else "to 0")
    return stage and dataclasses.replace(stage, orientations=end.orientations)


def _start(start: Sequence[Move], move: str) -> Stage | None:
    match start:
        case [Move("level", Level(level, unit))]:
            return Stage(level, "level", 0.0, move, unit)
        case [Move("level", Level(level, unit)), Move("noise" | "renoise", Level(top, same), eta, False)]:
            if level > 0 and unit == same:
                return Stage(level, "level", top / level, move, unit, 1.0 if eta is None else eta)
        case [Move("noise" | "renoise", Level(level, unit), eta, hole)]:
            return Stage(level, "hole" if hole else "noise", 0.0, move, unit, 1.0 if eta is None else eta)
    return None


@dataclass(frozen=True)
class SearchSpace:
    """The stages that a task and a model allow.

    Attributes:
        relative: whether levels are multiples of t0, for tasks that have one.
        means: whether the model has a posterior mean.
        holes: whether the model has level maps and the task known pixels.
        highest: the highest noise level.
        noisy: whether measurements are noisy.
    """

    relative: bool = False
    means: bool = True
    holes: bool = False
    highest: float = 80.0
    noisy: bool = False

    def allows(self, plan: Plan) -> bool:
        """Whether levels are within the bounds and decrease from stage to stage, and `renoise` follows noise."""
        levels = [stage.level for stage in plan]
        tops = [stage.level * max(stage.ratio, 1.0) for stage in plan]
        falling = all(later < earlier for earlier, later in itertools.pairwise(levels))
        # the first estimate is at t0, and noise can only be added
        adds_up = not (plan[0].relative and plan[0].start != "level" and plan[0].level < 1)
        renoised = all(_can_renoise(stage, plan[:n]) for n, stage in enumerate(plan) if stage.eta < 1)
        fitted = all(stage.fit for stage in plan[: -1 if self.noisy else None])
        return falling and adds_up and renoised and fitted and min(levels) >= LOWEST and max(tops) <= self.highest

    def flips(self, stage: Stage) -> Iterator[Stage]:
        """Variants of a stage: the other move, and all other kinds of noise (none, fresh, in the hole, renoised)."""

        if self.noisy:
            yield dataclasses.replace(stage, fit=not stage.fit)

        def kind(stage: Stage) -> tuple[str, bool, float]:
            return stage.start, bool(stage.ratio), stage.eta

        if self.means and stage.orientations == 1:
            yield dataclasses.replace(stage, move="mean" if stage.move == "to 0" else "to 0")
        kinds = [("level", 0.0, 1.0), ("level", NOISE, 1.0)]
        kinds += [("hole", 0.0, 1.0)] * self.holes
        kinds += [("noise", 0.0, eta) for eta in ETAS]
        kinds += [("level", stage.ratio, eta) for eta in ETAS if stage.ratio]
        others = [dataclasses.replace(stage, start=start, ratio=ratio, eta=eta) for start, ratio, eta in kinds]
        yield from (other for other in others if kind(other) != kind(stage))

    def trades(self, plan: Plan) -> Iterator[Plan]:
        """Plans with one evaluation less in a stage, which may vanish, and one orientation more in another."""
        for giver, taker in itertools.permutations(range(len(plan)), 2):
            if plan[taker].move == "mean" and plan[taker].orientations < COUNT:
                counts = [stage.orientations - (n == giver) + (n == taker) for n, stage in enumerate(plan)]
                pairs = zip(plan, counts, strict=True)
                yield tuple(dataclasses.replace(stage, orientations=count) for stage, count in pairs if count)

    def starts(self, nfe: int) -> list[Plan]:
        """Plans to start the search from."""
        moves = ("to 0", "mean") if self.means else ("to 0",)
        levels = _ladder(1.3, 0.3, nfe) if self.relative else _ladder(0.4, 0.06, nfe)
        found = [self._falling(levels, move, ratio) for move in moves for ratio in (0.0, NOISE)]
        if self.holes:
            first = Stage(self.highest, "hole", move=moves[-1])
            found.append((first, *self._falling(_ladder(0.2, 0.05, nfe - 1), moves[-1], NOISE)))
            found.append((first, *(Stage(level, "hole", move=moves[-1]) for level in _ladder(8.0, 0.3, nfe - 1))))
        return list(dict.fromkeys(plan for plan in found if self.allows(plan)))

    def _falling(self, levels: Sequence[float], move: str, ratio: float) -> Plan:
        """Stages at these levels; the last adds no noise, as no stage after it would remove the rest."""
        last = levels[-1:]
        return tuple(
            Stage(level, ratio=0.0 if level in last else ratio, move=move, relative=self.relative) for level in levels
        )

    def extend(self, plan: Plan, nfe: int) -> Plan:
        """Extends a plan to `nfe` evaluations, at lower and lower levels, or truncates it."""
        stages = list(plan)
        while (done := evaluations(stages)) < nfe:
            last = stages[-1]
            stages[-1] = dataclasses.replace(last, fit=True)
            stages.append(dataclasses.replace(last.at(last.level / 1.6), orientations=1))
        while done > nfe:
            last = stages.pop()
            done -= last.orientations
            if done < nfe:
                stages.append(dataclasses.replace(last, orientations=nfe - done))
                done = nfe
        return tuple(stages)


def _can_renoise(stage: Stage, before: Plan) -> bool:
    """Whether noise was removed before, and `renoise` adds none to pixels that are treated as clean."""
    kept = [earlier.start for earlier in before if earlier.start != "noise"]
    return bool(before) and (stage.start == "level" or kept[-1:] != ["hole"])


def _ladder(top: float, bottom: float, count: int) -> list[float]:
    """Levels from top to bottom in equal ratios, rounded to three digits; only the top for a count of 1."""
    return [float(f"{level:.3g}") for level in np.geomspace(top, bottom, count)] if count else []
