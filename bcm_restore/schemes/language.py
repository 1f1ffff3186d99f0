"""Schemes: a restoration written as a short list of moves, e.g. "noise 0.07, to 80, to 0, fit".

The state is an image estimate x at a level t. The moves:

    level s          sets the level of all of x to s: its errors are treated as noise of that level (0 NFE)
    noise s [hole]   adds fresh Gaussian noise until the level is s; `hole`: only to unknown pixels, the known ones
                     stay clean until a `level` (networks with level maps) (0 NFE)
    renoise s eta    adds noise until the level is s: eta of it fresh, less sqrt(1 - eta^2) of what the last evaluation
                     removed, so that x continues in the same direction (CM4IR, arXiv 2412.20596) (0 NFE)
    to u             follows the ODE to level u, forwards or backwards; `to 0` stops at sigma_min (1 NFE)
    mean [n]         replaces x by its posterior mean, at level zero (1 NFE); `n`: averaged over n of the eight
                     orientations of the image (n NFE)
    fit              data consistency: projects x onto the measurements, as the operator's `fit` does (0 NFE)

A level is a number, or a multiple of the level t0 that the task assigns to its first estimate: "1.1t0"; "t0" means
"1t0".
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RestoreError, instead
from ..networks.orientations import COUNT

WORDS = ("level", "noise", "renoise", "to", "mean", "fit")


@dataclass(frozen=True)
class Level:
    """A noise level: a number, or a multiple of the level t0 of the first estimate.

    Attributes:
        value: the number, or the factor of t0.
        relative: whether it is a multiple of t0.
    """

    value: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.value:.6g}" + "t0" * self.relative

    def at(self, t0: float) -> float:
        """The level as a number."""
        return self.value * t0 if self.relative else self.value


@dataclass(frozen=True)
class Move:
    """One move.

    Attributes:
        word: one of WORDS.
        level: the level; None for `mean` and `fit`.
        eta: of `renoise`: the share of the noise that is fresh.
        hole: of `noise`: only to unknown pixels.
        orientations: of `mean`: the number to average over.
    """

    word: str
    level: Level | None = None
    eta: float | None = None
    hole: bool = False
    orientations: int = 1

    def __str__(self) -> str:
        parts = [
            self.word,
            self.level,
            self.eta if self.eta is None else f"{self.eta:.6g}",
            "hole" if self.hole else None,
            self.orientations if self.orientations > 1 else None,
        ]
        return " ".join(str(part) for part in parts if part is not None)

    @property
    def nfe(self) -> int:
        """Network evaluations: 1 for `to`, one for each orientation of `mean`."""
        return self.orientations if self.word in ("to", "mean") else 0


@dataclass(frozen=True)
class Scheme:
    """A list of moves. `str` gives the text that `parse` takes."""

    moves: tuple[Move, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.moves))

    @property
    def nfe(self) -> int:
        """The number of network evaluations."""
        return sum(move.nfe for move in self.moves)

    @property
    def ends_clean(self) -> bool:
        """Whether the last level is zero, so that the result is free of noise."""
        last = next((move for move in reversed(self.moves) if move.word != "fit"), None)
        return last is not None and (last.level is None or last.level.value == 0)


def parse(text: str) -> Scheme:
    """Parses a scheme.

    Raises:
        RestoreError: it is invalid; the message gives the position (characters, from 1).
    """
    moves: list[Move] = []
    for match in re.finditer(r"[^,]+|(?<=,)(?=\s*(?:,|$))|^$", text):
        position = match.start() + len(match[0]) - len(match[0].lstrip()) + 1
        try:
            moves.append(_parse_move(match[0].split()))
            check_last(moves)
        except MoveError as error:
            raise RestoreError(f'scheme "{text}", character {position}: {error}') from None
    return Scheme(tuple(moves))


class MoveError(Exception):
    """An error in a move, without its position."""


def _parse_move(words: list[str]) -> Move:
    if not words:
        raise MoveError(f"a move is missing; the moves are {', '.join(WORDS)}")
    word, arguments = words[0], words[1:]
    if word not in WORDS:
        raise MoveError(f"'{word}' is not a move; {instead(word, WORDS, 'the moves are')}")
    usage = {"noise": "noise LEVEL [hole]", "renoise": "renoise LEVEL ETA", "mean": "mean [ORIENTATIONS]", "fit": "fit"}
    wrong = MoveError(f"write '{usage.get(word, word + ' LEVEL')}', not '{' '.join(words)}'")
    if word in ("mean", "fit"):
        if len(arguments) > (word == "mean"):
            raise wrong
        return Move(word, orientations=_parse_count(*arguments))
    hole = word == "noise" and arguments[1:] == ["hole"]
    if len(arguments) != (2 if hole or word == "renoise" else 1):
        raise wrong
    level = _parse_level(arguments[0])
    if word == "renoise":
        eta = _parse_number(arguments[1])
        if eta > 1:
            raise MoveError(f"the fresh part of 'renoise' is between 0 and 1, not {eta:g}")
        return Move(word, level, eta=eta)
    return Move(word, level, hole=hole)


def _parse_count(text: str = "1") -> int:
    if not re.fullmatch(f"[1-{COUNT}]", text):
        raise MoveError(f"'mean' averages over 1 to {COUNT} orientations, not {text}")
    return int(text)


def _parse_level(text: str) -> Level:
    factor = "1" if text == "t0" else text.removesuffix("t0")
    return Level(_parse_number(factor), relative=text.endswith("t0"))


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise MoveError(f"'{text}' is not a number") from None
    if not math.isfinite(number) or number < 0:
        raise MoveError(f"'{text}' is not a level: levels are finite and not negative")
    return number


def check_last(moves: list[Move], t0: float | None = None) -> None:
    """Refuses the last move if it cannot follow those before it, as far as is known without t0.

    Raises:
        MoveError: says why.
    """
    *before, move = moves
    now = _reached(before)

    def compare(a: Level, b: Level) -> float | None:
        if t0 is not None:
            return a.at(t0) - b.at(t0)
        return a.value - b.value if a.relative == b.relative else None

    change = None if move.level is None else compare(move.level, now)
    if move.nfe and compare(now, Level(0.0)) == 0 and (move.level is None or move.level.value == 0):
        raise MoveError(f"'{move}' has nothing to do at level 0; put 'noise LEVEL' or 'level LEVEL' before it")
    if move.word == "to" and change == 0:
        raise MoveError(f"'{move}' does nothing: the level is already {now}")
    if move.word in ("noise", "renoise") and change is not None and change < 0:
        raise MoveError(f"'{move}' cannot lower the level from {now}; noise only adds up, use 'to {move.level}'")
    if move.word == "renoise":
        last = max((n for n, m in enumerate(before) if m.nfe), default=None)
        if last is None:
            raise MoveError("'renoise' uses the noise that an evaluation removed, but no evaluation comes before it")
        if (compare(_reached(before[: last + 1]), _reached(before[:last])) or 0.0) > 0:
            raise MoveError(f"'renoise' uses the noise that an evaluation removed, but '{before[last]}' removed none")


def explain_without_t0(moves: Sequence[Move]) -> str | None:
    """What is wrong with the last of the moves where t0 is 0, if it is that it or its start is a multiple of t0."""
    *before, move = moves
    start = next((other for other in reversed(before) if other.word != "fit"), None)
    for other in (move, start):
        if other and other.level and other.level.relative:
            return (
                f"t0 is 0 in this task, which expects no noise in its first estimate, and so is the {other.level} of "
                f"'{other}'; give a number, as in '{other.word} 0.5'"
            )
    return None


def _reached(moves: list[Move]) -> Level:
    """The level after the moves."""
    start = Level(1.0, relative=True)
    return next((move.level or Level(0.0) for move in reversed(moves) if move.word != "fit"), start)
