"""The speed of AdmUNet relative to a literal transcription of the published code: the ratio of forward times.

    python benchmarks/attention.py [--tiny] [--batch 8] [--size 64] [--device cuda --dtype bf16]

The transcription computes attention by two einsums around a softmax, with heads folded into the batch, and runs without
channels_last; all else is the same code with the same random weights. Both run in one process, alternately, so that
other load on the machine affects both.
"""

import argparse
import copy
import statistics
import time
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from bcm_restore.model import PRECISIONS
from bcm_restore.networks import AdmUNet
from bcm_restore.networks.adm_unet import Attention

TINY: dict[str, Any] = {
    "channels": 32,
    "multipliers": (1, 2),
    "blocks": 1,
    "attention": (1,),
    "classes": 10,
    "head_channels": 16,
}


class PlainAttention(nn.Module):
    """`Attention` with the same weights, computed step by step as published."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.norm, self.qkv, self.proj_out = attention.norm, attention.qkv, attention.proj_out
        self.head_channels = attention.head_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        batch, channels, height, width = x.shape
        heads = channels // self.head_channels
        qkv = self.qkv(self.norm(x)).reshape(batch, 3, heads, self.head_channels, height * width)
        norm = torch.linalg.vector_norm(qkv, dim=3, keepdim=True, dtype=torch.float32)
        qkv = qkv / (1e-4 + norm / self.head_channels**0.5).to(qkv.dtype)
        q, k, v = qkv.transpose(0, 1).flatten(1, 2)
        scale = self.head_channels**-0.25
        weights = torch.einsum("bct,bcs->bts", q * scale, k * scale).softmax(-1).to(v.dtype)
        h = torch.einsum("bts,bcs->bct", weights, v)
        return x + self.proj_out(h.reshape(batch, channels, height, width))


def plain(network: AdmUNet) -> AdmUNet:
    """A copy with plain attention."""
    network = copy.deepcopy(network)
    for step in [*network.input_blocks, network.middle_block, *network.output_blocks]:
        for i, layer in enumerate(step):
            if isinstance(layer, Attention):
                step[i] = PlainAttention(layer)
    return network


def seconds(network: AdmUNet, inputs: tuple[Tensor, ...]) -> float:
    start = time.perf_counter()
    network(*inputs)
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="use a tiny network, to test the script")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=64, help="height and width of the images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=list(PRECISIONS), default="fp32")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    torch.manual_seed(0)
    ours = AdmUNet(**TINY if options.tiny else {}).to(options.device).eval().requires_grad_(False)
    for parameter in ours.parameters():  # zero initialisation would hide differences
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    theirs = plain(ours)
    ours = ours.to(memory_format=torch.channels_last)
    x = torch.randn(options.batch, 3, options.size, options.size, device=options.device)
    t = torch.logspace(-2, 1, options.batch, device=options.device)
    there, here = (x, t, t.flip(0)), (x.to(memory_format=torch.channels_last), t, t.flip(0))

    dtype = PRECISIONS[options.dtype]
    with torch.no_grad(), nullcontext() if dtype == torch.float32 else torch.autocast(x.device.type, dtype):
        difference = float((ours(*here) - theirs(*there)).abs().max())  # also warms up both
        pairs = [(seconds(ours, here), seconds(theirs, there)) for _ in range(options.repeats)]
    fast, slow = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"AdmUNet {fast:.4f} s, plain transcription {slow:.4f} s: {slow / fast:.2f} times as fast")
    print(f"medians of {options.repeats}; outputs differ by {difference:.1e} at most")


if __name__ == "__main__":
    main()
