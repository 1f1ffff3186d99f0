"""FID: the distance between two sets of pictures in the features of a classification network."""

import contextlib
import functools
import hashlib
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RestoreError
from ..packages import required
from .checks import check_colour
from .networks import checked_weights

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "inception-fid"  # name of Inception's weights in the catalogue

Features = Callable[[np.ndarray], np.ndarray]  # (D,) of a picture (H, W, 3) uint8


def fid(pictures: Iterable[np.ndarray], references: Iterable[np.ndarray], key: str) -> float:
    """Fréchet Inception distance: 0 for equal sets; with fewer than about 2,000 pictures it is strongly biased upwards.

    The features are those of the 2015 Inception v3 before its last layer, as in torch-fidelity, computed on the CPU.
    Heusel et al., GANs Trained by a Two Time-Scale Update Rule, arXiv 1706.08500, 2017.

    Args:
        pictures, references: (H, W, 3) uint8 of any sizes; two or more of each.
        key: the `content_key` of the references; their statistics are cached under it, so that they are evaluated only
            once.

    Raises:
        RestoreError: torch-fidelity or Inception's weights are missing or damaged, or a set has fewer than two
            pictures.
    """
    features = load()
    return set_distance(features, pictures, references, statistics_path(key))


@functools.cache
def load() -> Features:
    """Loads Inception v3, once; returns the function that computes the 2048 features of a picture.

    Raises:
        RestoreError: torch-fidelity or Inception's weights are missing, or they are damaged.
    """
    with required("FID", "torch-fidelity", 'pip install "bcm-restore[bench]"'):
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    path = checked_weights("FID", "Inception", WEIGHTS)
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    return functools.partial(_features, network)


def content_key(pictures: Iterable[np.ndarray]) -> str:
    """The cache key of a set of pictures: the SHA-256 of their sizes and pixels, in order."""
    sha256 = hashlib.sha256()
    for picture in pictures:
        sha256.update(repr(picture.shape).encode())
        sha256.update(picture.tobytes())
    return sha256.hexdigest()


def statistics_path(key: str) -> Path:
    """The file with the cached statistics for a key; its name includes the hash of Inception's weights."""
    from ..weights import cache, catalogue

    return cache.folder() / "fid" / f"{(catalogue.get(WEIGHTS).sha256 or '')[:8]}-{key}.npz"


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and covariance of features.

    Attributes:
        mean: (D,) float64.
        root: (R, D) float64 with root.T @ root the covariance. R is at most the number of pictures or features, and
            the distance is more accurate than from the covariance, whose small eigenvalues are lost to rounding errors.
    """

    mean: np.ndarray
    root: np.ndarray


def statistics(features: Iterable[np.ndarray]) -> Statistics:
    """The statistics of features, (D,) each; all are in memory at once, 8 D bytes per picture.

    Raises:
        RestoreError: there are fewer than two.
    """
    rows = np.array(list(features), np.float64)
    if len(rows) < 2:
        raise RestoreError(f"FID compares sets of two or more pictures, not {len(rows)}")
    mean = rows.mean(axis=0)
    root = np.linalg.qr((rows - mean) / np.sqrt(len(rows) - 1), mode="r")
    return Statistics(mean, np.asarray(root))


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|m_a - m_b|^2 + trace(C_a + C_b - 2 (C_a C_b)^(1/2)), the squared Wasserstein distance of two Gaussians.

    With C = R^T R the trace of that square root is the sum of the singular values of R_a R_b^T.
    """
    means = ((a.mean - b.mean) ** 2).sum()
    spreads = (a.root**2).sum() + (b.root**2).sum() - 2 * np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    return float(max(means + spreads, 0.0))  # rounding


def set_distance(
    features: Features, pictures: Iterable[np.ndarray], references: Iterable[np.ndarray], path: Path
) -> float:
    """The Fréchet distance between the features of two sets; the references' statistics are cached at `path`."""
    known = _read(path)
    if known is None:
        known = statistics(map(features, references))
        with contextlib.suppress(RestoreError):  # without the cache, it is recomputed next time
            _write(path, known)
    return frechet_distance(statistics(map(features, pictures)), known)


def _features(network: "nn.Module", picture: np.ndarray) -> np.ndarray:
    import torch

    check_colour(picture)
    with torch.no_grad():
        return network(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None])[0][0].numpy()


def _read(path: Path) -> Statistics | None:
    """Reads cached statistics; None if missing or damaged."""
    try:
        with np.load(path) as arrays:
            return Statistics(arrays["mean"], arrays["root"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _write(path: Path, known: Statistics) -> None:
    from ..files import atomic_path

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, mean=known.mean, root=known.root)
