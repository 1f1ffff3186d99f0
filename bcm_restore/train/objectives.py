"""What a bidirectional consistency model is trained on: each objective is a function of (map, target network, batch).

Levels t and u, images x_0 in [-1, 1], x_t = x_0 + t n. Every objective takes level maps: known pixels are at sigma_min
and stay there, and the loss counts the hole only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .holes import random_known
from .levels import FlowMap, Levels, lognormal, pseudo_huber, uniform

if TYPE_CHECKING:
    from .teachers import Teacher

Losses = dict[str, Tensor]

EMPHASIS = 3.0  # weight of what a teacher teaches: its target has no noise


@dataclass(frozen=True)
class Batch:
    """Clean images and the randomness to train on them.

    Attributes:
        clean: (B, C, H, W) in [-1, 1].
        known: (B, 1, H, W) bool, pixels that are given clean; all False where the level is uniform.
        generator: where levels and noise come from, on the images' device.
        progress: how much of the training is done, 0 to 1.
        labels: (B,), the images' classes; None for networks that take none.
        teacher: whose posterior mean the diagonal regresses where it is trusted; None: the clean image everywhere.
    """

    clean: Tensor
    known: Tensor
    generator: torch.Generator
    progress: float = 0.0
    labels: Tensor | None = None
    teacher: "Teacher | None" = None

    @property
    def mapped(self) -> Tensor:
        """(B,) bool: which images have known pixels."""
        return self.known.flatten(1).any(1)

    def noise(self) -> Tensor:
        """Standard noise like the images."""
        return torch.empty_like(self.clean).normal_(generator=self.generator)

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, index: slice) -> "Batch":
        labels = None if self.labels is None else self.labels[index]
        return Batch(self.clean[index], self.known[index], self.generator, self.progress, labels, self.teacher)


def draw_known(clean: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(B, 1, H, W) bool: random masks for a `share` of the images, nothing known in the rest."""
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

    EDM's target with EDM's weight (arXiv 2206.00364, tab. 1), which makes it a plain mean square. With a teacher its
    share of the images has levels that it is trusted at, and regresses what its posterior mean asks of F; but holes at
    sigma_max, and level maps that it does not know, keep the clean images.

    Args:
        flow: the map to train.
        target: not used.
        batch: the images.
        mean, deviation: of log t.
        filled: share of the images with known pixels whose hole is at sigma_max: nothing but noise.
    """
    teacher, t = batch.teacher, lognormal(len(batch), mean, deviation, batch.generator)
    some = slice(0 if teacher is None else round(teacher.share * len(batch)))
    if teacher is not None:
        t[some] = teacher.draw(some.stop, batch.generator)
    empty = batch.mapped & (uniform(len(batch), batch.generator) < filled)
    levels = flow.levels(torch.where(empty, flow.sigma_max, t.clamp(flow.sigma_min, flow.sigma_max)), batch.known)
    noise = batch.noise()
    x = batch.clean + levels.pixel * noise
    goal, taught = diffusion_target(flow, batch.clean, noise, levels), torch.zeros_like(empty)
    if teacher is not None and some.stop:
        taught[some] = ~empty[some] & (teacher.maps | ~batch.mapped[some])
        lesson = teacher.target(flow, x[some], levels[some], goal[some], batch.progress)
        goal[some] = torch.where(taught[some].view(-1, 1, 1, 1), lesson, goal[some])
    loss = in_hole((flow.F(x, levels, levels, batch.labels) - goal).square(), batch)
    if teacher is None:
        return {"diagonal": loss.mean()}
    return {"taught": (EMPHASIS * loss * taught).mean(), "diagonal": (loss * ~taught).mean()}


def diffusion_target(flow: FlowMap, clean: Tensor, noise: Tensor, t: Levels) -> Tensor:
    """What F has to give on the diagonal."""
    variance = t.pixel**2 + flow.sigma_data**2
    return (t.pixel * clean - flow.sigma_data**2 * noise) / (flow.sigma_data * variance.sqrt())


def flow_map(
    flow: FlowMap,
    target: FlowMap,
    batch: Batch,
    *,
    diagonal: float = 0.5,
    to_min: float = 0.45,
    to_max: float = 0.2,
    from_max: float = 0.15,
    round_trip: float = 0.0,
    mean: float = -0.9,
    deviation: float = 1.8,
) -> Losses:
    """Self-distillation of the two-time map: the diagonal, and f(x, t, u) = f(f(x, t, s), s, u) off it.

    Args:
        flow: the map to train.
        target: the right-hand side: the same map with averaged weights.
        batch: the images.
        diagonal: share of the batch for the `diffusion` objective.
        to_min, to_max: share of the other images that go to sigma_min and to sigma_max.
        from_max: share of them that come from sigma_max, which log t's density hardly reaches.
        round_trip: share of them that go to u and back.
        mean, deviation: of log t, and of log u where it goes to neither end.

    Round trips are BCM's soft constraint (arXiv 2403.18035, eq. 10) that ends where it begins, f(f(x, t, u), u, t) = x:
    the way there learns what the target network's way back can read.
    """
    count = round(diagonal * len(batch))
    off = batch[count:]
    if not len(off):
        return diffusion(flow, target, batch)
    draw = lambda: lognormal(len(off), mean, deviation, batch.generator).clamp(flow.sigma_min, flow.sigma_max)  # noqa: E731
    t, u, end = draw(), draw(), uniform(len(off), batch.generator)
    t = torch.where(uniform(len(off), batch.generator) < from_max, flow.sigma_max, t)
    u = torch.where(end < to_min, flow.sigma_min, torch.where(end > 1 - to_max, flow.sigma_max, u))
    at, to = flow.levels(t, off.known), flow.levels(u, off.known)
    x = off.clean + at.pixel * off.noise()
    raw = flow.F(x, at, to, off.labels)
    error = raw - semigroup_target(target, x, at, to, off.known, off.labels)
    terms = diffusion(flow, target, batch[:count]) if count else {}
    terms["semigroup"] = in_hole(error.square(), off).mean()
    some = slice(round(round_trip * len(off)))
    if some.stop:
        there = flow.land(x[some], raw[some], at[some], to[some])
        labels = None if off.labels is None else off.labels[some]
        back = target.traverse(there, to[some], at[some], labels) - x[some]
        squares = back.square() / (at[some].pixel ** 2 + flow.sigma_data**2)
        terms["soft"] = len(raw[some]) / len(off) * in_hole(squares, off[some]).mean()
    return terms


@torch.no_grad()
def semigroup_target(
    target: FlowMap, x: Tensor, t: Levels, u: Levels, known: Tensor, labels: Tensor | None = None
) -> Tensor:
    """What F(c_in x, t, u) has to give for f(x, t, u) = f(f(x, t, s), s, u), s midway in arctan(sigma / sigma_data).

    With z = x / sqrt(t^2 + sigma_data^2) each half is a rotation by the angle a, z_s = cos(a) z + sin(a) F_1, and so is
    the whole by 2a. Solved for the F of the whole, (F_1 + (F_2 + sin(a) z) / cos(a)) / 2: nothing is divided by a
    small distance.
    """
    middle = target.levels(target.sigma((target.angle(t.image) + target.angle(u.image)) / 2), known)
    first = target.F(x, t, middle, labels)
    second = target.F(target.land(x, first, t, middle), middle, u, labels)
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

    Consistency: f(x_t, t, sigma_min) at a level t = t_{n+1} of the iCT discretisation and at the one below, with the
    same noise, are the same; weight 1 / (t_{n+1} - t_n). Soft: f(f(x_t, t, t'), t', sigma_min) is f(x_t, t, sigma_min)
    for t' on both sides of t; weight 1 / |t - t'|. Distances are pseudo-Huber, divided by sqrt(d) as in the published
    code. Gradients flow through f(x_t, t, .) alone: the second half of the soft constraint and the right-hand sides are
    the target network's, whose weights are the map's own but not trained.

    Args:
        flow: the map to train.
        target: the map with its weights held (decay 0).
        batch: the images.
        first, last: levels of the discretisation at the beginning and the end; it doubles in between, after equal
            parts of the training (iCT, arXiv 2310.14189, sec. 3.4). The same number: fixed.
        mean, deviation: of the normal density that log t is drawn by.
    """
    levels = karras_levels(discretisation(batch.progress, first, last), flow.sigma_min, flow.sigma_max)
    levels = levels.to(batch.clean.device)
    density = interval_probabilities(levels, mean, deviation)
    below = torch.multinomial(density, len(batch), replacement=True, generator=batch.generator)
    aside = torch.multinomial(
        density.expand(len(batch), -1).scatter(1, (below + 1).clamp(max=len(density) - 1)[:, None], 0.0),
        1,
        generator=batch.generator,
    )[:, 0]
    t, lower, other = (flow.levels(levels[n].float(), batch.known) for n in (below + 1, below, aside))
    end = flow.levels(torch.full_like(t.image, flow.sigma_min), batch.known)
    noise, labels = batch.noise(), batch.labels
    x = batch.clean + t.pixel * noise
    denoised = flow.traverse(x, t, end, labels)
    moved = flow.traverse(x, t, other, labels)
    round_about = target.traverse(moved, other, end, labels)
    with torch.no_grad():
        lower_end = target.traverse(batch.clean + lower.pixel * noise, lower, end, labels)
    scale = x[0].numel() ** -0.5
    return {
        "consistency": (scale * pseudo_huber(denoised, lower_end) / (t.image - lower.image)).mean(),
        "soft": (scale * pseudo_huber(round_about, denoised.detach()) / (t.image - other.image).abs()).mean(),
    }


def discretisation(progress: float, first: int, last: int) -> int:
    """Number of levels: `first`, doubled after equal parts of the training up to `last`, and one more."""
    doublings = math.log2(last / first)
    return min(first * 2 ** math.floor(progress * (doublings + 1)), last) + 1


def karras_levels(count: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """(count,) levels from sigma_min up to sigma_max, in float64 (EDM, eq. 5)."""
    ends = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return torch.linspace(*ends, count, dtype=torch.float64) ** rho


def interval_probabilities(levels: Tensor, mean: float, deviation: float) -> Tensor:
    """(N - 1,): what a normal density of the level's logarithm gives each interval between levels (N,)."""
    cumulative = torch.special.erf((levels.log() - mean) / (deviation * math.sqrt(2)))
    return cumulative.diff() / (cumulative[-1] - cumulative[0])


OBJECTIVES: dict[str, Callable[..., Losses]] = {"diffusion": diffusion, "bct": bct, "flow-map": flow_map}
TARGET_DECAY = {"diffusion": 0.0, "bct": 0.0, "flow-map": 0.98}  # of the average that each distils from
