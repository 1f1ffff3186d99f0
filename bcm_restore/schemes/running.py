"""Running schemes: moves change the state of images, alone or several together."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import RestoreError
from ..model import BCM, Noise
from ..operators import Operator, as_operator, data_consistency
from .language import Move, MoveError, Scheme, check_last, explain_without_t0

Progress = Callable[[int, int], None]  # called with (evaluations done, total evaluations) after each evaluation


@dataclass
class State:
    """The state that moves change.

    Attributes:
        x: the estimate, (B, 3, H, W).
        level: its noise level.
        known: (B, 1, H, W), pixels that are clean while the rest is at `level`.
        removed: the standard noise that the last evaluation removed.
        remember: whether a later move needs `removed`.
        denoised_from: the noise level that x is the posterior mean for; 0 after `to`.
    """

    x: Tensor
    level: float
    known: Tensor | None = None
    removed: Tensor | None = None
    remember: bool = False
    denoised_from: float = 0.0


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
            check_last(list(scheme.moves[:n]), t0)
        except MoveError as error:
            reason = explain_without_t0(scheme.moves[:n]) if t0 == 0 else None
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
        state.denoised_from = state.level if move.word == "mean" else 0.0
        _set(state, own, end)


def _joined(parts: Sequence[Tensor]) -> Tensor | None:
    """The parts as one batch; None if there are none."""
    return torch.cat(list(parts)) if len(parts) > 1 else next(iter(parts), None)


def _set(state: State, x: Tensor, level: float) -> None:
    if state.remember and state.level > level:
        state.removed = (state.x - x) / math.sqrt(state.level**2 - level**2)
    state.x, state.level = x, level


def _fit(state: State, move: Move, setting: Setting) -> None:
    error = remaining_error(state.level, state.denoised_from, setting.t0)
    state.x = data_consistency(setting.operator, state.x, setting.y, error)


def remaining_error(level: float, denoised_from: float, t0: float) -> float:
    """The error to expect of a posterior mean: its noise level before, but not more than the first estimate had.

    Args:
        level: the noise level now; above 0, the estimate is no posterior mean any more.
        denoised_from: the noise level that it is the posterior mean for; 0: it is none.
        t0: the error of the first estimate; 0: not known.

    Returns:
        A standard deviation; 0: not a posterior mean.
    """
    if level:
        return 0.0
    return min(denoised_from, t0 or denoised_from)


def _target(move: Move, setting: Setting) -> float:
    """The level after a move: zero for `mean`."""
    return move.level.at(setting.t0) if move.level else 0.0


_STEPS: dict[str, Callable[[State, Move, Setting], None]] = {
    "level": _level,
    "noise": _noise,
    "renoise": _renoise,
    "fit": _fit,
}
