"""Interpolation between two pictures, spherically between their noises."""

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
from .arrays import check_values, to_tensor
from .base import DEFAULT_NFE, Problem, Restoration, Task, loaded, with_cpu_fallback
from .paths import open_file
from .transparency import without_hidden


class Interpolate(Task):
    """Both pictures are inverted to the scheme's highest level with the same noise, mixed there, and generated again.

    The round-trip error of a picture is added back to the frames that are nearer to it, so that the first and the
    last frame are the two pictures themselves and the sequence has no jumps.
    """

    name = "interpolate"
    summary = "makes the frames between two pictures"

    def problem(self, image: Tensor, **inputs: Any) -> Problem:
        """There are no measurements: no pixel is known, and the estimates are the pictures (2, 3, H, W) themselves."""
        known = torch.zeros(1, 1, *image.shape[2:], dtype=torch.bool, device=image.device)
        return Problem(Mask(known), image, image)

    @with_cpu_fallback
    def run(
        self,
        image: Sequence[Any],
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
            image: the two pictures, of one type and size, or their paths; see `Task.run`.
            nfe: network evaluations from a picture to a frame: selects the default scheme.
            scheme, model, label, seed: see `Task.run`; the label applies to both pictures.
            progress: called with (evaluations done, total of all frames).
            frames: number of frames, including the two ends.
            exact: adds the round-trip error back; False: all frames, including the ends, are what the model generates.

        Returns:
            `image` is the list of frames, each of the input's type; `nfe` is that of one frame.

        Raises:
            RestoreError: there are not two pictures, they differ in size, or there are fewer than two frames.
        """
        check_names(self, inputs)
        nfe, seed, frames = whole("nfe", nfe), whole("seed", seed), whole("frames", frames)
        if len(image) != 2:
            raise RestoreError(f"interpolate takes two pictures, not {len(image)}")
        image = [open_file(one) if isinstance(one, str | Path) else one for one in image]
        if frames < 2:
            raise RestoreError(f"{frames} frames are too few; give at least 2, the two ends")
        (a, from_tensor), (b, _) = (to_tensor(without_hidden(picture)) for picture in image)
        if a.shape != b.shape:
            sizes = " and ".join(f"{x.shape[-1]}x{x.shape[-2]}" for x in (a, b))
            raise RestoreError(f"the two pictures differ in size ({sizes}); make them the same size")
        if len(a) != 1:
            raise RestoreError("interpolate takes single pictures, not batches")
        for picture in (a, b):
            check_values(picture)
        model = loaded(model)
        chosen = self.choose(scheme, nfe, model, "any")
        pair = torch.cat([a, b]).to(model.device)
        generated = self._frames(pair, chosen, model, model.labels(label), seed, frames, progress)
        if exact:
            between = add_round_trip_error(generated, pair)
            sequence = [image[0], *map(from_tensor, between), image[1]]
        else:
            sequence = list(map(from_tensor, generated))
        return Restoration(sequence, chosen, chosen.nfe, "any", model.name)

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
        """The generated frames (1, 3, H, W) from one picture of (2, 3, H, W) to the other."""
        schemes.check(scheme, model)
        up, down = split(scheme)
        problem = self.problem(pair)
        setting = schemes.Setting(model, problem.operator, problem.y, Noise([seed, seed]), labels=labels)
        state = schemes.State(pair, 0.0)
        schemes.advance([state], up, [setting])
        latents, level = state.x, state.level
        total, done = 2 * up.nfe + frames * down.nfe, 2 * up.nfe

        def generate(latent: Tensor) -> Tensor:
            nonlocal done
            frame = schemes.State(latent, level)
            schemes.advance([frame], down, [dataclasses.replace(setting, noise=Noise([seed]))])
            done += down.nfe
            if progress:
                progress(done, total)
            return frame.x

        return [generate(slerp(latents[:1], latents[1:], n / (frames - 1))) for n in range(frames)]


def add_round_trip_error(frames: Sequence[Tensor], pair: Tensor) -> list[Tensor]:
    """The frames between the ends, with the round-trip error of the nearer picture of (2, 3, H, W) added back."""
    first, last = pair[:1] - frames[0], pair[1:] - frames[-1]
    weights = [n / (len(frames) - 1) for n in range(1, len(frames) - 1)]
    return [
        frame + max(1 - 2 * w, 0) * first + max(2 * w - 1, 0) * last
        for frame, w in zip(frames[1:-1], weights, strict=True)
    ]


def split(scheme: Scheme) -> tuple[Scheme, Scheme]:
    """The moves up to the highest level, and those after it."""
    levels = [move.level.value if move.level else 0.0 for move in scheme.moves]
    top = levels.index(max(levels)) + 1
    return Scheme(scheme.moves[:top]), Scheme(scheme.moves[top:])


def slerp(a: Tensor, b: Tensor, weight: float) -> Tensor:
    """Spherical interpolation of (1, 3, H, W) tensors: sin((1-w) o)/sin(o) a + sin(w o)/sin(o) b, o the angle between.

    It keeps the norm of Gaussian noise; if the angle vanishes, it is linear interpolation.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0).double().clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle < 1e-3:
        return torch.lerp(a, b, weight)
    scale_a, scale_b = (torch.sin(part * angle) / torch.sin(angle) for part in (1 - weight, weight))
    return scale_a.to(a.dtype) * a + scale_b.to(b.dtype) * b
