"""Rounded numbers: what they were, given an estimate."""

import math

import torch
from torch import Tensor


def expected_in_interval(mean: Tensor, deviation: Tensor) -> Tensor:
    """The expectation of normal numbers that are known to be between -1/2 and 1/2: of a truncated normal distribution.

    With a = (-1/2 - m) / s, b = (1/2 - m) / s and the normal density phi and distribution Phi it is

        m + s (phi(a) - phi(b)) / (Phi(b) - Phi(a))

    Args:
        mean: m. Those more than 6 s outside are taken as at 6 s.
        deviation: s, of the same shape. Those above 4 are taken as 4; the result is then almost 0 anyway.
    """
    s = deviation.clamp(1e-3, 4.0)
    m = mean.abs()  # by symmetry: Phi is most accurate in the lower tail
    m = torch.minimum(m, 6 * s + 0.5, out=m)
    a, b = (-0.5 - m) / s, (0.5 - m) / s
    densities = torch.exp(a * a / -2) - torch.exp(b * b / -2)
    probability = torch.erfc(b * -(0.5**0.5)) - torch.erfc(a * -(0.5**0.5))
    return m.add_(s * densities / probability, alpha=(2 / math.pi) ** 0.5).copysign_(mean)
