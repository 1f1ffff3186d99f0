"""The networks that some metrics need, and what is said where one is missing."""

from pathlib import Path

from ..errors import RestoreError


def weights_path(name: str) -> Path:
    """Where a network of the catalogue is looked for: torch.hub's folder of checkpoints, or else the cache."""
    from ..weights import cache, catalogue
    from ..weights.download import torch_hub_path

    entry = catalogue.get(name)
    return torch_hub_path(entry.stored_as) if entry.torch_hub else cache.folder() / entry.stored_as


def checked_weights(metric: str, network: str, name: str) -> Path:
    """The file of a network, after a look whether it is the published one.

    Args:
        metric: what needs it, for messages: "LPIPS".
        network: what it is, for messages: "AlexNet".
        name: of its weights in the catalogue.

    Raises:
        RestoreError: there is no file, or it is another one.
    """
    from ..weights import cache, catalogue

    path, entry = weights_path(name), catalogue.get(name)
    fetch = f"'bcm-restore weights download {name}' fetches them, or put {entry.url} into {path.parent}"
    if not path.is_file():
        raise RestoreError(f"{metric} needs {network}'s weights; {fetch}")
    if cache.digest(path) != entry.sha256:
        raise RestoreError(
            f"{path}: is damaged, or not {network}'s weights that {metric} needs; delete it, then {fetch}"
        )
    return path
