"""Converts checkpoints of the published networks to model files, without running code in them."""

import contextlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RestoreError
from ..files import atomic_path
from .transfer import Rejected, is_page

if TYPE_CHECKING:
    from torch import Tensor

# Trained with the paper's objective only: without the diagonal t = u and without level maps.
PUBLISHED = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "diagonal": False, "level_maps": False}
END_EMBEDDING = "time_embed_"  # prefix of the tensors that embed the end level u
PRECISIONS = {"fp16": "float16", "fp32": "float32"}


class ConsistencyModel(Rejected):
    """A one-directional consistency model: an iCT or CM checkpoint."""


def convert(source: Path, target: Path, precision: str | None = None) -> None:
    """Converts a checkpoint to a model file for `load_model`.

    Args:
        source: .pt, or .safetensors with or without a description.
        target: the .safetensors file.
        precision: "fp16" or "fp32"; None: unchanged for models of this package, else "fp16".

    Raises:
        ConsistencyModel: the checkpoint is a consistency model, not a bidirectional one.
        Rejected: the file is not a checkpoint of a known network.
        RestoreError: the target cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from .files import metadata

    description, tensors = described(source, precision, "fp16")
    with atomic_path(target) as temporary:
        try:
            save_file(tensors, temporary, metadata(description, tensors))
        except SafetensorError as error:
            raise RestoreError(f"{target}: cannot be written ({error}); free some space") from error


def described(
    source: Path, precision: str | None = None, otherwise: str = "fp32"
) -> tuple[dict[str, Any], dict[str, "Tensor"]]:
    """Reads description and tensors like `read`, also from a checkpoint without a description.

    Args:
        source: .pt, or .safetensors with or without a description.
        precision: "fp16" or "fp32"; None: unchanged for models of this package, else `otherwise`.
        otherwise: the precision of checkpoints without a description.

    Raises:
        ConsistencyModel: the checkpoint is a consistency model, not a bidirectional one.
        Rejected: the file is not a checkpoint of a known network.
    """
    description, tensors = _read(source)
    if description is None:
        description, precision = _describe(tensors, source), precision or otherwise
    if precision:
        tensors = {name: _as(precision, tensor, name, source) for name, tensor in tensors.items()}
    return description, tensors


def check_start(path: Path) -> None:
    """Checks that a file is a consistency model's checkpoint, for training to start from.

    Raises:
        Rejected: the file is another checkpoint, or an incomplete one.
    """
    tensors = read_checkpoint(path)
    if not is_consistency_model(tensors):
        raise Rejected(f"{path}: not a consistency model's checkpoint; import it as a model")
    _infer(tensors, path)


def read_checkpoint(path: Path) -> dict[str, "Tensor"]:
    """Reads the tensors of a .pt file; code in it is not run.

    Raises:
        Rejected: the file is damaged, or has other contents than tensors.
    """
    import torch

    try:
        with warnings.catch_warnings(), path.open("rb") as file:  # given a path, torch goes by the suffix
            warnings.simplefilter("ignore")  # about pickles that it then rejects
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RestoreError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except Exception as error:  # damaged bytes make torch raise anything
        code = re.search(r"GLOBAL (\S+)", str(error))
        damage = "a web page" if is_page(path) else "not a checkpoint, or damaged"
        reason = f"contains code besides tensors ({code[1]})" if code else damage
        raise Rejected(f"{path}: {reason}, not loaded; download it again from a source that you trust") from error
    if not _are_named(tensors):
        raise Rejected(f"{path}: does not contain a network's tensors by name; use the file of its weights")
    return dict(tensors)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is PyTorch's, not .safetensors: by how it begins, or else by its suffix."""
    start = b""
    with contextlib.suppress(OSError), path.open("rb") as file:  # who reads it on says why it cannot be read
        start = file.read(9)
    if start[8:] == b"{":  # behind the length of a description in JSON
        return False
    return start.startswith((b"PK", b"\x80")) or path.suffix.lower() != ".safetensors"


def is_consistency_model(tensors: Mapping[str, "Tensor"]) -> bool:
    """Whether a network embeds the noise level t, but no end level u."""
    return "time_embed.2.bias" in tensors and not any(name.startswith(END_EMBEDDING) for name in tensors)


def _are_named(tensors: object) -> bool:
    """Whether it is a mapping of names to tensors."""
    import torch

    return isinstance(tensors, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in tensors.items()
    )


def _read(source: Path) -> tuple[dict[str, Any] | None, dict[str, "Tensor"]]:
    """Reads the description, or None, and the tensors."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    from .files import read

    if is_checkpoint(source):
        return None, read_checkpoint(source)
    try:
        with safe_open(source, "pt") as file:
            described = "bcm_restore" in (file.metadata() or {})
        if not described:
            return None, load_file(source)
    except (SafetensorError, OSError) as error:
        raise Rejected(f"{source}: not a readable .safetensors file ({error}); download it again") from error
    try:
        description, tensors = read(source)
        _check(description["architecture"], description["config"], tensors, source)
    except RestoreError as error:
        raise Rejected(str(error)) from error
    return description, tensors


def _describe(tensors: Mapping[str, "Tensor"], source: Path) -> dict[str, Any]:
    """The description of a published network, inferred from its tensors."""
    if is_consistency_model(tensors):
        raise ConsistencyModel(
            f"{source}: a consistency model, not a bidirectional one, so it cannot restore; to train from it, give it "
            "as 'start' in the configuration of 'bcm-restore train'"
        )
    return {"architecture": "AdmUNet", "config": _infer(tensors, source), "model": PUBLISHED}


def _infer(tensors: Mapping[str, "Tensor"], source: Path) -> dict[str, Any]:
    """Infers the arguments of the published network that has exactly these tensors.

    Raises:
        Rejected: no known network has these tensors.
    """
    from ..networks.adm_unet import infer_config

    try:
        _check_pairs(tensors)
        config = infer_config(tensors)
        _check("AdmUNet", config, tensors, source)
    except RestoreError as error:
        reason = str(error).removeprefix(f"{source}: ")
        raise Rejected(f"{source}: not a known network: {reason}") from error
    except (IndexError, TypeError, ZeroDivisionError) as error:
        raise Rejected(f"{source}: not a known network: its tensors have other shapes") from error
    return config


def _check_pairs(tensors: Mapping[str, "Tensor"]) -> None:
    """Rejects a bias without its weight, as the configuration is inferred from weights."""
    for name in tensors:
        weight = name.removesuffix("bias") + "weight"
        if name.endswith(".bias") and weight not in tensors:
            raise RestoreError(f"tensor '{weight}' is missing; download the file again")


def _check(architecture: str, config: dict[str, Any], tensors: Mapping[str, "Tensor"], source: Path) -> None:
    """Checks that the network has these tensors, without allocating memory for it.

    The embedding of the end level is optional for consistency models.
    """
    import torch

    from .. import networks
    from .files import fill

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about copies to the meta device
        network = networks.build(architecture, config)
        optional = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(END_EMBEDDING)}
        fill(network, {**(optional if is_consistency_model(tensors) else {}), **tensors}, source)


def _as(precision: str, tensor: "Tensor", name: str, source: Path) -> "Tensor":
    """Converts a floating-point tensor to a precision; leaves others unchanged."""
    import torch

    if not tensor.is_floating_point():
        return tensor.contiguous()
    # always a copy: tensors that share memory cannot be stored
    converted = tensor.to(getattr(torch, PRECISIONS[precision]), copy=True).contiguous()
    if not converted.isfinite().all():
        way = "use --precision fp32" if tensor.isfinite().all() else "the file is damaged"
        raise Rejected(f"{source}: tensor '{name}' has values that are not finite in {precision}; {way}")
    return converted
