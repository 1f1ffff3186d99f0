"""Checkpoints of the published networks as models of this package: read without running what is in them, once."""

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RestoreError
from ..files import atomic_path
from .transfer import Rejected

if TYPE_CHECKING:
    from torch import Tensor

# The paper's objective alone: nothing was trained at t = u, nor with levels that differ between pixels.
PUBLISHED = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "diagonal": False, "level_maps": False}
PRECISIONS = {"fp16": "float16", "fp32": "float32"}


class ConsistencyModel(Rejected):
    """A network that takes no level to go to: an iCT or CM checkpoint."""


def convert(source: Path, target: Path, precision: str | None = None) -> None:
    """Writes a checkpoint as a model file, with what `load_model` needs to know of it.

    Args:
        source: .pt, or .safetensors with or without a description.
        target: the .safetensors file.
        precision: "fp16" or "fp32"; None: as it is if it is a model of this package's, else "fp16".

    Raises:
        ConsistencyModel: it is one, and no bidirectional model.
        Rejected: it is not a checkpoint of a network that is known here.
        RestoreError: the target can't be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    description, tensors = _read(source)
    if description is None:
        description, precision = _describe(tensors, source), precision or "fp16"
    if precision:
        tensors = {name: _as(precision, tensor, name, source) for name, tensor in tensors.items()}
    with atomic_path(target) as temporary:
        try:
            save_file(tensors, temporary, {"bcm_restore": json.dumps(description)})
        except SafetensorError as error:
            raise RestoreError(f"{target}: cannot be written ({error}); free some space") from error


def check_start(path: Path) -> None:
    """Makes sure that a file is a consistency model's checkpoint, for training to start from.

    Raises:
        Rejected: it is not.
    """
    tensors = read_checkpoint(path)
    if not is_consistency_model(tensors):
        raise Rejected(f"{path}: is not a consistency model's checkpoint; import it as a model")


def read_checkpoint(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a .pt file; code in it is not run.

    Raises:
        Rejected: it is damaged, or holds anything but tensors.
    """
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that it then refuses
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RestoreError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except Exception as error:  # whatever damaged bytes make of it
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"code besides tensors ({code[1]})" if code else "no checkpoint, or a damaged one"
        raise Rejected(f"{path}: holds {what}, and was not loaded; fetch it again from where you trust it") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise Rejected(f"{path}: holds something else than a network's tensors by name; take the file of its weights")
    return dict(tensors)


def is_consistency_model(tensors: Mapping[str, "Tensor"]) -> bool:
    """Whether a network takes the level where it is, and none to go to."""
    return "time_embed.2.bias" in tensors and "time_embed_align.weight" not in tensors


def _read(source: Path) -> tuple[dict[str, Any] | None, dict[str, "Tensor"]]:
    """The description, None where the file has none, and the tensors."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from . import read

    if source.suffix.lower() != ".safetensors":
        return None, read_checkpoint(source)
    try:
        with safe_open(source, "pt") as file:
            described = "bcm_restore" in (file.metadata() or {})
        return read(source) if described else (None, load_file(source))
    except (SafetensorError, OSError) as error:
        raise Rejected(f"{source}: not a readable .safetensors file ({error}); fetch it again") from error


def _describe(tensors: Mapping[str, "Tensor"], source: Path) -> dict[str, Any]:
    """The description of a published network, found from its tensors."""
    from ..networks.adm_unet import infer_config

    if is_consistency_model(tensors):
        raise ConsistencyModel(
            f"{source}: is a consistency model, not a bidirectional one, and can't restore; it is a start for "
            f"training: 'start = \"{source}\"' in the configuration of 'bcm-restore train'"
        )
    try:
        config = infer_config(tensors)
        _check(config, tensors, source)
    except RestoreError as error:
        known = str(error).removeprefix(f"{source}: ")
        raise Rejected(f"{source}: is not a network that is known here: {known}") from error
    return {"architecture": "AdmUNet", "config": config, "model": PUBLISHED}


def _check(config: dict[str, Any], tensors: Mapping[str, "Tensor"], source: Path) -> None:
    """Whether the network has these tensors, found before they are stored and without memory for it."""
    import torch

    from .. import networks
    from . import _fill

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is copied
        _fill(networks.build("AdmUNet", config), dict(tensors), source)


def _as(precision: str, tensor: "Tensor", name: str, source: Path) -> "Tensor":
    """The tensor in that precision, if it is of real numbers."""
    import torch

    if not tensor.is_floating_point():
        return tensor.contiguous()
    converted = tensor.to(getattr(torch, PRECISIONS[precision])).contiguous()
    if not converted.isfinite().all():
        way = "--precision fp32 keeps it" if tensor.isfinite().all() else "the file is of no use"
        raise Rejected(f"{source}: tensor '{name}' has values that are not finite in {precision}; {way}")
    return converted
