"""A noisy picture, and no weights of metrics on the machine."""

import numpy as np
import pytest
import torch

from bcm_restore.metrics import frechet, perceptual


@pytest.fixture
def without_weights(tmp_path, monkeypatch):
    """Empty folders in place of the weights of all metrics."""
    perceptual.load.cache_clear()
    frechet.load.cache_clear()
    monkeypatch.setenv("BCM_RESTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    yield tmp_path
    perceptual.load.cache_clear()
    frechet.load.cache_clear()


@pytest.fixture
def noisy(portrait):
    return np.clip(portrait + np.random.default_rng(0).normal(0, 20, portrait.shape), 0, 255).astype(np.uint8)
