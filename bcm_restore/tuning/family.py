"""The schemes that are searched: every evaluation is one stage, and the levels go down from stage to stage.

stage   = start, move, fit
start   = level s                   what is wrong with the estimate is taken for noise
        | level s, noise r s        some noise on top: r is 1.2 unless a scheme that was given has another
        | noise s                   only fresh noise
        | noise s hole              only where pixels are unknown; later stages then keep the known pixels clean
move    = to 0 | mean
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .. import schemes
from ..schemes import Scheme

NOISE = 1.2  # a stage that gets noise goes up to so many times its level: as the default schemes of wide holes do
LOWEST = 0.005

_STAGE = re.compile(
    r"(?:level (?P<level>[\d.e+-]+)(?P<t0>t0)?(?:, noise (?P<noise>[\d.e+-]+)(?P<t1>t0)?)?"
    r"|noise (?P<fresh>[\d.e+-]+)(?P<t2>t0)?(?P<hole> hole)?)"
    r", (?P<move>to 0|mean), fit(?:, |$)"
)


@dataclass(frozen=True)
class Stage:
    """One evaluation and what stands around it.

    Attributes:
        level: s, where the estimate counts as being.
        start: "level", "noise" or "hole".
        ratio: r, how many times `level` the noise goes up to; 0: there is none. Only after "level".
        move: "to 0" or "mean".
        relative: levels are multiples of t0.
    """

    level: float
    start: str = "level"
    ratio: float = 0.0
    move: str = "to 0"
    relative: bool = False

    def __str__(self) -> str:
        unit = "t0" * self.relative
        if self.start == "level":
            noise = f", noise {self.level * self.ratio:.3g}{unit}" if self.ratio else ""
            return f"level {self.level:.3g}{unit}{noise}, {self.move}, fit"
        return f"noise {self.level:.3g}{unit}{' hole' * (self.start == 'hole')}, {self.move}, fit"

    def at(self, level: float) -> "Stage":
        """The stage at another level, of three digits."""
        return dataclasses.replace(self, level=float(f"{level:.3g}"))


Plan = tuple[Stage, ...]


def scheme_of(plan: Plan) -> Scheme:
    """The scheme that the stages make."""
    return schemes.parse(", ".join(map(str, plan)))


def plan_of(scheme: Scheme) -> Plan | None:
    """The stages of a scheme; None if it is not of this family."""
    text, stages, position = str(scheme), [], 0
    while position < len(text):
        match = _STAGE.match(text, position)
        if match is None:
            return None
        stages.append(_stage(match))
        position = match.end()
    return tuple(stages)


def _stage(match: re.Match[str]) -> Stage:
    relative = bool(match["t0"] or match["t2"])
    if match["fresh"]:
        return Stage(float(match["fresh"]), "hole" if match["hole"] else "noise", 0.0, match["move"], relative)
    level = float(match["level"])
    ratio = float(match["noise"]) / level if match["noise"] else 0.0
    return Stage(level, "level", ratio, match["move"], relative)


@dataclass(frozen=True)
class Family:
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
        """Whether levels lie within the bounds and go down from stage to stage."""
        levels = [stage.level for stage in plan]
        tops = [stage.level * max(stage.ratio, 1.0) for stage in plan]
        falling = all(later < earlier for earlier, later in itertools.pairwise(levels))
        # the first estimate is at t0, and noise only adds up
        adds_up = not (plan[0].relative and plan[0].start != "level" and plan[0].level < 1)
        return falling and adds_up and min(levels) >= LOWEST and max(tops) <= self.highest

    def flips(self, stage: Stage) -> Iterator[Stage]:
        """The stage with another move, with noise or without it, or with noise in the hole alone."""
        if self.means:
            yield dataclasses.replace(stage, move="mean" if stage.move == "to 0" else "to 0")
        plain, noisy, hole = (
            dataclasses.replace(stage, start=start, ratio=ratio)
            for start, ratio in (("level", 0.0), ("level", NOISE), ("hole", 0.0))
        )
        there = (plain, noisy, hole) if self.holes else (plain, noisy)
        yield from (other for other in there if (other.start, bool(other.ratio)) != (stage.start, bool(stage.ratio)))

    def starts(self, nfe: int) -> list[Plan]:
        """Schemes to begin with, whatever the picture."""
        top, bottom = (1.3, 0.3) if self.relative else (0.4, 0.06)
        plain = [Stage(level, relative=self.relative) for level in _ladder(top, bottom, nfe)]
        found = [tuple(plain)]
        if self.means:
            noisy = [dataclasses.replace(stage, ratio=NOISE, move="mean") for stage in plain[:-1]]
            found.append((*noisy, plain[-1] if noisy else dataclasses.replace(plain[0], move="mean")))
        if self.holes:
            first = Stage(self.highest, "hole", move="mean" if self.means else "to 0")
            rest = [Stage(level, ratio=NOISE) for level in _ladder(top, bottom, nfe - 1)]
            found.append((first, *rest))
            found.append((first, *(Stage(level, "hole") for level in _ladder(8.0, 0.3, nfe - 1))))
        return list(dict.fromkeys(plan for plan in found if self.allows(plan)))

    def longer(self, plan: Plan, nfe: int) -> Plan:
        """The plan with stages of ever lower levels at its end, so that there are `nfe`."""
        stages = list(plan[:nfe])
        while len(stages) < nfe:
            stages.append(stages[-1].at(stages[-1].level / 1.6))
        return tuple(stages)


def _ladder(top: float, bottom: float, count: int) -> list[float]:
    """Levels from top to bottom in equal ratios, of three digits; the top alone where there is one."""
    return [float(f"{level:.3g}") for level in np.geomspace(top, bottom, count)] if count else []
