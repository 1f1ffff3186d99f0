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
    fit              data consistency: projects x onto the measurements (0 NFE)

A level is a number, or a multiple of the level t0 that the task assigns to its first estimate: "1.1t0"; "t0" means
"1t0".
"""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import RestoreError
from .model import BCM, Noise
from .networks.orientations import COUNT
from .operators import Operator, as_operator

Progress = Callable[[int, int], None]  # called with (evaluations done, total evaluations) after each evaluation

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
            _check(moves)
        except _MoveError as error:
            raise RestoreError(f'scheme "{text}", character {position}: {error}') from None
    return Scheme(tuple(moves))


class _MoveError(Exception):
    """An error in a move, without its position."""


def _parse_move(words: list[str]) -> Move:
    if not words:
        raise _MoveError(f"a move is missing; the moves are {', '.join(WORDS)}")
    word, arguments = words[0], words[1:]
    if word not in WORDS:
        close = difflib.get_close_matches(word, WORDS, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"the moves are {', '.join(WORDS)}"
        raise _MoveError(f"'{word}' is not a move; {hint}")
    usage = {"noise": "noise LEVEL [hole]", "renoise": "renoise LEVEL ETA", "mean": "mean [ORIENTATIONS]", "fit": "fit"}
    wrong = _MoveError(f"write '{usage.get(word, word + ' LEVEL')}', not '{' '.join(words)}'")
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
            raise _MoveError(f"the fresh part of 'renoise' is between 0 and 1, not {eta:g}")
        return Move(word, level, eta=eta)
    return Move(word, level, hole=hole)


def _parse_count(text: str = "1") -> int:
    if not re.fullmatch(f"[1-{COUNT}]", text):
        raise _MoveError(f"'mean' averages over 1 to {COUNT} orientations, not {text}")
    return int(text)


def _parse_level(text: str) -> Level:
    factor = "1" if text == "t0" else text.removesuffix("t0")
    return Level(_parse_number(factor), relative=text.endswith("t0"))


def _parse_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _MoveError(f"'{text}' is not a number") from None
    if not math.isfinite(number) or number < 0:
        raise _MoveError(f"'{text}' is not a level: levels are finite and not negative")
    return number


def _check(moves: list[Move], t0: float | None = None) -> None:
    """Refuses the last move if it cannot follow those before it, as far as is known without t0.

    Raises:
        _MoveError: says why.
    """
    *before, move = moves
    now = _reached(before)

    def compare(a: Level, b: Level) -> float | None:
        if t0 is not None:
            return a.at(t0) - b.at(t0)
        return a.value - b.value if a.relative == b.relative else None

    change = None if move.level is None else compare(move.level, now)
    if move.nfe and compare(now, Level(0.0)) == 0 and (move.level is None or move.level.value == 0):
        raise _MoveError(f"'{move}' has nothing to do at level 0; put 'noise LEVEL' or 'level LEVEL' before it")
    if move.word == "to" and change == 0:
        raise _MoveError(f"'{move}' does nothing: the level is already {now}")
    if move.word in ("noise", "renoise") and change is not None and change < 0:
        raise _MoveError(f"'{move}' cannot lower the level from {now}; noise only adds up, use 'to {move.level}'")
    if move.word == "renoise":
        last = max((n for n, m in enumerate(before) if m.nfe), default=None)
        if last is None:
            raise _MoveError("'renoise' uses the noise that an evaluation removed, but no evaluation comes before it")
        if (compare(_reached(before[: last + 1]), _reached(before[:last])) or 0.0) > 0:
            raise _MoveError(f"'renoise' uses the noise that an evaluation removed, but '{before[last]}' removed none")


def _without_t0(moves: Sequence[Move]) -> str | None:
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


@dataclass
class State:
    """The state that moves change.

    Attributes:
        x: the estimate, (B, 3, H, W).
        level: its noise level.
        known: (B, 1, H, W), pixels that are clean while the rest is at `level`.
        removed: the standard noise that the last evaluation removed.
        remember: whether a later move needs `removed`.
    """

    x: Tensor
    level: float
    known: Tensor | None = None
    removed: Tensor | None = None
    remember: bool = False


@dataclass(frozen=True)
class Setting:
    """The arguments of `run` that all moves share.

    Attributes:
        model: evaluates the moves.
        operator: for `fit`.
        y: the measurements, for `fit`.
        noise: a `Noise`.
        t0: level of the first estimate.
        labels: (B,) or (1,), classes of the images.
    """

    model: BCM
    operator: Operator
    y: object
    noise: Callable[[Tensor], Tensor]
    t0: float = 0.0
    labels: Tensor | None = None


def run(
    scheme: Scheme,
    model: BCM,
    x: Tensor,
    operator: Operator,
    y: object,
    noise: Noise,
    *,
    t0: float = 0.0,
    labels: Tensor | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Runs a scheme.

    Args:
        scheme: the moves.
        model: the model; its `nfe` grows by `scheme.nfe`.
        x: (B, 3, H, W), the first estimate, in [-1, 1] plus noise.
        operator, y: the degradation operator (or deepinv physics) and the measurements, for `fit`.
        noise: one generator per image.
        t0: level of the first estimate: its error, as the standard deviation of noise; 0: nothing is assumed.
        labels: classes of the images, from `BCM.labels`.
        progress: called after each evaluation.

    Returns:
        (B, 3, H, W).

    Raises:
        RestoreError: a move is impossible at its place with this t0, or the model or the operator does not support it.
    """
    check(scheme, model, t0)
    state = State(x, t0)
    advance([state], scheme, [Setting(model, as_operator(operator), y, noise, t0, labels)], progress)
    return state.x


def advance(
    states: Sequence[State], scheme: Scheme, settings: Sequence[Setting], progress: Progress | None = None
) -> None:
    """Runs a scheme on several states together: `run` without its checks, for schemes that are run in parts.

    Args:
        states: all of one height and width; the network evaluates them as one batch.
        scheme: the moves.
        settings: one per state, with the same model, and with labels for all or for none.
        progress: called after each evaluation.
    """
    done, evaluations = 0, scheme.nfe
    for position, move in enumerate(scheme.moves):
        for state in states:
            state.remember = any(later.word == "renoise" for later in scheme.moves[position:])
        step(states, move, settings)
        done += move.nfe
        if move.nfe and progress:
            progress(done, evaluations)


def step(states: Sequence[State], move: Move, settings: Sequence[Setting]) -> None:
    """Runs one move on all states."""
    if move.nfe:
        _evaluate(states, move, settings)
        return
    for state, setting in zip(states, settings, strict=True):
        _STEPS[move.word](state, move, setting)


def check(scheme: Scheme, model: BCM, t0: float = 0.0) -> None:
    """Refuses a scheme that cannot be run, before any evaluation.

    Raises:
        RestoreError: the message names the move.
    """
    for n, move in enumerate(scheme.moves, 1):
        try:
            _check(list(scheme.moves[:n]), t0)
        except _MoveError as error:
            reason = _without_t0(scheme.moves[:n]) if t0 == 0 else None
            raise RestoreError(f'scheme "{scheme}", move {n}: {reason or error}') from None
        if move.level and move.level.at(t0) > model.sigma_max:
            raise RestoreError(f'scheme "{scheme}", move {n}: levels end at {model.sigma_max:g} for {model.name}')
        if move.word == "mean":
            model.require_diagonal()
        if move.hole:
            model.require_level_maps()


def _level(state: State, move: Move, setting: Setting) -> None:
    state.level, state.known = _target(move, setting), None


def _noise(state: State, move: Move, setting: Setting) -> None:
    """x + sqrt(s^2 - t^2) n."""
    level = _target(move, setting)
    amount = math.sqrt(max(level**2 - state.level**2, 0.0))
    n = setting.noise(state.x).mul_(amount)
    if move.hole:
        known = getattr(setting.operator, "known", None)
        if known is None:
            raise RestoreError(f"'{move}' needs a task with known pixels, such as inpaint; write it without 'hole'")
        state.known = known.to(n.device)
    if state.known is not None:
        n.masked_fill_(state.known, 0.0)
    state.x, state.level = n.add_(state.x), level


def _renoise(state: State, move: Move, setting: Setting) -> None:
    """x + sqrt(s^2 - t^2) (eta n - sqrt(1 - eta^2) n_removed)."""
    assert state.removed is not None and move.eta is not None
    level = _target(move, setting)
    n = setting.noise(state.x).mul_(move.eta).add_(state.removed, alpha=-math.sqrt(1 - move.eta**2))
    if state.known is not None:
        n.masked_fill_(state.known, 0.0)
    state.x = n.mul_(math.sqrt(max(level**2 - state.level**2, 0.0))).add_(state.x)
    state.level = level


def _evaluate(states: Sequence[State], move: Move, settings: Sequence[Setting]) -> None:
    """Runs `to` or `mean`: all states in one evaluation."""
    model, counts = settings[0].model, [len(state.x) for state in states]
    x = _joined([state.x for state in states])
    known = _joined([state.known.expand(len(state.x), -1, -1, -1) for state in states if state.known is not None])
    labels = _joined(
        [setting.labels.expand(n) for n, setting in zip(counts, settings, strict=True) if setting.labels is not None]
    )

    def per_image(levels: Sequence[float]) -> Tensor:
        above = [max(level, model.sigma_min) for level in levels]
        return torch.tensor(above, dtype=torch.float64).repeat_interleave(torch.tensor(counts))

    assert x is not None
    t, ends = per_image([state.level for state in states]), [_target(move, setting) for setting in settings]
    if move.word == "mean":
        result = model.mean(x, t, known, labels, move.orientations)
    else:
        result = model.traverse(x, t, per_image(ends), known, labels)
    for state, own, end in zip(states, result.split(counts), ends, strict=True):
        _set(state, own, end)


def _joined(parts: Sequence[Tensor]) -> Tensor | None:
    """The parts as one batch; None if there are none."""
    return torch.cat(list(parts)) if len(parts) > 1 else next(iter(parts), None)


def _set(state: State, x: Tensor, level: float) -> None:
    if state.remember and state.level > level:
        state.removed = (state.x - x) / math.sqrt(state.level**2 - level**2)
    state.x, state.level = x, level


def _fit(state: State, move: Move, setting: Setting) -> None:
    state.x = setting.operator.fit(state.x, setting.y)


def _target(move: Move, setting: Setting) -> float:
    """The level after a move: zero for `mean`."""
    return move.level.at(setting.t0) if move.level else 0.0


_STEPS: dict[str, Callable[[State, Move, Setting], None]] = {
    "level": _level,
    "noise": _noise,
    "renoise": _renoise,
    "fit": _fit,
}
