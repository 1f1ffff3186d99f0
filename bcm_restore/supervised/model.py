"""A network trained for one kind of damage, with the sampler of its process; and its files."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import networks, weights
from ..errors import RestoreError
from ..model import Noise, choose_device, choose_dtype
from ..preconditioning import input_scale, noise_scales
from ..weights.convert import is_checkpoint
from ..weights.files import fill
from .process import Damaged, Process, make_process, per_image

SIGMA_DATA = 0.5


class SupervisedModel:
    """A model that restores the damage that it was trained for.

    Args:
        network: the network, see `predict`; usually one for any image size (`networks.for_any_size`).
        process: I2SB or Palette.
        name: of the model.
        damage: what it was trained for: the task and the names of its cases.
        device, dtype: see `BCM`.

    Attributes:
        nfe: number of network evaluations so far.
    """

    def __init__(
        self,
        network: networks.Network,
        process: Process,
        *,
        name: str = "unnamed",
        damage: Mapping[str, Any] | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
    ) -> None:
        self.process, self.name, self.damage = process, name, dict(damage or {})
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.network = network.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.nfe = 0

    def predict(self, x: Tensor, damaged: Tensor, level: Tensor) -> Tensor:
        """One network evaluation at x and damaged images (B, 3, H, W), and levels (B,)."""
        self.nfe += 1
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return evaluate(self.network, self.process, x, damaged, level).float()

    @torch.no_grad()
    def restore(self, damaged: Damaged, nfe: int, noise: Noise) -> Tensor:
        """Restores images on the model's device; see `Process.sample`."""
        return self.process.sample(self.predict, damaged, nfe, noise)


def evaluate(network: Any, process: Process, x: Tensor, damaged: Tensor, level: Tensor) -> Tensor:
    """The noise (x - x_0) / level, given the damaged image too if the process is conditional.

    The preconditioning is that of BCM's posterior mean, so that a model can start from a BCM.
    """
    t = per_image(level, x)
    c_skip, c_out = noise_scales(t, SIGMA_DATA)
    inputs = input_scale(t, SIGMA_DATA) * x
    return c_skip * x + c_out * network(
        torch.cat([inputs, damaged], 1) if process.conditional else inputs, level, level
    )


def description(process: Process, damage: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a model file's description that says what the network was trained for."""
    constants = {field.name: getattr(process, field.name) for field in dataclasses.fields(process)}  # type: ignore[arg-type]
    return {"objective": process.name, "constants": constants, "damage": dict(damage), "sigma_data": SIGMA_DATA}


def save(
    path: str | os.PathLike[str],
    network: nn.Module,
    config: Mapping[str, Any],
    process: Process,
    damage: Mapping[str, Any],
) -> None:
    """Saves a network as a .safetensors file for `load`.

    Args:
        path: the file.
        network: the network.
        config: its constructor arguments.
        process: that it was trained by.
        damage: that it was trained for, "task" and "cases".
    """
    weights.save_model(path, network, config, **description(process, damage))


def load(
    name_or_path: str | os.PathLike[str], *, device: str | torch.device = "auto", dtype: str | torch.dtype = "auto"
) -> SupervisedModel:
    """Loads a model that was trained for one kind of damage.

    Raises:
        RestoreError: the file is not found, or is not such a model.
    """
    path = weights.find(name_or_path)
    found, tensors = weights.read(path)
    model = found["model"]
    if "objective" not in model:
        raise RestoreError(f"{path}: is a bidirectional consistency model; it is loaded by load_model")
    if model.get("sigma_data") != SIGMA_DATA:
        raise RestoreError(f"{path}: was trained by a version without preconditioning; train it again")
    network = networks.build(found["architecture"], found["config"])
    fill(network, tensors, path)
    process = make_process(model["objective"], **model["constants"])
    whole = networks.for_any_size(network)
    return SupervisedModel(whole, process, name=path.stem, damage=model["damage"], device=device, dtype=dtype)


def is_supervised(name_or_path: str | os.PathLike[str]) -> bool:
    """Whether a model's file holds one that was trained for one kind of damage."""
    path = weights.find(name_or_path)
    return not is_checkpoint(path) and "objective" in weights.read(path)[0]["model"]
