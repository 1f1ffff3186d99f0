"""AdmUNet: the published ImageNet-64 network of bidirectional consistency models, under its published names.

ADM's U-Net (arXiv 2105.05233) as the authors of BCM changed it (arXiv 2403.18035; Mosasaur5526/BCM-iCT-torch,
BCM/cm/unet_bcf.py): two levels instead of one timestep, and attention whose queries, keys and values are normalised,
as in EDM2 (arXiv 2312.02696). Parameter names and shapes are the checkpoints' own, hence the indices in the modules.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import RestoreError
from .base import Network

GROUPS = 32  # of every normalisation
PERIOD = 10_000  # the fastest wave of a level's embedding is about this many times as fast as the slowest
HEAD_CHANNELS = 64  # of the published networks


class AdmUNet(Network):
    """U-Net of residual blocks with group normalisation, and attention at its coarser levels.

    Made for images of `size`: statistics and attention go over the whole image, so that tiles of a larger one would not
    give the same pixels. The defaults are the published network, of 280 million parameters.

    Attributes:
        classes, size, multiple: see `Network`.
    """

    size: int

    def __init__(
        self,
        channels: int = 192,  # the width that the multipliers multiply
        multipliers: tuple[int, ...] = (1, 2, 3, 4),  # of the channels at each level, finest first, each half as large
        blocks: int = 3,  # residual blocks a level, in the encoder; the decoder has one more
        attention: tuple[int, ...] = (2, 3),  # levels with attention, 0 the finest; the middle always has it
        classes: int = 1000,  # 0: takes no labels
        head_channels: int = HEAD_CHANNELS,  # channels of an attention head
        dropout: float = 0.0,  # in training, at the two coarsest levels (the published network had 0.2)
        size: int = 64,  # height and width of the images that it is trained on
    ) -> None:
        super().__init__()
        if not set(attention) <= set(range(len(multipliers))):
            raise ValueError(f"attention at {attention}, where levels are 0 to {len(multipliers) - 1}")
        self.channels, self.classes, self.size = channels, classes, size
        self.multiple = 2 ** (len(multipliers) - 1)
        self._blocks, self._attention, self._head, self._dropout = blocks, frozenset(attention), head_channels, dropout
        self._widths = [channels * multiplier for multiplier in multipliers]
        self._embedding = 4 * channels
        self.time_embed = _embedding(channels, self._embedding)
        self.time_embed_end = _embedding(channels, self._embedding)
        self.time_embed_align = nn.Linear(2 * self._embedding, self._embedding, bias=False)
        if classes:
            self.label_emb = nn.Embedding(classes, self._embedding)
        self.input_blocks, skips = self._encoder()
        coarsest = len(multipliers) - 1
        width = self._widths[coarsest]
        self.middle_block = Step([self._block(width, width, coarsest), Attention(width, head_channels)])
        self.middle_block.append(self._block(width, width, coarsest))
        self.output_blocks = self._decoder(skips)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, self._widths[0]), nn.SiLU(), _zero(nn.Conv2d(self._widths[0], 3, 3, padding=1))
        )

    def forward(
        self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """The raw network F(c_in x, t, u).

        Args:
            x: (B, 3, H, W), already scaled by c_in; H and W multiples of `multiple`, best `size`.
            t: (B,) level of each image.
            u: (B,) level it goes to.
            maps: None; there for the sake of networks that know level maps.
            labels: (B,) int64 in [0, classes); None: the mean of the classes' embeddings, which is our choice and not
                the paper's (its networks never saw an image without a class).

        Returns:
            (B, 3, H, W).

        Raises:
            RestoreError: there are level maps, or labels for a network that takes none.
        """
        if maps is not None:
            raise RestoreError("AdmUNet knows no level maps; use a scheme without 'hole'")
        e = self._embed(t, u, labels)
        h, skips = x, []
        for step in self.input_blocks:
            h = step(h, e)
            skips.append(h)
        h = self.middle_block(h, e)
        for step in self.output_blocks:
            h = step(torch.cat([h, skips.pop()], 1), e)
        return _normalised(h, self.out[0], self.out[2])

    def _embed(self, t: Tensor, u: Tensor, labels: Tensor | None) -> Tensor:
        """(B, E), what the residual blocks hear of the levels (B,) and the classes (B,), activated.

        In float32 whatever the precision around it, as in the published code: a step in the levels is small.
        """
        with torch.autocast(t.device.type, enabled=False):
            both = [self.time_embed(_waves(t, self.channels)), self.time_embed_end(_waves(u, self.channels))]
            e = self.time_embed_align(torch.cat(both, 1))
            if labels is not None and not self.classes:
                raise RestoreError("this AdmUNet was trained without class labels; give it none")
            if self.classes:
                e = e + (self.label_emb.weight.mean(0) if labels is None else self.label_emb(labels))
            return F.silu(e)

    def _encoder(self) -> tuple[nn.ModuleList, list[int]]:
        """The steps down, and how many channels leave each of them."""
        skips = [self._widths[0]]
        steps = nn.ModuleList([Step([nn.Conv2d(3, skips[0], 3, padding=1)])])
        for level, width in enumerate(self._widths):
            if level > 0:
                steps.append(Step([self._block(skips[-1], skips[-1], level - 1, _halve)]))
                skips.append(skips[-1])
            for _ in range(self._blocks):
                steps.append(Step(self._stage(skips[-1], width, level)))
                skips.append(width)
        return steps, skips

    def _decoder(self, skips: list[int]) -> nn.ModuleList:
        """The steps up, each of which takes what left one step down, last first."""
        steps = nn.ModuleList()
        before = self._widths[-1]
        for level, width in reversed(list(enumerate(self._widths))):
            for remaining in reversed(range(self._blocks + 1)):
                layers = self._stage(before + skips.pop(), width, level)
                if level > 0 and remaining == 0:
                    layers.append(self._block(width, width, level, _double))
                steps.append(Step(layers))
                before = width
        return steps

    def _stage(self, inside: int, outside: int, level: int) -> list[nn.Module]:
        """A residual block and, where the level has it, attention."""
        layers: list[nn.Module] = [self._block(inside, outside, level)]
        if level in self._attention:
            layers.append(Attention(outside, self._head))
        return layers

    def _block(
        self, inside: int, outside: int, level: int, resample: Callable[[Tensor], Tensor] | None = None
    ) -> "Residual":
        dropout = self._dropout if level >= len(self._widths) - 2 else 0.0
        return Residual(inside, outside, self._embedding, dropout, resample)


class Step(nn.ModuleList):
    """Layers one after the other, of which residual blocks hear the embedding."""

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, H, W) and embedding e (B, E) to (B, C', H', W')."""
        for layer in self:
            x = layer(x, e) if isinstance(layer, Residual) else layer(x)
        return x


class Residual(nn.Module):
    """skip(x) + conv(silu(norm(conv(silu(norm(x))) + a))), a from the embedding; skip(x) at the start of training.

    Args:
        channels: that come in.
        out_channels: that go out; the skip is a 1x1 convolution if they differ.
        embedding: width of the embedding.
        dropout: before the last convolution, in training.
        resample: (B, C, H, W) to (B, C, H', W'), of the activated input and the skip; None: the size stays.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        embedding: int,
        dropout: float = 0.0,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            _zero(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        same = channels == out_channels
        self.skip_connection: nn.Module = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, H, W) and activated embedding e (B, E) to (B, C', H', W')."""
        norm, _, convolution = self.in_layers
        h = _normalised(x, norm, convolution, self.resample)
        h += self.emb_layers[1](e)[:, :, None, None]  # the SiLU before it has been: it is the same for every block
        norm, _, dropout, convolution = self.out_layers
        h = _normalised(h, norm, convolution, dropout if self.training else None)
        return self.skip_connection(x if self.resample is None else self.resample(x)) + h


class Attention(nn.Module):
    """x + conv(attention of every pixel to every other); the identity at the start of training.

    Raises:
        ValueError: the channels don't divide into heads.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"{channels} channels don't divide into heads of {head_channels}")
        self.head_channels = head_channels
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        batch, channels, height, width = x.shape
        # Heads lie as (three, head, channel of the head). With channels last every step but the norm is a view.
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1)
        qkv = unit(qkv.reshape(batch, height * width, 3, channels // self.head_channels, self.head_channels))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return x + self.proj_out(h.reshape(batch, height, width, channels).permute(0, 3, 1, 2))


def unit(x: Tensor) -> Tensor:
    """x / (1e-4 + ||x|| / sqrt(n)) over the last dimension, of length n: mean square 1, as in EDM2."""
    wide = torch.promote_types(x.dtype, torch.float32)  # the squares of float16 would overflow
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    return x / (1e-4 + norm / math.sqrt(x.shape[-1])).to(x.dtype)


def infer_config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the `AdmUNet` that a checkpoint's tensors belong to.

    What leaves no trace in them is as published: `head_channels` 64, `size` 64 (and `dropout`, which only training
    needs, is left out).

    Args:
        tensors: under their published names; their shapes alone are looked at.

    Raises:
        RestoreError: they are not an AdmUNet's.
    """
    try:
        channels = tensors["time_embed.0.weight"].shape[1]
        steps = _count(tensors, r"output_blocks\.(\d+)\.0\.in_layers\.0\.weight")
        levels = 1 + _count(tensors, r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.weight")  # a doubling between any two
        first = [steps // levels * (levels - 1 - level) for level in range(levels)]  # step of each level, finest first
        widths = [len(tensors[f"output_blocks.{step}.0.out_layers.0.weight"]) for step in first]
        labels = tensors.get("label_emb.weight")
    except KeyError as error:
        raise RestoreError(f"these are not an AdmUNet's tensors ({error} is missing)") from error
    if steps % levels or steps == levels or any(width % channels for width in widths):
        raise RestoreError(f"no AdmUNet has {steps} steps up in {levels} levels of {widths} channels")
    return {
        "channels": channels,
        "multipliers": tuple(width // channels for width in widths),
        "blocks": steps // levels - 1,
        "attention": tuple(i for i, step in enumerate(first) if f"output_blocks.{step}.1.qkv.weight" in tensors),
        "classes": 0 if labels is None else len(labels),
        "head_channels": HEAD_CHANNELS,
        "size": 64,
    }


def _count(names: Mapping[str, Tensor], pattern: str) -> int:
    """How many of the names match."""
    return sum(re.fullmatch(pattern, name) is not None for name in names)


def _waves(level: Tensor, width: int) -> Tensor:
    """Levels (B,) to cosines and sines (B, width) of 250 log(level), in float32."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=level.device)
    frequencies = torch.exp(steps * (-math.log(PERIOD) / (width // 2)))
    angle = 250 * torch.log(level.float())[:, None] * frequencies
    return torch.cat([angle.cos(), angle.sin()], 1)


def _normalised(
    x: Tensor, norm: nn.Module, convolution: nn.Module, between: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """convolution(between(silu(norm(x)))), in place where gradients allow it."""
    h = F.silu(norm(x), inplace=not torch.is_grad_enabled())
    return convolution(h if between is None else between(h))


def _halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _embedding(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
