"""FID: the distance, its cache, its weights and its packages."""

import hashlib
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from helpers.runs import line_of

from bcm_restore import metrics
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import frechet
from bcm_restore.weights import cache, catalogue


def covariances(a, b):
    """The Fréchet distance by the formula of the papers."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root).real


@pytest.mark.parametrize("size", [40, 12])  # more vectors than features, and fewer: covariances without full rank
def test_frechet_distance_is_that_of_the_papers(size):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(size, 16)) @ rng.normal(size=(16, 16))
    b = rng.normal(2, 3, size=(size + 3, 16))
    first, second = frechet.statistics(a), frechet.statistics(iter(b))
    assert np.allclose(first.root.T @ first.root, np.cov(a, rowvar=False))
    assert np.allclose(second.mean, b.mean(0))
    assert frechet.frechet_distance(first, second) == pytest.approx(covariances(a, b), rel=1e-6)
    assert frechet.frechet_distance(second, first) == pytest.approx(frechet.frechet_distance(first, second))
    assert frechet.frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_one_feature_by_hand():
    """(m - n)^2 + (s - t)^2 of the means and deviations."""
    a, b = frechet.statistics([[0.0], [2.0]]), frechet.statistics([[10.0], [16.0]])
    assert frechet.frechet_distance(a, b) == pytest.approx((1 - 13) ** 2 + (math.sqrt(2) - math.sqrt(18)) ** 2)


@pytest.mark.parametrize("count", [0, 1])
def test_fid_needs_two_pictures(count):
    with pytest.raises(RestoreError, match=f"two or more pictures, not {count}"):
        frechet.statistics([np.ones(3)] * count)


def colours(picture):
    """A stand-in for the network's features: the mean colour."""
    return picture.mean(axis=(0, 1))


@pytest.fixture
def sets():
    rng = np.random.default_rng(0)
    return [[rng.integers(low, 256, (6, 4 + n, 3)).astype(np.uint8) for n in range(5)] for low in (0, 90)]


def test_references_are_evaluated_once(sets, tmp_path):
    ours, references = sets
    path = tmp_path / "fid" / "kept.npz"
    expected = covariances(np.array(list(map(colours, ours))), np.array(list(map(colours, references))))
    assert frechet.set_distance(colours, ours, references, path) == pytest.approx(expected, rel=1e-6)
    assert [file.name for file in path.parent.iterdir()] == ["kept.npz"]
    assert frechet.set_distance(colours, ours, None, path) == pytest.approx(expected, rel=1e-6)
    path.write_bytes(path.read_bytes()[:-30])  # damaged: recomputed and cached again
    assert frechet.set_distance(colours, ours, references, path) == pytest.approx(expected, rel=1e-6)
    assert frechet.set_distance(colours, ours, None, path) == pytest.approx(expected, rel=1e-6)


def test_fid_works_without_a_writable_cache(sets, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "kept.npz"
    assert frechet.set_distance(colours, sets[0], sets[0], path) == pytest.approx(0, abs=1e-6)


def test_content_keys(sets):
    ours, references = sets
    assert frechet.content_key(iter(ours)) == frechet.content_key([picture.copy() for picture in ours])
    keys = {
        frechet.content_key(ours),
        frechet.content_key(references),
        frechet.content_key(ours[:-1]),
        frechet.content_key([ours[0].reshape(4, 6, 3), *ours[1:]]),
        frechet.content_key([255 - ours[0], *ours[1:]]),
    }
    assert len(keys) == 5


def test_fid_names_missing_weights(without_weights, sets):
    pytest.importorskip("torch_fidelity")
    entry = catalogue.get("inception-fid")
    folder = without_weights / "home" / "weights"
    ways = f"'bcm-restore weights download inception-fid' fetches them, or put {entry.url} into {folder}"
    with pytest.raises(RestoreError) as refused:
        metrics.fid(*sets, "key")
    assert line_of(refused) == f"FID needs Inception's weights; {ways}"
    folder.mkdir(parents=True)
    (folder / entry.file).write_bytes(b"others")
    with pytest.raises(RestoreError) as refused:
        metrics.fid(*sets, "key")
    assert line_of(refused) == (
        f"{folder / entry.file}: is damaged, or does not hold Inception's weights, which FID needs; "
        f"delete it, then {ways}"
    )


def test_fid_names_the_missing_package(without_weights, sets, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(RestoreError, match=r'FID needs the package torch-fidelity; pip install "bcm-restore\[bench\]"'):
        metrics.fid(*sets, "key")


@pytest.mark.slow
def test_fid_is_what_torch_fidelity_computes(without_weights, portrait, noisy, save, monkeypatch):
    """With random weights, against torch-fidelity's own function."""
    package = pytest.importorskip("torch_fidelity")
    from torch_fidelity import feature_extractor_inceptionv3 as module

    extractor = module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patched:
        patched.setattr(module, "load_state_dict_from_url", lambda *arguments, **options: {})
        patched.setattr(extractor, "load_state_dict", lambda *arguments, **options: None)
        torch.manual_seed(0)
        random = extractor("random", ["2048"]).state_dict()
    for name, value in random.items():
        if name.endswith("conv.weight"):
            value *= 6**0.5  # PyTorch's variance is a sixth of He's: activations would vanish
    entry = catalogue.get("inception-fid")
    weights = cache.folder() / entry.file
    weights.parent.mkdir(parents=True)
    torch.save(random, weights)
    trusted = replace(entry, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    monkeypatch.setattr(catalogue, "get", lambda name: trusted)

    pictures = [[whole[y : y + 64, x : x + 64] for y, x in ((0, 0), (64, 30))] for whole in (noisy, portrait)]
    for name, each in zip("ab", pictures, strict=True):
        for n, picture in enumerate(each):
            save(f"{name}/{n}.png", picture)
    expected = package.calculate_metrics(
        input1=str(without_weights / "a"),
        input2=str(without_weights / "b"),
        fid=True,
        cuda=False,
        cache=False,
        verbose=False,
        feature_extractor_weights_path=str(weights),
        save_cpu_ram=True,
    )["frechet_inception_distance"]
    assert metrics.fid(*pictures, "portrait") == pytest.approx(expected, rel=1e-4)
    assert expected > 1
    kept = cache.folder() / "fid" / f"{trusted.sha256[:8]}-portrait.npz"
    assert kept.is_file()
    assert metrics.fid(pictures[1], iter(()), "portrait") == pytest.approx(0, abs=expected / 1e6)
