"""The schemes that are searched: every evaluation is one stage, and the levels go down from stage to stage.

stage   = start, move, fit
start   = level s                   what is wrong with the estimate is taken for noise
        | level s, noise r s        some noise on top: r is 1.2 unless a scheme that was given has another
        | noise s                   only fresh noise
        | noise s hole              only where pixels are unknown; the known ones are clean until a `level`
move    = to 0 | mean

After the first stage `renoise s eta` may stand for `noise s`. A stage of `noise s hole` is also read without its `fit`.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import schemes
from ..schemes import Level, Move, Scheme

NOISE = 1.2  # a stage that gets noise goes up to so many times its level: as the default schemes of wide holes do
ETAS = (0.7, 0.3)  # fresh parts of the noise that are tried
LOWEST = 0.005


@dataclass(frozen=True)
class Stage:
    """One evaluation and what stands around it.

    Attributes:
        level: s, where the estimate counts as being.
        start: "level", "noise" or "hole".
        ratio: r, how many times `level` the noise goes up to; 0: there is none. Only after "level".
        move: "to 0" or "mean".
        relative: levels are multiples of t0.
        eta: how much of the noise is fresh; less than 1 is `renoise`.
    """

    level: float
    start: str = "level"
    ratio: float = 0.0
    move: str = "to 0"
    relative: bool = False
    eta: float = 1.0

    def __str__(self) -> str:
        if self.start == "level":
            noise = f", {self._noise(self.level * self.ratio)}" if self.ratio else ""
            return f"level {self._text(self.level)}{noise}, {self.move}, fit"
        return f"{self._noise(self.level)}{' hole' * (self.start == 'hole')}, {self.move}, fit"

    def _noise(self, level: float) -> str:
        return f"noise {self._text(level)}" if self.eta == 1 else f"renoise {self._text(level)} {self.eta:g}"

    def _text(self, level: float) -> str:
        return f"{level:.3g}" + "t0" * self.relative

    def at(self, level: float) -> "Stage":
        """The stage at another level, of three digits."""
        return dataclasses.replace(self, level=float(f"{level:.3g}"))


Plan = tuple[Stage, ...]


def scheme_of(plan: Plan) -> Scheme:
    """The scheme that the stages make."""
    return schemes.parse(", ".join(map(str, plan)))


def plan_of(scheme: Scheme) -> Plan | None:
    """The stages of a scheme; None outside the search space."""
    stages = [_stage(part.moves) for part in parts(scheme)]
    known = tuple(stage for stage in stages if stage is not None)
    return known if len(known) == len(stages) else None


def parts(scheme: Scheme) -> tuple[Scheme, ...]:
    """The scheme cut after every evaluation and the `fit` that follows it."""
    moves, pairs = scheme.moves, enumerate(itertools.pairwise(scheme.moves), 1)
    cuts = [n for n, (a, b) in pairs if b.word != "fit" and (a.nfe or a.word == "fit")]
    return tuple(Scheme(moves[a:b]) for a, b in itertools.pairwise([0, *cuts, len(moves)]))


def _stage(moves: Sequence[Move]) -> Stage | None:
    match moves:
        case [*start, Move("mean") | Move("to", Level(0, False)) as move, Move("fit")]:
            return _started(start, str(move))
        case [Move("noise", hole=True) as start, Move("mean") | Move("to", Level(0, False)) as move]:
            return _started([start], str(move))
    return None


def _started(start: Sequence[Move], move: str) -> Stage | None:
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
    """Which stages a task and a model allow.

    Attributes:
        relative: levels are multiples of t0, as the task gives one.
        means: the model has a posterior mean.
        holes: the model has level maps, and the task known pixels.
        highest: the level that none exceeds.
    """

    relative: bool = False
    means: bool = True
    holes: bool = False
    highest: float = 80.0

    def allows(self, plan: Plan) -> bool:
        """Whether levels lie within the bounds and go down from stage to stage, and there is noise for `renoise`."""
        levels = [stage.level for stage in plan]
        tops = [stage.level * max(stage.ratio, 1.0) for stage in plan]
        falling = all(later < earlier for earlier, later in itertools.pairwise(levels))
        # the first estimate is at t0, and noise only adds up
        adds_up = not (plan[0].relative and plan[0].start != "level" and plan[0].level < 1)
        renoised = all(_can_renoise(stage, plan[:n]) for n, stage in enumerate(plan) if stage.eta < 1)
        return falling and adds_up and renoised and min(levels) >= LOWEST and max(tops) <= self.highest

    def flips(self, stage: Stage) -> Iterator[Stage]:
        """The stage with another move, and with all other kinds of noise: none, fresh, in the hole alone, renoised."""

        def kind(stage: Stage) -> tuple[str, bool, float]:
            return stage.start, bool(stage.ratio), stage.eta

        if self.means:
            yield dataclasses.replace(stage, move="mean" if stage.move == "to 0" else "to 0")
        kinds = [("level", 0.0, 1.0), ("level", NOISE, 1.0)]
        kinds += [("hole", 0.0, 1.0)] * self.holes
        kinds += [("noise", 0.0, eta) for eta in ETAS]
        kinds += [("level", stage.ratio, eta) for eta in ETAS if stage.ratio]
        others = [dataclasses.replace(stage, start=start, ratio=ratio, eta=eta) for start, ratio, eta in kinds]
        yield from (other for other in others if kind(other) != kind(stage))

    def starts(self, nfe: int) -> list[Plan]:
        """Schemes to begin with, whatever the picture."""
        moves = ("to 0", "mean") if self.means else ("to 0",)
        levels = _ladder(1.3, 0.3, nfe) if self.relative else _ladder(0.4, 0.06, nfe)
        found = [self._falling(levels, move, ratio) for move in moves for ratio in (0.0, NOISE)]
        if self.holes:
            first = Stage(self.highest, "hole", move=moves[-1])
            found.append((first, *self._falling(_ladder(0.2, 0.05, nfe - 1), moves[-1], NOISE)))
            found.append((first, *(Stage(level, "hole", move=moves[-1]) for level in _ladder(8.0, 0.3, nfe - 1))))
        return list(dict.fromkeys(plan for plan in found if self.allows(plan)))

    def _falling(self, levels: Sequence[float], move: str, ratio: float) -> Plan:
        """Stages at these levels; the last has no noise, as little comes after it to take what is left of it away."""
        last = levels[-1:]
        return tuple(
            Stage(level, ratio=0.0 if level in last else ratio, move=move, relative=self.relative) for level in levels
        )

    def longer(self, plan: Plan, nfe: int) -> Plan:
        """The plan with stages of ever lower levels at its end, so that there are `nfe`."""
        stages = list(plan[:nfe])
        while len(stages) < nfe:
            stages.append(stages[-1].at(stages[-1].level / 1.6))
        return tuple(stages)


def _can_renoise(stage: Stage, before: Plan) -> bool:
    """Whether noise was removed before, and no pixels count as clean to which `renoise` would bring noise."""
    kept = [earlier.start for earlier in before if earlier.start != "noise"]
    return bool(before) and (stage.start == "level" or kept[-1:] != ["hole"])


def _ladder(top: float, bottom: float, count: int) -> list[float]:
    """Levels from top to bottom in equal ratios, of three digits; the top alone where there is one."""
    return [float(f"{level:.3g}") for level in np.geomspace(top, bottom, count)] if count else []
