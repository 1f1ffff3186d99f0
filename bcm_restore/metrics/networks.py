"""Finds and checks the weights of the networks that some metrics need."""

from pathlib import Path

from ..errors import RestoreError


def weights_path(name: str) -> Path:
    """The path of a network's weights: in torch.hub's folder of checkpoints, or else in the cache."""
    from ..weights import cache, catalogue
    from ..weights.download import torch_hub_path

    entry = catalogue.get(name)
    return torch_hub_path(entry.stored_as) if entry.torch_hub else cache.folder() / entry.stored_as


def checked_weights(metric: str, network: str, name: str) -> Path:
    """The file with a network's weights, after checking that it is the published one.

    Args:
        metric: the metric's name for messages, such as "LPIPS".
        network: the network's name for messages, such as "AlexNet".
        name: of its weights in the catalogue.

    Raises:
        RestoreError: the file is missing, or it is another one.
    """
    from ..weights import cache, catalogue

    path, entry = weights_path(name), catalogue.get(name)
    fetch = f"'bcm-restore weights download {name}' fetches them, or put {entry.url} into {path.parent}"
    if not path.is_file():
        raise RestoreError(f"{metric} needs {network}'s weights; {fetch}")
    if cache.digest(path) != entry.sha256:
        raise RestoreError(
            f"{path}: is damaged, or does not hold {network}'s weights, which {metric} needs; delete it, then {fetch}"
        )
    return path
