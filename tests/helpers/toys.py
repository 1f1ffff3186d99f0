"""Distributions whose flow is known, networks that learn them in seconds on images of one pixel, a tiny trainer."""

import copy
import math

import numpy as np
import torch
from torch import nn

from bcm_restore.model import BCM
from bcm_restore.networks import ConvUNet, Network
from bcm_restore.train.config import make_config
from bcm_restore.train.data import Crops, Picture, centres
from bcm_restore.train.levels import FlowMap, Levels
from bcm_restore.train.objectives import Batch
from bcm_restore.train.teachers import Teacher
from bcm_restore.train.trainer import Trainer

SIGMA_DATA = 0.5
LEVELS = [(80.0, 0.002), (3.0, 0.4), (0.07, 80.0), (0.5, 15.0), (0.3, 0.2), (0.002, 1.0)]


def gaussian_flow(x, t, u, s):
    """Exact f(x, t, u) for images of independent normal pixels of standard deviation s."""
    return x * ((s**2 + u**2) / (s**2 + t**2)) ** 0.5


def gaussian_mean(x, t, s):
    """Exact E[x_0 | x_t = x] for the same images."""
    return x * s**2 / (s**2 + t**2)


class ExactF(Network):
    """F of the exact map and mean for normal pixels, solved for F without differences of close numbers; in float64."""

    def __init__(self, s: float) -> None:
        super().__init__()
        self.s = s

    def forward(self, x, t, u, maps=None):
        t, u = (level.double().view(-1, 1, 1, 1) for level in (t, u))
        if maps is not None:
            t, u = t * maps[:, :1].double().exp(), u * maps[:, 1:].double().exp()
        a = torch.atan(t / SIGMA_DATA) - torch.atan(u / SIGMA_DATA)  # z_u = cos(a) z_t + sin(a) F
        stretch = ((self.s**2 + u**2) / (self.s**2 + t**2)) * ((t**2 + SIGMA_DATA**2) / (u**2 + SIGMA_DATA**2))
        off = (stretch.sqrt() - a.cos()) / torch.where(a == 0, 1, a.sin())
        diagonal = t * (self.s**2 - SIGMA_DATA**2) / (SIGMA_DATA * (self.s**2 + t**2))
        return x * torch.where(t == u, diagonal, off)


class Around(Network):
    """Another network; records its inputs and adds `change` of them to its output."""

    def __init__(self, network, change=None) -> None:
        super().__init__()
        self.network, self.change = network, change
        self.calls = []

    def forward(self, x, t, u, maps=None):
        self.calls.append((x, t, u, maps))
        raw = self.network(x, t, u, maps)
        return raw if self.change is None else raw + self.change(x, t, u, maps)


def flow(network):
    return FlowMap(network, sigma_data=SIGMA_DATA)


def gaussian_teacher(s, *, levels=(0.05, 0.5), share=1.0, weight=(1.0, 1.0), maps=False):
    """A teacher with the exact mean for normal pixels."""
    return Teacher(lambda x, t: gaussian_mean(x, t.pixel, s), maps, levels, share, weight)


def uniform_levels(*values, count=None):
    """One `Levels` of uniform levels for images of one pixel each."""
    image = torch.tensor(values) if count is None else torch.full((count,), float(values[0]))
    return Levels(image, image.view(-1, 1, 1, 1))


def levels_of(*values, known=None, side=4, dtype=torch.float32):
    """Levels of images of `side` x `side` pixels."""
    known = torch.zeros(len(values), 1, side, side, dtype=torch.bool) if known is None else known
    return Levels.of(torch.tensor(values, dtype=dtype), known, 0.002)


def half_known(count, side=4):
    """The upper half is known."""
    known = torch.zeros(count, 1, side, side, dtype=torch.bool)
    known[:, :, : side // 2] = True
    return known


def batch_of(clean, known=None, seed=0, progress=0.0, teacher=None):
    if known is None:
        known = torch.zeros_like(clean[:, :1], dtype=torch.bool)
    return Batch(clean, known, torch.Generator().manual_seed(seed), progress=progress, teacher=teacher)


class Tight(Network):
    """A network that runs out of memory on any device but the CPU after `budget` evaluations."""

    classes = 0

    def __init__(self, budget: int = 0) -> None:
        super().__init__()
        self.budget = budget
        self.devices: list[str] = []

    def forward(self, x, t, u, maps=None):
        self.devices.append(x.device.type)
        if x.device.type != "cpu" and len(self.devices) > self.budget:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x / 2


class Waves(nn.Module):
    """(B, 12): the embedding of t and u of a small network."""

    def forward(self, t, u):
        theta, phi = torch.atan(t / SIGMA_DATA), torch.atan(u / SIGMA_DATA)
        a, b, d = t.log() / 3, u.log() / 3, theta - phi
        return torch.stack(
            [a, b, a.tanh(), b.tanh(), theta.sin(), theta.cos(), phi.sin(), phi.cos(), d.sin(), d.cos(), a * b, a - b],
            1,
        )


class Linear(Network):
    """F = h(t, u) x: sufficient for normal pixels."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.waves = Waves()
        self.layers = nn.Sequential(
            nn.Linear(12, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, x, t, u, maps=None):
        return x * self.layers(self.waves(t, u)).view(-1, 1, 1, 1)


class Mlp(Network):
    """A multilayer perceptron of pixels, t and u."""

    def __init__(self, channels: int, width: int = 96) -> None:
        super().__init__()
        self.waves = Waves()
        self.entrance = nn.Linear(channels + 12, width)
        self.layers = nn.Sequential(
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, channels),
        )

    def forward(self, x, t, u, maps=None):
        h = self.entrance(torch.cat([x.flatten(1), self.waves(t, u)], 1))
        return self.layers(h).view_as(x)


def train(network, objective, draw, *, steps, rate, decay, teacher=None, **options):
    """Trains by AdamW, the rate falling to zero.

    Args:
        network: what is trained.
        objective: its loss.
        draw: gives clean images, from a generator.
        steps, rate: of the optimizer.
        decay: of the target network's average.
        teacher: of the diagonal.
        **options: of the objective.

    Returns:
        The model of the averaged weights.
    """
    generator = torch.Generator().manual_seed(0)
    held, average = (copy.deepcopy(network).requires_grad_(False) for _ in range(2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    student, target = flow(network), flow(held)
    for step in range(steps):
        clean = draw(generator)
        known = torch.zeros_like(clean[:, :1], dtype=torch.bool)
        batch = Batch(clean, known, generator, progress=step / steps, teacher=teacher)
        terms = objective(student, target, batch, **options)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for kept, share in ((held, decay), (average, min(0.98, step / (step + 10)))):
                torch._foreach_lerp_(list(kept.parameters()), list(network.parameters()), 1 - share)
    return BCM(average, sigma_data=SIGMA_DATA, device="cpu")


class Mixture:
    """Equally likely normal clouds of standard deviation s in the plane, as images (B, 2, 1, 1)."""

    def __init__(self, centres, s: float) -> None:
        self.centres, self.s = torch.tensor(centres, dtype=torch.float64), s

    def draw(self, count, generator):
        chosen = self.centres[torch.randint(len(self.centres), (count,), generator=generator)]
        points = chosen + self.s * torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return points.float().view(count, 2, 1, 1)

    def mean(self, x, t):
        """E[x_0 | x_t = x] for x (B, 2) in float64."""
        variance = self.s**2 + t**2
        weights = torch.softmax(-(x[:, None] - self.centres).square().sum(2) / (2 * variance), 1)
        return (self.s**2 * x + t**2 * (weights @ self.centres)) / variance

    def flow(self, x, t, u, steps=400):
        """The probability-flow ODE dx/dt = (x - E[x_0 | x_t = x]) / t from t to u, in log t, by Runge and Kutta."""
        h = (math.log(u) - math.log(t)) / steps
        for n in range(steps):
            a, b, c = (t * math.exp((n + k) * h) for k in (0, 0.5, 1))
            k1 = x - self.mean(x, a)
            k2 = x + h / 2 * k1 - self.mean(x + h / 2 * k1, b)
            k3 = x + h / 2 * k2 - self.mean(x + h / 2 * k2, b)
            k4 = x + h * k3 - self.mean(x + h * k3, c)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x


NETWORK = {"channels": (8, 8), "blocks": (1, 1), "middle": 1, "embedding": 16}


def smooth_pictures(count=4, side=32):
    """Pictures of random waves, the same every time."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    pictures = []
    for n in range(count):
        waves = rng.uniform(-9, 9, (3, 3))
        pixels = np.stack([127.5 + 127 * np.sin(a * x + b * y + c) for a, b, c in waves], -1)
        pictures.append(Picture(f"{n}.png", "", pixels.astype(np.uint8)))
    return pictures


def tiny_trainer(folder, *, held_out=1, seed=0, **tables):
    """A trainer of a network with a few thousand weights on crops of 8x8; `seed` is of the first weights.

    Args:
        folder: of the run.
        held_out: pictures to validate on.
        **tables: keys of the configuration's tables; six steps if nothing is said.
    """
    run = {"steps": 6} if "minutes" not in tables.get("run", {}) else {}
    run |= {"batch": 4, "compile": False, **tables.get("run", {})}
    config = make_config({"network": {}, "data": {"crop": 8}, **tables, "run": run})
    torch.manual_seed(seed)
    network = ConvUNet(**NETWORK)
    pictures = smooth_pictures()
    crops = Crops(pictures, 8, half=0.3, device=torch.device("cpu"))
    scalings = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": SIGMA_DATA}
    return Trainer(config, network, NETWORK, crops, centres(pictures[:held_out], 16), folder, **scalings)
