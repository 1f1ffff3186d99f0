"""Interpolation: the pictures between two pictures, along the great circle between their noises."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import schemes
from ..errors import RestoreError
from ..model import BCM, Label, Noise
from ..operators import Mask
from ..schemes import Progress, Scheme
from .arguments import check_names, whole
from .arrays import AnyImage, check_values, to_tensor
from .base import DEFAULT_NFE, Problem, Restoration, Task, or_on_cpu, ready
from .transparency import without_hidden


class Interpolate(Task):
    """Both pictures follow the scheme up to its highest level with the same noise, are mixed there, and come back.

    What the round trip loses of a picture is added back in the frames that are nearer to it, so that the first and the
    last frame are the two pictures themselves and none jumps.
    """

    name = "interpolate"
    summary = "makes the pictures between two pictures"

    def problem(self, image: Tensor, **inputs: Any) -> Problem:
        """Nothing is measured: no pixel is known, and the estimates are the pictures (2, 3, H, W) themselves."""
        nothing = torch.zeros(1, 1, *image.shape[2:], dtype=torch.bool, device=image.device)
        return Problem(Mask(nothing), image, image)

    @or_on_cpu
    def run(
        self,
        image: Sequence[AnyImage],
        *,
        nfe: int = DEFAULT_NFE,
        scheme: str | Scheme | None = None,
        model: BCM | str | Path | None = None,
        label: Label | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        frames: int = 9,
        exact: bool = True,
        **inputs: Any,
    ) -> Restoration:
        """Interpolates between two pictures.

        Args:
            image: the two pictures, of one kind and size; see `Task.run`.
            nfe: network evaluations from a picture to a frame: picks the default scheme.
            scheme, model, label, seed: see `Task.run`; the label is that of both pictures.
            progress: called with (evaluations done, evaluations in all frames).
            frames: number of pictures to make, the two ends included.
            exact: what the round trip loses is added back; False: all frames, the ends included, as they come back.

        Returns:
            `image` is the list of frames, each of the kind that was given; `nfe` is what one frame takes.

        Raises:
            RestoreError: there are not two pictures, they differ in size, or there are fewer than two frames.
        """
        check_names(self, inputs)
        nfe, seed, frames = whole("nfe", nfe), whole("seed", seed), whole("frames", frames)
        if len(image) != 2:
            raise RestoreError(f"interpolate takes two pictures, not {len(image)}")
        if frames < 2:
            raise RestoreError(f"{frames} frames are too few; the two ends alone make 2")
        (a, back), (b, _) = (to_tensor(without_hidden(picture)) for picture in image)
        if a.shape != b.shape:
            sizes = " and ".join(f"{x.shape[-1]}x{x.shape[-2]}" for x in (a, b))
            raise RestoreError(f"the two pictures differ in size ({sizes}); make them the same size")
        if len(a) != 1:
            raise RestoreError("interpolate takes single pictures, not batches")
        for picture in (a, b):
            check_values(picture)
        model = ready(model)
        chosen = self.choose(scheme, nfe, model, "any")
        pair = torch.cat([a, b]).to(model.device)
        found = self._frames(pair, chosen, model, model.labels(label), seed, frames, progress)
        made = [image[0], *map(back, complete(found, pair)), image[1]] if exact else list(map(back, found))
        return Restoration(made, chosen, chosen.nfe, "any", model.name)

    def _frames(
        self,
        pair: Tensor,
        scheme: Scheme,
        model: BCM,
        labels: Tensor | None,
        seed: int,
        frames: int,
        progress: Progress | None,
    ) -> list[Tensor]:
        """The frames (1, 3, H, W) from one picture of (2, 3, H, W) to the other, as they come back."""
        schemes.check(scheme, model)
        up, down = split(scheme)
        problem = self.problem(pair)
        setting = schemes.Setting(model, problem.operator, problem.y, Noise([seed, seed]), labels=labels)
        state = schemes.State(pair, 0.0)
        schemes.advance([state], up, [setting])
        latents, level = state.x, state.level
        total, done = 2 * up.nfe + frames * down.nfe, 2 * up.nfe

        def come_back(latent: Tensor) -> Tensor:
            nonlocal done
            frame = schemes.State(latent, level)
            schemes.advance([frame], down, [dataclasses.replace(setting, noise=Noise([seed]))])
            done += down.nfe
            if progress:
                progress(done, total)
            return frame.x

        return [come_back(slerp(latents[:1], latents[1:], n / (frames - 1))) for n in range(frames)]


def complete(frames: Sequence[Tensor], pair: Tensor) -> list[Tensor]:
    """The frames between the ends, with what the round trip lost of the nearer picture of (2, 3, H, W) added back."""
    first, last = pair[:1] - frames[0], pair[1:] - frames[-1]
    weights = [n / (len(frames) - 1) for n in range(1, len(frames) - 1)]
    return [
        frame + max(1 - 2 * w, 0) * first + max(2 * w - 1, 0) * last
        for frame, w in zip(frames[1:-1], weights, strict=True)
    ]


def split(scheme: Scheme) -> tuple[Scheme, Scheme]:
    """The moves up to the highest level, and those that come back from it."""
    levels = [move.level.value if move.level else 0.0 for move in scheme.moves]
    top = levels.index(max(levels)) + 1
    return Scheme(scheme.moves[:top]), Scheme(scheme.moves[top:])


def slerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """Spherical interpolation of (1, 3, H, W) tensors: sin((1-w) o)/sin(o) a + sin(w o)/sin(o) b, o the angle between.

    The mixture of two noises has the length of a noise; where the angle vanishes it is the linear one.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).double().clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle < 1e-3:
        return torch.lerp(a, b, weight)
    scale_a, scale_b = (torch.sin(part * angle) / torch.sin(angle) for part in (1 - weight, weight))
    return scale_a.to(a.dtype) * a + scale_b.to(b.dtype) * b
