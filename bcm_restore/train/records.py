"""Records of a training run: a CSV log and, optionally, TensorBoard files."""

import csv
from pathlib import Path

import torch
from torch import Tensor

from ..errors import RestoreError
from ..model import BCM, Noise
from .trainer import Status, Trainer
from .validation import SCORES, fill

LOG = "log.csv"
EVERY = 10.0  # seconds between lines
SHOWN = 8  # images in TensorBoard's grids


class Log:
    """The run's CSV log: a line every ten seconds, and one for each validation.

    Args:
        folder: the run's folder.
        resume: append to an existing file.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self.path = folder / LOG
        self.last = -EVERY
        if not resume:
            self.path.unlink(missing_ok=True)

    def __call__(self, status: Status) -> None:
        """Writes a line if one is due."""
        if not status.scores and status.seconds - self.last < EVERY and status.progress < 1:
            return
        self.last = status.seconds
        line = {
            "step": status.step,
            "seconds": round(status.seconds, 1),
            "images_per_second": round(status.speed, 1),
            **{name: round(value, 6) for name, value in status.losses.items()},
            **{name: round(status.scores[name], 5) if name in status.scores else "" for name in SCORES},
        }
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, line)
            if new:
                writer.writeheader()
            writer.writerow(line)


class Board:
    """TensorBoard: losses, scores, and at each validation grids of samples and restored images.

    Args:
        folder: the run's folder.
        trainer: its model makes the images.

    Raises:
        RestoreError: the package tensorboard is missing.
    """

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RestoreError(
                "--tensorboard needs the package tensorboard; pip install 'bcm-restore[train]'"
            ) from error
        self.writer = SummaryWriter(str(folder / "tensorboard"))
        self.trainer = trainer

    def __call__(self, status: Status) -> None:
        """Adds the numbers, and the images of a validation."""
        for name, value in status.losses.items():
            self.writer.add_scalar(f"loss/{name}", value, status.step)
        for name, value in status.scores.items():
            self.writer.add_scalar(f"validation/{name}", value, status.step)
        model = self.trainer.model() if status.scores else None
        if isinstance(model, BCM):
            for name, batch in images(model, self.trainer.held_out[:SHOWN]).items():
                self.writer.add_images(name, batch, status.step)
            self.writer.flush()


def images(model: BCM, clean: Tensor) -> dict[str, Tensor]:
    """Batches (B, 3, H, W) in [0, 1] of samples and reconstructions, always with the same noise.

    Args:
        model: the model.
        clean: (B, 3, H, W) in [-1, 1].

    Returns:
        samples: one-step samples; round_trip: inverted, then denoised; denoised: from sigma 50 (of 255); filled:
        inpainted from 20 % of the pixels.
    """
    clean = clean.to(model.device)
    noise = Noise(range(len(clean)))
    shown = {"samples": model.denoise(model.sigma_max * noise(clean), model.sigma_max)}
    shown["round_trip"] = model.denoise(model.invert(clean + 0.07 * noise(clean), 0.07), model.sigma_max)
    if model.diagonal:
        shown["denoised"] = model.mean(clean + 50 / 127.5 * noise(clean), 50 / 127.5)
    if model.level_maps:
        known = torch.rand(clean[:, :1].shape, generator=torch.Generator().manual_seed(0)).to(clean.device) < 0.2
        start = torch.where(known, clean, model.sigma_max * noise(clean))
        shown["filled"] = fill(model, start, known)
    return {name: (batch.clamp(-1, 1) + 1).cpu() / 2 for name, batch in shown.items()}
