"""AdmUNet: the published ImageNet-64 network of bidirectional consistency models, under its published names.

ADM's U-Net (arXiv 2105.05233) as the authors of BCM changed it (arXiv 2403.18035; Mosasaur5526/BCM-iCT-torch,
BCM/cm/unet_bcf.py): two noise levels instead of one timestep, and attention whose queries, keys and values are
normalised, as in EDM2 (arXiv 2312.02696). Parameter names and shapes match the checkpoints, hence the module indices.
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
PERIOD = 10_000  # approximate ratio of the highest to the lowest frequency of the level embedding
HEAD_CHANNELS = 64  # of the published networks


class AdmUNet(Network):
    """U-Net of residual blocks with group normalisation, and attention at coarse resolutions.

    It works on images of one `size`: normalisation and attention span the whole image, so that a larger image cannot
    be evaluated in exact tiles. The defaults are the published network, of 280 million parameters.

    Attributes:
        classes, size, multiple: see `Network`.
    """

    size: int

    def __init__(
        self,
        channels: int = 192,  # base width
        multipliers: tuple[int, ...] = (
            1,
            2,
            3,
            4,
        ),  # of the width, per resolution, finest first, each half as large
        blocks: int = 3,  # residual blocks per resolution in the encoder; the decoder has one more
        attention: tuple[int, ...] = (2, 3),  # resolutions with attention, 0 the finest; the middle always has it
        classes: int = 1000,  # 0: not class-conditional
        head_channels: int = HEAD_CHANNELS,  # channels of an attention head
        dropout: float = 0.0,  # in training, at the two coarsest resolutions (the published network had 0.2)
        size: int = 64,  # height and width of the images that it is trained on
    ) -> None:
        super().__init__()
        if not set(attention) <= set(range(len(multipliers))):
            raise ValueError(f"attention at {attention}, but resolutions are 0 to {len(multipliers) - 1}")
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
            u: (B,) target level of each image.
            maps: None; present because other networks take level maps.
            labels: (B,) int64 in [0, classes); None: the mean of the classes' embeddings, which is our choice and not
                the paper's (its networks never saw an image without a class).

        Returns:
            (B, 3, H, W).

        Raises:
            RestoreError: level maps are given, or labels although the network is not class-conditional.
        """
        if maps is not None:
            raise RestoreError("AdmUNet does not support level maps; use a scheme without 'hole'")
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
        """The activated embedding (B, E) of levels (B,) and classes (B,).

        Always in float32, as in the published code: steps between levels are small.
        """
        with torch.autocast(t.device.type, enabled=False):
            both = [self.time_embed(_waves(t, self.channels)), self.time_embed_end(_waves(u, self.channels))]
            e = self.time_embed_align(torch.cat(both, 1))
            if labels is not None and not self.classes:
                raise RestoreError("this AdmUNet was trained without class labels; omit the label")
            if self.classes:
                e = e + (self.label_emb.weight.mean(0) if labels is None else self.label_emb(labels))
            return F.silu(e)

    def _encoder(self) -> tuple[nn.ModuleList, list[int]]:
        """The encoder's steps, and the number of output channels of each."""
        skips = [self._widths[0]]
        steps = nn.ModuleList([Step([nn.Conv2d(3, skips[0], 3, padding=1)])])
        for resolution, width in enumerate(self._widths):
            if resolution > 0:
                steps.append(Step([self._block(skips[-1], skips[-1], resolution - 1, _halve)]))
                skips.append(skips[-1])
            for _ in range(self._blocks):
                steps.append(Step(self._stage(skips[-1], width, resolution)))
                skips.append(width)
        return steps, skips

    def _decoder(self, skips: list[int]) -> nn.ModuleList:
        """The decoder's steps, each of which takes the skip of one encoder step, in reverse order."""
        steps = nn.ModuleList()
        before = self._widths[-1]
        for resolution, width in reversed(list(enumerate(self._widths))):
            for remaining in reversed(range(self._blocks + 1)):
                layers = self._stage(before + skips.pop(), width, resolution)
                if resolution > 0 and remaining == 0:
                    layers.append(self._block(width, width, resolution, _double))
                steps.append(Step(layers))
                before = width
        return steps

    def _stage(self, channels: int, out_channels: int, resolution: int) -> list[nn.Module]:
        """A residual block, and attention if the resolution has it."""
        layers: list[nn.Module] = [self._block(channels, out_channels, resolution)]
        if resolution in self._attention:
            layers.append(Attention(out_channels, self._head))
        return layers

    def _block(
        self, channels: int, out_channels: int, resolution: int, resample: Callable[[Tensor], Tensor] | None = None
    ) -> "Residual":
        dropout = self._dropout if resolution >= len(self._widths) - 2 else 0.0
        return Residual(channels, out_channels, self._embedding, dropout, resample)


class Step(nn.ModuleList):
    """A sequence of layers; residual blocks also receive the embedding."""

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, H, W) and embedding e (B, E) to (B, C', H', W')."""
        for layer in self:
            x = layer(x, e) if isinstance(layer, Residual) else layer(x)
        return x


class Residual(nn.Module):
    """skip(x) + conv(silu(norm(conv(silu(norm(x))) + a))), a from the embedding; skip(x) at the start of training.

    Args:
        channels: of the input.
        out_channels: of the output; the skip is a 1x1 convolution if they differ.
        embedding: width of the embedding.
        dropout: before the last convolution, in training.
        resample: (B, C, H, W) to (B, C, H', W'), for the activated input and the skip; None: keeps the size.
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
        h += self.emb_layers[1](e)[:, :, None, None]  # the SiLU, the same for every block, is already applied to e
        norm, _, dropout, convolution = self.out_layers
        h = _normalised(h, norm, convolution, dropout if self.training else None)
        return self.skip_connection(x if self.resample is None else self.resample(x)) + h


class Attention(nn.Module):
    """x + conv(self-attention(x)); the identity at the start of training.

    Raises:
        ValueError: the number of channels is not a multiple of `head_channels`.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"{channels} channels cannot be split into heads of {head_channels}")
        self.head_channels = head_channels
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj_out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        batch, channels, height, width = x.shape
        # the channel order is (q k v, head, channel of the head); with channels last all but the norm are views
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
    """Infers the arguments of `AdmUNet` from a checkpoint's tensors.

    Arguments that cannot be inferred have the published values: `head_channels` 64, `size` 64 (`dropout`, which only
    matters in training, is omitted).

    Args:
        tensors: under their published names; only their shapes are used.

    Raises:
        RestoreError: the tensors are not those of an AdmUNet.
    """
    try:
        channels = tensors["time_embed.0.weight"].shape[1]
        steps = _count(tensors, r"output_blocks\.(\d+)\.0\.in_layers\.0\.weight")
        resolutions = 1 + _count(tensors, r"output_blocks\.(\d+)\.[12]\.in_layers\.0\.weight")  # upsampling blocks
        first = [steps // resolutions * (resolutions - 1 - i) for i in range(resolutions)]  # step of each, finest first
        widths = [len(tensors[f"output_blocks.{step}.0.out_layers.0.weight"]) for step in first]
        labels = tensors.get("label_emb.weight")
    except KeyError as error:
        raise RestoreError(f"these are not an AdmUNet's tensors ({error} is missing)") from error
    if steps % resolutions or steps == resolutions or any(width % channels for width in widths):
        raise RestoreError(f"no AdmUNet has {steps} decoder steps at {resolutions} resolutions of {widths} channels")
    return {
        "channels": channels,
        "multipliers": tuple(width // channels for width in widths),
        "blocks": steps // resolutions - 1,
        "attention": tuple(i for i, step in enumerate(first) if f"output_blocks.{step}.1.qkv.weight" in tensors),
        "classes": 0 if labels is None else len(labels),
        "head_channels": HEAD_CHANNELS,
        "size": 64,
    }


def _count(names: Mapping[str, Tensor], pattern: str) -> int:
    """The number of names that match."""
    return sum(re.fullmatch(pattern, name) is not None for name in names)


def _waves(level: Tensor, width: int) -> Tensor:
    """Embeds levels (B,) as cosines and sines (B, width) of 250 log(level), in float32."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=level.device)
    frequencies = torch.exp(steps * (-math.log(PERIOD) / (width // 2)))
    angle = 250 * torch.log(level.float())[:, None] * frequencies
    return torch.cat([angle.cos(), angle.sin()], 1)


def _normalised(
    x: Tensor, norm: nn.Module, convolution: nn.Module, between: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """convolution(between(silu(norm(x)))), in place if gradients are disabled."""
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
