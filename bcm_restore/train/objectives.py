"""Training objectives of bidirectional consistency models: functions of (flow map, target flow map, batch).

Noise levels t and u, images x_0 in [-1, 1], x_t = x_0 + t n. All objectives support level maps: known pixels stay at
sigma_min, and the loss is over the hole only.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..ode import karras_levels
from .holes import random_known
from .levels import FlowMap, Levels, lognormal, pseudo_huber, uniform

if TYPE_CHECKING:
    from ..supervised import Damaged
    from .teachers import Teacher

Losses = dict[str, Tensor]

EMPHASIS = 3.0  # weight of the loss on a teacher's target, which has no noise
SOFT = 0.05  # weight of round trips in `flow_map`
INVERTED = (-2.4, 0.6)  # mean and deviation of log s, for the levels s that round trips start from: 0.09 and near it
TO_MAX = 0.6  # share of round trips that go to sigma_max
STOPS = 0.5  # share of round trips that stop on the way up


@dataclass(frozen=True)
class Batch:
    """Clean images and the randomness to train on them.

    Attributes:
        clean: (B, C, H, W) in [-1, 1].
        known: (B, 1, H, W) bool, the known pixels of each image; all False for an image with one noise level.
        generator: of noise levels and noise, on the images' device.
        progress: fraction of the run that is done, 0 to 1.
        labels: (B,), the images' classes; None for unconditional networks.
        teacher: its posterior mean is the diagonal's target at its noise levels; None: the clean image everywhere.
        damaged: the same images, damaged; None for objectives that need none.
    """

    clean: Tensor
    known: Tensor
    generator: torch.Generator
    progress: float = 0.0
    labels: Tensor | None = None
    teacher: "Teacher | None" = None
    damaged: "Damaged | None" = None

    @property
    def mapped(self) -> Tensor:
        """(B,) bool: True for images with known pixels."""
        return self.known.flatten(1).any(1)

    def noise(self) -> Tensor:
        """Standard normal noise of the images' shape."""
        return torch.empty_like(self.clean).normal_(generator=self.generator)

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, index: slice) -> "Batch":
        labels = None if self.labels is None else self.labels[index]
        return Batch(self.clean[index], self.known[index], self.generator, self.progress, labels, self.teacher)


def draw_known(clean: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(B, 1, H, W) bool: random masks of known pixels for a `share` of the images, all False for the rest."""
    if share == 0:
        return torch.zeros_like(clean[:, :1], dtype=torch.bool)
    chosen = uniform(len(clean), generator) < share
    return random_known(len(clean), clean.shape[-1], generator) & chosen.view(-1, 1, 1, 1)


def diffusion(
    flow: FlowMap,
    target: FlowMap,
    batch: Batch,
    *,
    mean: float = -1.1,
    deviation: float = 1.6,
    filled: float = 0.4,
) -> Losses:
    """The diagonal: F(c_in x_t, t, t) regresses (t x_0 - sigma_data^2 n) / (sigma_data sqrt(t^2 + sigma_data^2)).

    EDM's target with EDM's weight (arXiv 2206.00364, tab. 1), which makes it a plain mean square. With a teacher, a
    share of the images is at the teacher's noise levels, and F regresses the target of its posterior mean. Holes at
    sigma_max, and level maps that the teacher does not support, keep the clean target.

    Args:
        flow: the flow map to train.
        target: not used.
        batch: the images.
        mean, deviation: of log t.
        filled: share of the images with known pixels whose hole is at sigma_max, pure noise.
    """
    teacher, t = batch.teacher, lognormal(len(batch), mean, deviation, batch.generator)
    own = slice(0 if teacher is None else round(teacher.share * len(batch)))  # images at the teacher's noise levels
    if teacher is not None:
        t[own] = teacher.draw(own.stop, batch.generator)
    empty = batch.mapped & (uniform(len(batch), batch.generator) < filled)
    levels = flow.levels(torch.where(empty, flow.sigma_max, t.clamp(flow.sigma_min, flow.sigma_max)), batch.known)
    noise = batch.noise()
    x = batch.clean + levels.pixel * noise
    goal, taught = diffusion_target(flow, batch.clean, noise, levels), torch.zeros_like(empty)
    if teacher is not None and own.stop:
        taught[own] = ~empty[own] & (teacher.maps | ~batch.mapped[own])
        denoised = teacher.target(flow, x[own], levels[own], goal[own], batch.progress)
        goal[own] = torch.where(taught[own].view(-1, 1, 1, 1), denoised, goal[own])
    loss = in_hole((flow.F(x, levels, levels, batch.labels) - goal).square(), batch)
    if teacher is None:
        return {"diagonal": loss.mean()}
    return {"taught": (EMPHASIS * loss * taught).mean(), "diagonal": (loss * ~taught).mean()}


def diffusion_target(flow: FlowMap, clean: Tensor, noise: Tensor, t: Levels) -> Tensor:
    """The target of F on the diagonal."""
    variance = t.pixel**2 + flow.sigma_data**2
    return (t.pixel * clean - flow.sigma_data**2 * noise) / (flow.sigma_data * variance.sqrt())


def flow_map(
    flow: FlowMap,
    target: FlowMap,
    batch: Batch,
    *,
    diagonal: float = 0.5,
    round_trips: float = 0.0,
    to_min: float = 0.45,
    to_max: float = 0.2,
    from_max: float = 0.15,
    mean: float = -0.9,
    deviation: float = 1.8,
) -> Losses:
    """Self-distillation of the two-time flow map: `diffusion` on the diagonal, f(x, t, u) = f(f(x, t, s), s, u) off it.

    The errors of up and down add up in a round trip; with `round_trips`, BCM's soft constraint holds them together.

    Args:
        flow: the flow map to train.
        target: the same flow map with averaged weights, for the right-hand side.
        batch: the images.
        diagonal: share of the batch for the `diffusion` objective.
        round_trips: share of the other images for the `soft` constraint; above 0, at least one image.
        to_min, to_max: shares of the rest with u = sigma_min and u = sigma_max.
        from_max: share of the rest with t = sigma_max, which the density of log t hardly reaches.
        mean, deviation: of log t, and of log u elsewhere.
    """
    count = round(diagonal * len(batch))
    others = len(batch) - count
    trips = min(max(round(round_trips * others), 1), others) if round_trips else 0
    terms = diffusion(flow, target, batch[:count]) if count else {}
    if trips:
        terms["round_trips"] = SOFT * soft(flow, target, batch[count : count + trips])
    off = batch[count + trips :]
    if not len(off):
        return terms
    draw = lambda: lognormal(len(off), mean, deviation, batch.generator).clamp(flow.sigma_min, flow.sigma_max)  # noqa: E731
    t, u, end = draw(), draw(), uniform(len(off), batch.generator)
    t = torch.where(uniform(len(off), batch.generator) < from_max, flow.sigma_max, t)
    u = torch.where(end < to_min, flow.sigma_min, torch.where(end > 1 - to_max, flow.sigma_max, u))
    start, stop = flow.levels(t, off.known), flow.levels(u, off.known)
    x = off.clean + start.pixel * off.noise()
    error = flow.F(x, start, stop, off.labels) - semigroup_target(target, x, start, stop, off.known, off.labels)
    return {**terms, "semigroup": in_hole(error.square(), off).mean()}


def soft(flow: FlowMap, target: FlowMap, batch: Batch) -> Tensor:
    """BCM's soft constraint (arXiv 2403.18035, eq. 11), for inversion.

    A round trip changes nothing: f(f(x_t, t, u), u, sigma_min) = f(x_s, s, sigma_min). x_s is an image at a low noise
    level s, and x_t = f(x_s, s, t) where the way up stops at t, else t = s: what comes back must not depend on the
    stop. u is sigma_max, or log u is uniform above log s. Gradients flow through both halves.

    Args:
        flow: the flow map to train.
        target: the same flow map with averaged weights, for x_t and the right-hand side.
        batch: the images.

    Returns:
        Mean square of the difference, in units of sigma_data.
    """
    n, generator = len(batch), batch.generator
    between = lambda low, high: low * (high / low) ** uniform(n, generator)  # noqa: E731
    low = lognormal(n, *INVERTED, generator).clamp(flow.sigma_min, flow.sigma_max)
    high = torch.where(uniform(n, generator) < TO_MAX, flow.sigma_max, between(low, flow.sigma_max))
    stops = uniform(n, generator) < STOPS
    s, t, u, end = (
        flow.levels(level, batch.known)
        for level in (low, torch.where(stops, between(low, high), low), high, torch.full_like(low, flow.sigma_min))
    )
    with torch.no_grad():
        x = batch.clean + s.pixel * batch.noise()
        goal = target.traverse(x, s, end, batch.labels)
        x = torch.where(stops.view(-1, 1, 1, 1), target.traverse(x, s, t, batch.labels), x)
    back = flow.traverse(flow.traverse(x, t, u, batch.labels), u, end, batch.labels)
    return in_hole(((back - goal) / flow.sigma_data).square(), batch).mean()


@torch.no_grad()
def semigroup_target(
    target: FlowMap, x: Tensor, t: Levels, u: Levels, known: Tensor, labels: Tensor | None = None
) -> Tensor:
    """The target of F(c_in x, t, u) for f(x, t, u) = f(f(x, t, s), s, u), with s midway in arctan(sigma / sigma_data).

    With z = x / sqrt(t^2 + sigma_data^2), each half is a rotation by the angle a, z_s = cos(a) z + sin(a) F_1, and the
    whole is one by 2a. Solving for F of the whole gives (F_1 + (F_2 + sin(a) z) / cos(a)) / 2, with no division by a
    small distance.
    """
    middle = target.levels(target.sigma((target.angle(t.image) + target.angle(u.image)) / 2), known)
    first = target.F(x, t, middle, labels)
    second = target.F(target.combine(x, first, t, middle), middle, u, labels)
    a = (target.angle(t.pixel) - target.angle(u.pixel)) / 2
    z = x * (t.pixel**2 + target.sigma_data**2).rsqrt()
    return (first + (second + a.sin() * z) / a.cos()) / 2


def in_hole(squares: Tensor, batch: Batch) -> Tensor:
    """(B,): the mean of squares (B, C, H, W) over each image's unknown pixels."""
    hole = (~batch.known).to(squares.dtype)
    return (squares.mean(1, keepdim=True) * hole).flatten(1).sum(1) / hole.flatten(1).sum(1)


def bct(
    flow: FlowMap,
    target: FlowMap,
    batch: Batch,
    *,
    first: int = 10,
    last: int = 1280,
    mean: float = -1.1,
    deviation: float = 2.0,
) -> Losses:
    """Bidirectional consistency training (arXiv 2403.18035, eq. 9 to 11): consistency and the soft constraint.

    Consistency: f(x_t, t, sigma_min) is equal, for the same noise, at two adjacent levels t_{n+1} and t_n of the iCT
    discretisation; weight 1 / (t_{n+1} - t_n). Soft: f(f(x_t, t, t'), t', sigma_min) equals f(x_t, t, sigma_min) for t'
    on either side of t; weight 1 / |t - t'|. Distances are pseudo-Huber, divided by sqrt(d) as in the published code.
    Gradients flow through f(x_t, t, .) only: the second half of the soft constraint and the right-hand sides use the
    target network, whose weights equal the trained ones but are frozen.

    Args:
        flow: the flow map to train.
        target: the flow map with frozen weights (decay 0).
        batch: the images.
        first, last: number of noise levels of the discretisation at the start and at the end; it doubles after equal
            parts of the training (iCT, arXiv 2310.14189, sec. 3.4). Equal numbers keep it constant.
        mean, deviation: of the normal density of log t.
    """
    levels = karras_levels(discretisation(batch.progress, first, last), flow.sigma_min, flow.sigma_max)
    levels = levels.to(batch.clean.device)
    density = interval_probabilities(levels, mean, deviation)
    below = torch.multinomial(density, len(batch), replacement=True, generator=batch.generator)
    elsewhere = torch.multinomial(
        density.expand(len(batch), -1).scatter(1, (below + 1).clamp(max=len(density) - 1)[:, None], 0.0),
        1,
        generator=batch.generator,
    )[:, 0]
    t, lower, other = (flow.levels(levels[n].float(), batch.known) for n in (below + 1, below, elsewhere))
    end = flow.levels(torch.full_like(t.image, flow.sigma_min), batch.known)
    noise, labels = batch.noise(), batch.labels
    x = batch.clean + t.pixel * noise
    denoised = flow.traverse(x, t, end, labels)
    moved = flow.traverse(x, t, other, labels)
    via_other = target.traverse(moved, other, end, labels)
    with torch.no_grad():
        lower_end = target.traverse(batch.clean + lower.pixel * noise, lower, end, labels)
    scale = x[0].numel() ** -0.5
    return {
        "consistency": (scale * pseudo_huber(denoised, lower_end) / (t.image - lower.image)).mean(),
        "soft": (scale * pseudo_huber(via_other, denoised.detach()) / (t.image - other.image).abs()).mean(),
    }


def discretisation(progress: float, first: int, last: int) -> int:
    """Number of noise levels: `first`, doubled after equal parts of the training up to `last`, plus one."""
    doublings = math.log2(last / first)
    return min(first * 2 ** math.floor(progress * (doublings + 1)), last) + 1


def interval_probabilities(levels: Tensor, mean: float, deviation: float) -> Tensor:
    """(N - 1,): probability of each interval between noise levels (N,), under a normal density of their logarithm."""
    cumulative = torch.special.erf((levels.log() - mean) / (deviation * math.sqrt(2)))
    return cumulative.diff() / (cumulative[-1] - cumulative[0])
