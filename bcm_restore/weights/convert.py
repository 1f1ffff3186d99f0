"""Checkpoints of the published networks as models of this package: read without running what is in them, once."""

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

# The paper's objective alone: nothing was trained at t = u, nor with levels that differ between pixels.
PUBLISHED = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "diagonal": False, "level_maps": False}
SECOND = "time_embed_"  # how the tensors begin that a network has for the level to go to
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
    """What `read` gives, also for a checkpoint that does not say what it is.

    Args:
        source: .pt, or .safetensors with or without a description.
        precision: "fp16" or "fp32"; None: as it is if it is a model of this package's, and else
        otherwise: the precision of what has no description.

    Raises:
        ConsistencyModel: it is one, and no bidirectional model.
        Rejected: it is not a checkpoint of a network that is known here.
    """
    description, tensors = _read(source)
    if description is None:
        description, precision = _describe(tensors, source), precision or otherwise
    if precision:
        tensors = {name: _as(precision, tensor, name, source) for name, tensor in tensors.items()}
    return description, tensors


def check_start(path: Path) -> None:
    """Makes sure that a file is a consistency model's checkpoint, for training to start from.

    Raises:
        Rejected: it is not, or not a whole one.
    """
    tensors = read_checkpoint(path)
    if not is_consistency_model(tensors):
        raise Rejected(f"{path}: is not a consistency model's checkpoint; import it as a model")
    _infer(tensors, path)


def read_checkpoint(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a .pt file; code in it is not run.

    Raises:
        Rejected: it is damaged, or holds anything but tensors.
    """
    import torch

    try:
        with warnings.catch_warnings(), path.open("rb") as file:  # from a path it goes by the suffix
            warnings.simplefilter("ignore")  # of pickles that it then refuses
            tensors = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RestoreError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except Exception as error:  # whatever damaged bytes make of it
        code = re.search(r"GLOBAL (\S+)", str(error))
        damage = "a web page" if is_page(path) else "no checkpoint, or a damaged one"
        what = f"code besides tensors ({code[1]})" if code else damage
        raise Rejected(f"{path}: holds {what}, and was not loaded; fetch it again from where you trust it") from error
    if not _are_named(tensors):
        raise Rejected(f"{path}: holds something else than a network's tensors by name; take the file of its weights")
    return dict(tensors)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is PyTorch's, not .safetensors: by how it begins, or else by its suffix."""
    start = b""
    with contextlib.suppress(OSError), path.open("rb") as file:  # who reads it on says why it can't be read
        start = file.read(9)
    if start[8:] == b"{":  # behind the length of a description in JSON
        return False
    return start.startswith((b"PK", b"\x80")) or path.suffix.lower() != ".safetensors"


def is_consistency_model(tensors: Mapping[str, "Tensor"]) -> bool:
    """Whether a network takes the level where it is, and none to go to."""
    return "time_embed.2.bias" in tensors and not any(name.startswith(SECOND) for name in tensors)


def _are_named(tensors: object) -> bool:
    """Whether it is tensors by name."""
    import torch

    return isinstance(tensors, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in tensors.items()
    )


def _read(source: Path) -> tuple[dict[str, Any] | None, dict[str, "Tensor"]]:
    """The description, None where the file has none, and the tensors."""
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
        raise Rejected(f"{source}: not a readable .safetensors file ({error}); fetch it again") from error
    try:
        description, tensors = read(source)
        _check(description["architecture"], description["config"], tensors, source)
    except RestoreError as error:
        raise Rejected(str(error)) from error
    return description, tensors


def _describe(tensors: Mapping[str, "Tensor"], source: Path) -> dict[str, Any]:
    """The description of a published network, found from its tensors."""
    if is_consistency_model(tensors):
        raise ConsistencyModel(
            f"{source}: is a consistency model, not a bidirectional one, and can't restore; training can begin with "
            "it: 'start' in the configuration of 'bcm-restore train' names the file"
        )
    return {"architecture": "AdmUNet", "config": _infer(tensors, source), "model": PUBLISHED}


def _infer(tensors: Mapping[str, "Tensor"], source: Path) -> dict[str, Any]:
    """The arguments of the published network that has these tensors and no others.

    Raises:
        Rejected: there is none.
    """
    from ..networks.adm_unet import infer_config

    try:
        _check_pairs(tensors)
        config = infer_config(tensors)
        _check("AdmUNet", config, tensors, source)
    except RestoreError as error:
        known = str(error).removeprefix(f"{source}: ")
        raise Rejected(f"{source}: is not a network that is known here: {known}") from error
    except (IndexError, TypeError, ZeroDivisionError) as error:
        raise Rejected(f"{source}: is not a network that is known here: its tensors have other shapes") from error
    return config


def _check_pairs(tensors: Mapping[str, "Tensor"]) -> None:
    """Names a weight that is missing beside its bias: the configuration is inferred from weights."""
    for name in tensors:
        weight = name.removesuffix("bias") + "weight"
        if name.endswith(".bias") and weight not in tensors:
            raise RestoreError(f"tensor '{weight}' is missing; fetch the file again")


def _check(architecture: str, config: dict[str, Any], tensors: Mapping[str, "Tensor"], source: Path) -> None:
    """Whether the network has these tensors, found before they are stored and without memory for it.

    A consistency model's need not have those for the level to go to.
    """
    import torch

    from .. import networks
    from .files import fill

    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is copied
        network = networks.build(architecture, config)
        lent = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(SECOND)}
        fill(network, {**(lent if is_consistency_model(tensors) else {}), **tensors}, source)


def _as(precision: str, tensor: "Tensor", name: str, source: Path) -> "Tensor":
    """The tensor in that precision, if it is of real numbers."""
    import torch

    if not tensor.is_floating_point():
        return tensor.contiguous()
    # a copy even where nothing changes: tensors that share their memory can't be stored
    converted = tensor.to(getattr(torch, PRECISIONS[precision]), copy=True).contiguous()
    if not converted.isfinite().all():
        way = "--precision fp32 keeps it" if tensor.isfinite().all() else "the file is of no use"
        raise Rejected(f"{source}: tensor '{name}' has values that are not finite in {precision}; {way}")
    return converted
