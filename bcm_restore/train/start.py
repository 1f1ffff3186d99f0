"""Builds a trainer from a configuration: pictures, network, initial weights, processes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .. import networks, weights
from ..errors import RestoreError
from ..model import choose_device
from ..networks import Network
from ..networks.adm_unet import infer_config
from ..supervised import Palette
from ..supervised.model import SIGMA_DATA
from ..weights.convert import read_checkpoint
from .catalogue import SUPERVISED
from .config import Config
from .damage import Pairs
from .data import Crops, Picture, centres, read_sources, split
from .trainer import Trainer

SCALINGS = ("sigma_min", "sigma_max", "sigma_data")
VALIDATED = 32  # pictures to validate on, at most


@dataclass(frozen=True)
class Prepared:
    """A trainer, the numbers of its training and validation pictures, and a line for each skipped file."""

    trainer: Trainer
    pictures: int
    held_out: int
    skipped: list[str]


def prepare(
    config: Config, folder: Path, device: str | torch.device = "auto", images: Crops | Pairs | None = None
) -> Prepared:
    """Reads the pictures and builds the network with its initial weights.

    Args:
        config: of the run.
        folder: of its files.
        device: where to train.
        images: the `crops` of another run with the same [data] and [damage], which need not be made again.

    Raises:
        RestoreError: there are no pictures, the initial weights do not fit, or the network is not class-conditional.
    """
    on = join_processes(device)
    source = read_sources([Path(name).expanduser() for name in config.data.sources], config.data.crop)
    train, held_out = split(source.pictures, config.data.held_out, config.run.seed)
    torch.manual_seed(config.run.seed)  # for the same random weights in every process
    network, network_config, scalings = initial_network(config)
    _check(config, network)
    if config.data.labels:
        _check_classes({picture.folder for picture in train}, network)
    crops = _crops(config, train, on) if images is None else images
    side = network.size or 2 * config.data.crop
    validated = centres(held_out, side)[:VALIDATED]
    trainer = Trainer(config, network, network_config, crops, validated, folder, **scalings)
    return Prepared(trainer, len(train), len(held_out), source.skipped)


def _crops(config: Config, pictures: list[Picture], device: torch.device) -> Crops | Pairs:
    """The training images, clean or in pairs."""
    data, damage = config.data, config.damage
    if config.objective.name not in SUPERVISED:
        return Crops(pictures, data.crop, half=data.half, device=device, labels=data.labels)
    crops = Crops(pictures, data.crop, half=data.half, device=torch.device("cpu"))
    return Pairs(crops, str(damage.task), damage.cases, damage.pairs, device, config.run.seed)


def join_processes(device: str | torch.device) -> torch.device:
    """This process's device; under torchrun, also joins the process group."""
    if "WORLD_SIZE" not in os.environ:
        return choose_device(device)
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return chosen


def initial_network(config: Config) -> tuple[Network, dict[str, Any], dict[str, float]]:
    """The network, its constructor arguments and its scalings.

    Weights of a shallower model are copied by name; the added residual blocks are initialised as the identity, and the
    kernels of a condition as zero, so that the network is the same function.

    Raises:
        RestoreError: `start` is missing or of another architecture, or is conditional and the objective is not.
    """
    scalings = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
    if config.start is None:
        assert config.network is not None
        architecture, arguments = _architecture(config.network)
        if config.objective.name == Palette.name:
            arguments["condition"] = 3
        return networks.build(architecture, arguments), arguments, scalings
    path = weights.find(config.start)
    if path.suffix == ".safetensors":
        description, tensors = weights.read(path)
    else:
        tensors = read_consistency_model(path)
        description = {"architecture": "AdmUNet", "config": infer_config(tensors), "model": {}}
    architecture, arguments = description["architecture"], description["config"]
    _check_start(config, path, description)
    condition = {"condition": arguments["condition"]} if arguments.get("condition") else {}
    if config.network is not None:
        architecture, arguments = _architecture(config.network)
        arguments |= condition
    if config.objective.name == Palette.name and not condition:
        tensors, arguments = add_condition(tensors, arguments)
    network = networks.build(architecture, arguments)
    load_weights(network, tensors, path)
    return network, arguments, {name: description["model"].get(name, scalings[name]) for name in SCALINGS}


def _architecture(table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items() if key != "architecture"}
    return str(table.get("architecture", "ConvUNet")), arguments


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Loads weights into a network; parameters that are not among them keep their initial values.

    Raises:
        RestoreError: the network has no tensor of a weight's name and shape.
    """
    own = network.state_dict()
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            found = tuple(own[name].shape) if name in own else "no such tensor"
            raise RestoreError(
                f"{path}: tensor '{name}' {tuple(tensor.shape)} does not fit this [network] ({found}); "
                "omit [network], or only add blocks"
            )
    network.load_state_dict(dict(tensors), strict=False)


def _check_start(config: Config, path: Path, description: Mapping[str, Any]) -> None:
    """Refuses a model of another kind: its output means something else."""
    objective, own = config.objective.name, description["model"].get("objective")
    if own and own != objective:
        raise RestoreError(f"{path}: was trained by the objective '{own}'; it is a start for that objective only")
    if objective not in SUPERVISED:
        return
    if objective == Palette.name and description["architecture"] != "ConvUNet":
        raise RestoreError(f"{path}: is a {description['architecture']}; the objective '{objective}' needs a ConvUNet")
    if description["model"].get("sigma_data", None if own else SIGMA_DATA) != SIGMA_DATA:
        raise RestoreError(f"{path}: the objective '{objective}' starts from models with sigma_data {SIGMA_DATA} only")


def add_condition(
    tensors: Mapping[str, Tensor], arguments: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A ConvUNet's weights and arguments with an image to condition on, whose kernels are zero, for level maps."""
    image = tensors["entrance.weight"][:, : 3 * arguments.get("unshuffle", 2) ** 2]
    entrance = torch.cat([image, torch.zeros_like(image)], 1)
    return {**tensors, "entrance.weight": entrance}, {**arguments, "condition": 3}


def read_consistency_model(path: Path) -> dict[str, Tensor]:
    """Reads an iCT or CM checkpoint (.pt) as the tensors of an equivalent bidirectional model.

    Raises:
        RestoreError: the file is not such a checkpoint.
    """
    tensors = read_checkpoint(path)
    try:
        return make_bidirectional(tensors)
    except KeyError as error:
        raise RestoreError(f"{path}: not a consistency model's checkpoint ({error} is missing)") from error


def make_bidirectional(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds the embedding of the end level u without changing the function (arXiv 2403.18035, sec. 3.3).

    The new embedding is a copy of the first, and the layer that joins the two, `time_embed_align` (E, 2 E), is [I, 0].

    Raises:
        KeyError: these are not the tensors of a consistency model.
    """
    joined = dict(tensors)
    if "time_embed_align.weight" in joined:
        return joined
    for name in [name for name in tensors if name.startswith("time_embed.")]:
        joined[name.replace("time_embed.", "time_embed_end.", 1)] = tensors[name].clone()
    width = len(tensors["time_embed.2.bias"])
    joined["time_embed_align.weight"] = torch.cat([torch.eye(width), torch.zeros(width, width)], 1)
    return joined


def _check_classes(folders: set[str], network: Network) -> None:
    if len(folders) > network.classes:
        raise RestoreError(f"the pictures are in {len(folders)} folders, but the network has {network.classes} classes")


def _check(config: Config, network: Network) -> None:
    if config.data.labels and not network.classes:
        raise RestoreError(f"{type(network).__name__} is not class-conditional; set 'data.labels' to false")
    if config.objective.maps and not network.level_maps:
        raise RestoreError(f"{type(network).__name__} does not support level maps; set 'objective.maps' to 0")
    crop = config.data.crop
    if network.size not in (None, crop):
        raise RestoreError(f"'data.crop' is {crop}; this network takes crops of {network.size} pixels")
    if crop % network.multiple:
        raise RestoreError(f"'data.crop' is {crop}; this network needs a multiple of {network.multiple}")


def with_options(
    config: Config,
    *,
    sources: tuple[str, ...] = (),
    minutes: float | None = None,
    steps: int | None = None,
    images: int | None = None,
) -> Config:
    """Overrides a configuration with the command line's options; `images` is a budget in whole steps, rounded down."""
    if images is not None:
        steps = max(1, images // config.run.batch)
    if sources:
        config = replace(config, data=replace(config.data, sources=sources))
    if minutes is not None or steps is not None:
        config = replace(config, run=replace(config.run, minutes=minutes, steps=steps))
    return config
