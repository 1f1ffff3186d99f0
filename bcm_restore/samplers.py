"""Generation, inversion and reconstruction by the published schedules (arXiv 2403.18035), or by any scheme.

A schedule is a scheme: generation starts from noise of level sigma_max and denoises it; inversion first adds a little
noise to an image, because the map is inaccurate near level zero, and then raises the level. Images are (B, 3, H, W) in
[-1, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from . import ode, schemes
from .errors import RestoreError, instead
from .model import BCM, Label, Noise
from .operators import Mask
from .schemes import Progress, Scheme

GENERATION = {
    "one-step": "noise 80, to 0",
    "ancestral-2": "noise 80, to 2.4, to 0",
    "zigzag-3": "noise 80, to 0, noise 0.1, to 1.2, to 0",
    "mixed-4": "noise 80, to 3, to 0, noise 0.12, to 0.4, to 0",
}
"""Schedules of generation, with the levels of Mosasaur5526/BCM-iCT-torch, BCM/scripts/image_sample.py."""

INVERSION = {
    "inversion-1": "noise 0.07, to 80",
    "inversion-2": "noise 0.07, to 15, to 80",
}
"""Schedules of inversion, with levels of the same file."""

RECONSTRUCTION = {
    2: "noise 0.07, to 80, to 0",
    3: "noise 0.07, to 15, to 80, to 0",
}
"""Inversion in one or two evaluations, then denoising in one: by NFE of the round trip."""

SIZE = 64  # height and width of generated images, unless the network has its own size


@dataclass(frozen=True)
class Reconstruction:
    """Images after inversion and denoising.

    Attributes:
        image: (B, 3, H, W) in [-1, 1].
        mse: (B,) mean squared error of each image's pixels, in units where black is 0 and white is 1, as published.
        scheme: the scheme that was run.
    """

    image: Tensor
    mse: Tensor
    scheme: Scheme


def generate(
    model: BCM,
    n: int,
    schedule: str | Scheme = "one-step",
    *,
    size: tuple[int, int] | None = None,
    label: Label | Sequence[Label] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Generates images from noise, in one batch.

    Args:
        model: a loaded model.
        n: number of images.
        schedule: a name in `GENERATION`, or a scheme that begins by adding noise.
        size: height and width; None: the size of the images that the network was trained on, or 64x64.
        label: class of all images, or of each; see `BCM.labels`.
        seed: image i starts from the noise of seed + i, so that generate(n, seed) and generate(m, seed + n) together
            equal generate(n + m, seed).
        progress: called with (evaluations done, total evaluations) after each evaluation.

    Returns:
        (n, 3, H, W) in [-1, 1], on the model's device.

    Raises:
        RestoreError: the schedule is invalid (see `generation`), or there is no such class.
    """
    scheme = generation(schedule)
    height, width = size or (model.network.size or SIZE,) * 2
    nothing = torch.zeros(n, 3, height, width, device=model.device)
    return _run(scheme, model, nothing, range(seed, seed + n), model.labels(label), progress).clamp_(-1, 1)


def integrate(
    model: BCM,
    n: int,
    solver: str,
    nfe: int,
    *,
    size: tuple[int, int] | None = None,
    label: Label | Sequence[Label] | None = None,
    seed: int = 0,
) -> Tensor:
    """Generates images by a published solver of the ODE, on the levels of EDM, to compare with the schedules.

    Args:
        model: a model with a posterior mean.
        n: number of images.
        solver: "dpm-solver++" or "deis".
        nfe: number of network evaluations.
        size, label, seed: see `generate`.

    Returns:
        (n, 3, H, W) in [-1, 1], on the model's device.

    Raises:
        RestoreError: there is no such solver or class, or the model has no posterior mean.
    """
    if solver not in ode.SOLVERS:
        raise RestoreError(f"solver '{solver}' is not known; choose {' or '.join(ode.SOLVERS)}")
    if nfe < 1:
        raise RestoreError(f"nfe is {nfe}; give at least 1")
    height, width = size or (model.network.size or SIZE,) * 2
    labels = model.labels(label)
    x = Noise(range(seed, seed + n))(torch.zeros(n, 3, height, width, device=model.device)) * model.sigma_max
    levels = ode.ladder(nfe, model.sigma_max, model.sigma_min)
    return ode.SOLVERS[solver](lambda x, t: model.mean(x, t, labels=labels), x, levels).clamp_(-1, 1)


def invert(
    model: BCM,
    x: Tensor,
    schedule: str | Scheme = "inversion-1",
    *,
    label: Label | Sequence[Label] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Finds the noise that the ODE maps to the images.

    Args:
        model: a loaded model.
        x: (B, 3, H, W) in [-1, 1].
        schedule: a name in `INVERSION`, or a scheme.
        label: class of all images, or of each; see `BCM.labels`.
        seed: of the small noise that is added first, the same for each image.
        progress: called with (evaluations done, total evaluations) after each evaluation.

    Returns:
        (B, 3, H, W) at the schedule's last level, for the published ones about 80 times standard Gaussian noise.

    Raises:
        RestoreError: the schedule is unknown, or there is no such class.
    """
    return _run(_parse(schedule, INVERSION), model, x.to(model.device), [seed] * len(x), model.labels(label), progress)


def reconstruct(
    model: BCM,
    x: Tensor,
    schedule: int | str | Scheme = 2,
    *,
    label: Label | Sequence[Label] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Reconstruction:
    """Inverts images to noise and denoises them again.

    Args:
        model: a loaded model.
        x: (B, 3, H, W) in [-1, 1].
        schedule: the NFE of a round trip in `RECONSTRUCTION`, or a scheme.
        label, seed, progress: see `invert`.

    Raises:
        RestoreError: the schedule is invalid (see `round_trip`), or there is no such class.
    """
    scheme = round_trip(schedule)
    x = x.to(model.device)
    image = _run(scheme, model, x, [seed] * len(x), model.labels(label), progress).clamp_(-1, 1)
    return Reconstruction(image, (image - x).div_(2).square_().mean((1, 2, 3)), scheme)


def generation(schedule: str | Scheme) -> Scheme:
    """The scheme of that name in `GENERATION`, or a custom scheme that generates images from noise.

    Raises:
        RestoreError: it is neither.
    """
    scheme = _clean(_parse(schedule, GENERATION))
    if scheme.moves[0].word != "noise":
        raise RestoreError(f'schedule "{scheme}" does not start from noise; begin it with "noise 80"')
    return scheme


def round_trip(schedule: int | str | Scheme) -> Scheme:
    """The scheme of that NFE in `RECONSTRUCTION`, or a custom scheme from images to images.

    Raises:
        RestoreError: it is neither.
    """
    if isinstance(schedule, int):
        if schedule not in RECONSTRUCTION:
            published = " and ".join(map(str, RECONSTRUCTION))
            raise RestoreError(f"the published round trips have NFE {published}, not {schedule}; give a scheme")
        schedule = RECONSTRUCTION[schedule]
    return _clean(_parse(schedule, {}))


def _clean(scheme: Scheme) -> Scheme:
    if not scheme.ends_clean:
        raise RestoreError(f'schedule "{scheme}" leaves noise in the image; end it with "to 0" or "mean"')
    return scheme


def _parse(schedule: str | Scheme, known: dict[str, str]) -> Scheme:
    """The schedule of that name, or a scheme without data consistency.

    Raises:
        RestoreError: it is neither, or it needs measurements.
    """
    if isinstance(schedule, Scheme):
        scheme = schedule
    elif known and len(schedule.split()) == 1 and schedule not in (*known, "mean", "fit"):
        raise RestoreError(f"schedule '{schedule}' is not known; {instead(schedule, known)} (or give a scheme)")
    else:
        scheme = schemes.parse(known.get(schedule, schedule))
    for move in scheme.moves:
        if move.word == "fit" or move.hole:
            raise RestoreError(f"schedule \"{scheme}\": '{move}' needs measurements, and a schedule has none")
    return scheme


def _run(
    scheme: Scheme, model: BCM, x: Tensor, seeds: Sequence[int], labels: Tensor | None, progress: Progress | None
) -> Tensor:
    """Runs the scheme on x (B, 3, H, W) at level zero, without known pixels."""
    nothing = Mask(torch.zeros(1, 1, *x.shape[2:], dtype=torch.bool, device=x.device))
    return schemes.run(scheme, model, x, nothing, x, Noise(seeds), labels=labels, progress=progress)
