"""The preconditioning of the network, for inference and training: f = c_skip x + c_out F(c_in x, t, u).

Levels are tensors of any shape; results have the same shape. See arXiv 2403.18035, eq. 8, and EDM (arXiv 2206.00364).
"""

from torch import Tensor


def input_scale(t: Tensor, sigma_data: float) -> Tensor:
    """c_in = 1 / sqrt(t^2 + sigma_data^2)."""
    return (t**2 + sigma_data**2).rsqrt()


def traverse_scales(t: Tensor, u: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """c_skip = (t u + sigma_data^2) / (t^2 + sigma_data^2), c_out = sigma_data (t - u) / sqrt(t^2 + sigma_data^2)."""
    variance = t**2 + sigma_data**2
    return (t * u + sigma_data**2) / variance, sigma_data * (t - u) * variance.rsqrt()


def mean_scales(t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """For the posterior mean: sigma_data^2 / (t^2 + sigma_data^2), t sigma_data / sqrt(t^2 + sigma_data^2)."""
    variance = t**2 + sigma_data**2
    return sigma_data**2 / variance, t * sigma_data * variance.rsqrt()


def noise_scales(t: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """For the noise (x - x_0) / t: t / (t^2 + sigma_data^2), -sigma_data / sqrt(t^2 + sigma_data^2)."""
    variance = t**2 + sigma_data**2
    return t / variance, -sigma_data * variance.rsqrt()
