"""Random masks of known pixels, for level maps; sampled on the device."""

import torch
from torch import Tensor

from .levels import uniform

STROKES = 12
SHARES = (0.3, 0.25, 0.35, 0.1)  # of independent pixels, boxes, strokes, half planes


def random_known(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, 1, side, side) bool: True where pixels are known; each mask has known and hidden pixels."""
    kinds = torch.stack([draw(count, side, generator) for draw in (pixels, boxes, strokes, half_planes)])
    bounds = torch.tensor(SHARES, device=generator.device).cumsum(0)[:-1]
    kind = torch.bucketize(uniform(count, generator), bounds)
    hole = kinds[kind, torch.arange(count, device=generator.device)]
    hole[:, 0, 0], hole[:, -1, -1] = False, True
    return ~hole[:, None]


def pixels(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, side, side) holes: 30 to 95 % of the pixels, independently."""
    share = 0.3 + 0.65 * uniform(count, generator)
    return uniform(count * side * side, generator).view(count, side, side) < share[:, None, None]


def boxes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, side, side) holes: one to three boxes, a tenth to two thirds of the side."""
    size = side * (0.1 + 0.56 * _numbers(count, 3, 2, generator=generator))
    start = side * (1.2 * _numbers(count, 3, 2, generator=generator) - 0.2)
    inside = (_grid(side, generator) >= start[..., None, None, :]) & (
        _grid(side, generator) < (start + size)[..., None, None, :]
    )
    return _first(inside.all(-1), 3, generator)


def strokes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, side, side) holes: up to `STROKES` straight strokes, 1 to 15 pixels wide and of any length."""
    start = side * (1.2 * _numbers(count, STROKES, 2, generator=generator) - 0.1)
    angle = 2 * torch.pi * _numbers(count, STROKES, generator=generator)
    length = side * _numbers(count, STROKES, generator=generator) ** 2
    along = torch.stack([angle.sin(), angle.cos()], -1)
    radius = 0.7 + 6.8 * _numbers(count, 1, generator=generator) ** 2  # one width per image, small ones more often
    offset = _grid(side, generator) - start[..., None, None, :]
    reached = (offset * along[..., None, None, :]).sum(-1).clamp(min=0).minimum(length[..., None, None])
    distance = (offset - reached[..., None] * along[..., None, None, :]).square().sum(-1)
    return _first(distance < radius[..., None, None] ** 2, STROKES, generator)


def half_planes(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, side, side) holes: all pixels on one side of a line."""
    angle = 2 * torch.pi * uniform(count, generator)
    normal = torch.stack([angle.sin(), angle.cos()], -1)
    middle = side * (0.25 + 0.5 * _numbers(count, 2, generator=generator))
    return ((_grid(side, generator) - middle[:, None, None]) * normal[:, None, None]).sum(-1) > 0


def _first(shapes: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Union of the first n of each image's shapes (count, most, side, side); n is random, 1 to `most`."""
    keep = 1 + (uniform(len(shapes), generator) * most).long()
    drawn = torch.arange(most, device=generator.device) < keep[:, None]
    return (shapes & drawn[..., None, None]).any(1)


def _numbers(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _grid(side: int, generator: torch.Generator) -> Tensor:
    """(side, side, 2): row and column of each pixel's centre."""
    line = torch.arange(side, device=generator.device) + 0.5
    return torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
