"""Model files: self-contained safetensors, with a description of the network in their metadata."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import networks, package_data
from ..errors import RestoreError, instead
from ..model import BCM

DEFAULT = "bcm-photo"
"""The default model."""
SMALL = "bcm-photo-small"
"""The small model, which was trained without level maps."""
PUBLISHED = "bcm-imagenet64"
"""The paper's model."""


def names() -> list[str]:
    """The names of the models in the package."""
    return sorted(path.stem for path in package_data.folder("weights").glob("*.safetensors"))


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model: by name in the package or the cache, or by path.

    Raises:
        RestoreError: the model is not found; suggests a similar name, or how to download it.
    """
    from . import cache, catalogue

    if not isinstance(name_or_path, str | os.PathLike):
        kind = type(name_or_path).__name__
        raise RestoreError(f"{name_or_path!r} is a {kind}, not a model; give a model's name or the path of its file")
    if str(name_or_path) in names():
        return package_data.folder("weights") / f"{name_or_path}.safetensors"
    path = Path(name_or_path)
    if path.is_file():
        return path
    if cached := cache.find(str(name_or_path)):
        return cached
    if str(name_or_path) in catalogue.entries():
        raise RestoreError(
            f"model '{name_or_path}' is not in the cache; run 'bcm-restore weights download {name_or_path}'"
        )
    hint = instead(str(name_or_path), names())
    raise RestoreError(f"model '{name_or_path}' is neither a model's name nor a file; {hint}")


def load_model(
    name_or_path: str | os.PathLike[str] = DEFAULT,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    tile: int | None = None,
    overlap: int | None = None,
) -> BCM:
    """Loads a model, for images of any size.

    Args:
        name_or_path: a name of `names()`, or the path of a .safetensors file or of a published checkpoint (.pt), whose
            network is inferred from its tensors; code in it is not run.
        device: "auto" (CUDA if available), "cpu", "cuda", "cuda:1", ...
        dtype: "auto" (float32 on CPU, bfloat16 or else float16 on CUDA), "fp32", "bf16", "fp16" or a torch dtype.
        tile: side of the tiles of large images; None: chosen by available memory.
        overlap: overlap of neighbouring windows in pixels, for networks of one image size; None: the network's default.

    Raises:
        RestoreError: the file is not found or not a model, or the overlap is invalid for its network.
    """
    from .convert import described, is_checkpoint

    path = find(name_or_path)
    if is_checkpoint(path):
        description, tensors = described(path)
    else:
        description, tensors = read(path)
    if objective := description["model"].get("objective"):
        raise RestoreError(
            f"{path}: is a model of the objective {objective}, trained for one kind of damage; "
            "only 'bcm-restore bench --model' takes it"
        )
    network = networks.build(description["architecture"], description["config"])
    fill(network, tensors, path)
    whole = networks.for_any_size(network, tile, overlap)
    return BCM(whole, name=path.stem, device=device, dtype=dtype, **description["model"])


def save_model(
    path: str | os.PathLike[str],
    network: torch.nn.Module,
    config: Mapping[str, Any],
    **model: Any,
) -> None:
    """Saves a network, with its description for `load_model`, as a .safetensors file.

    Args:
        path: the file.
        network: the network to save.
        config: its constructor arguments.
        **model: the arguments of `BCM` for these weights: sigma_data, diagonal, level_maps, ...
    """
    from safetensors.torch import save

    description = {"architecture": type(network).__name__, "config": dict(config), "model": model}
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    Path(path).write_bytes(save(tensors, metadata(description, tensors)))


def metadata(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The metadata of a model file: its description, see `read`, and the SHA-256 of description and tensors."""
    return {"bcm_restore": json.dumps({**description, "sha256": _digest(description, tensors)})}


def _digest(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a description and tensors, independent of their order."""
    sha256 = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha256.update(tensor.cpu().flatten().view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads a model file's description, {"architecture", "config", "model"}, and its tensors.

    Raises:
        RestoreError: the file is not a model of this package, or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("bcm_restore")
            tensors = {} if text is None else {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RestoreError(f"{path}: not a readable .safetensors file ({error}); download it again") from error
    if text is None:
        raise RestoreError(
            f"{path}: has tensors but no description of a bcm-restore model; 'bcm-restore weights import' adds one"
        )
    try:
        found = json.loads(text)
        description = {key: found[key] for key in ("architecture", "config", "model")}
        sha256 = found.get("sha256")  # files of earlier versions have none
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RestoreError(f"{path}: its description of the model is damaged; download the file again") from error
    if sha256 not in (None, _digest(description, tensors)):
        raise RestoreError(f"{path}: damaged: its SHA-256 does not match its contents; download the file again")
    return description, tensors


def fill(network: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads tensors into a network; the error names the first that does not match."""
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise RestoreError(f"{path}: tensor '{name}' is missing; download the file again")
        if name not in expected:
            raise RestoreError(f"{path}: tensor '{name}' belongs to another network")
        if tensors[name].shape != expected[name].shape:
            raise RestoreError(
                f"{path}: tensor '{name}' is {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}"
            )
    network.load_state_dict(tensors)
