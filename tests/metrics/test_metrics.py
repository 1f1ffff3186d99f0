"""The metrics, and the columns of the bench that use them."""

import hashlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import skimage.color
import skimage.metrics
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from bcm_restore import metrics
from bcm_restore.bench.measures import fid_note, measures, path_length, psnr_ends
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import frechet, perceptual
from bcm_restore.simulation.degradations import Example
from bcm_restore.weights import cache, catalogue

PICTURES = arrays(np.uint8, (3, 5, 3))


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


def lines_of(refused):
    line = str(refused.value)
    assert "\n" not in line
    return line


# PSNR of the luma


@given(PICTURES, PICTURES)
def test_luma_is_that_of_bt_601(a, b):
    luma = [skimage.color.rgb2ycbcr(picture / 255)[..., 0] for picture in (a, b)]
    error = ((luma[0] - luma[1]) ** 2).mean()
    expected = 10 * math.log10(255**2 / error) if error > 1e-20 else math.inf
    if error > 1e-20:
        assert metrics.psnr_y(a, b) == pytest.approx(expected)
    else:
        assert metrics.psnr_y(a, b) > 200
    assert metrics.psnr_y(a, a) == math.inf


def test_luma_of_known_pictures():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert metrics.psnr_y(white, black) == pytest.approx(20 * math.log10(255 / 219))  # Y is 16 to 235
    green = black.copy()
    green[..., 1] = 255
    assert metrics.psnr_y(green, black) == pytest.approx(20 * math.log10(255 / 128.553))


def test_psnr_without_pixels_is_infinite(portrait, noisy):
    assert metrics.psnr(noisy, portrait, np.zeros(portrait.shape[:2], bool)) == math.inf


# LPIPS


@pytest.mark.parametrize(
    ("net", "network", "name"), [("alex", "AlexNet", "lpips-alex"), ("vgg", "VGG-16", "lpips-vgg")]
)
def test_lpips_names_missing_weights(without_weights, portrait, net, network, name):
    pytest.importorskip("lpips")
    entry = catalogue.get(name)
    folder = without_weights / "hub" / "checkpoints"
    ways = f"'bcm-restore weights download {name}' fetches them, or put {entry.url} into {folder}"
    with pytest.raises(RestoreError) as refused:
        metrics.lpips(portrait, portrait, net)
    assert lines_of(refused) == f"LPIPS needs {network}'s weights; {ways}"
    assert perceptual.backbone(net) == folder / entry.file
    folder.mkdir(parents=True)
    perceptual.backbone(net).write_bytes(b"others")
    with pytest.raises(RestoreError) as refused:
        metrics.lpips(portrait, portrait, net)
    assert lines_of(refused).startswith(f"{folder / entry.file}: is damaged, or does not hold {network}'s weights")


BROKEN = "operator torchvision::nms does not exist"


def forget(monkeypatch, package):
    """Has a package imported anew."""
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)


@pytest.fixture
def broken(without_weights, monkeypatch):
    """A torchvision that was built for another torch: packages that need it fail while they are imported."""
    folder = without_weights / "packages"
    for name in ("lpips", "torch_fidelity"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise RuntimeError({BROKEN!r})")
        forget(monkeypatch, name)
    monkeypatch.syspath_prepend(folder)


def test_metrics_say_which_package_is_broken(broken, portrait):
    way = "install matching versions of torch and torchvision from the same index (pip's --index-url)"
    for measured, what, package in (
        (lambda: metrics.lpips(portrait, portrait), "LPIPS", "lpips"),
        (lambda: metrics.fid([portrait] * 2, [portrait] * 2, "key"), "FID", "torch-fidelity"),
    ):
        with pytest.raises(RestoreError) as refused:
            measured()
        assert lines_of(refused) == f"{what} needs the package {package}, which cannot be imported ({BROKEN}); {way}"


def test_the_other_columns_do_not_need_torchvision(broken):
    missing = {name: measure.missing for name, measure in measures("jpeg").items()}
    assert [name for name, why in missing.items() if why] == LPIPS_FID
    assert all(BROKEN in missing[name] for name in LPIPS_FID)


@pytest.mark.parametrize("package", ["lpips", "torchvision"])
def test_lpips_says_which_package_it_needs(without_weights, portrait, monkeypatch, package):
    pytest.importorskip("lpips")
    forget(monkeypatch, "lpips")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RestoreError, match=f"^LPIPS needs the package {package}; pip install lpips torchvision$"):
        metrics.lpips(portrait, portrait)


def lpips_by_hand(layers, ends, heads, a, b):
    """Normalised features after some layers; their squared differences, weighted, averaged over pixels and summed."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = ((torch.from_numpy(x / 127.5 - 1).float() - shift).div(scale).permute(2, 0, 1)[None] for x in (a, b))
    total = 0.0
    for n, layer in enumerate(layers):
        a, b = layer(a.clone()), layer(b.clone())  # ReLUs work in place
        if n in ends:
            unit = [x / x.norm(dim=1, keepdim=True) for x in (a, b)]
            head = heads[f"lin{ends.index(n)}.model.1.weight"]
            total += float(((unit[0] - unit[1]) ** 2 * head[0]).sum(1).mean())
    return total


def test_lpips_with_both_networks(without_weights, portrait, noisy, monkeypatch):
    """With random weights as backbones."""
    package = pytest.importorskip("lpips")
    models = pytest.importorskip("torchvision.models")
    # skips the classifiers, which LPIPS does not use
    load = torch.nn.Module.load_state_dict
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda self, state, **_: load(self, state, strict=False))
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda self: None)
    torch.manual_seed(0)
    made = {"alex": models.alexnet().features, "vgg": models.vgg16(init_weights=False).features}
    ends = {"alex": [1, 4, 7, 9, 11], "vgg": [3, 8, 15, 22, 29]}
    entries = {}
    for net, layers in made.items():
        entry = catalogue.get(f"lpips-{net}")
        path = without_weights / "hub" / "checkpoints" / entry.file
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({f"features.{key}": value for key, value in layers.state_dict().items()}, path)
        entries[entry.name] = replace(entry, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(catalogue, "get", entries.get)

    values = {}
    for net, layers in made.items():
        heads = torch.load(Path(package.__file__).parent / "weights" / "v0.1" / f"{net}.pth", map_location="cpu")
        values[net] = metrics.lpips(noisy, portrait, net)
        with torch.no_grad():
            expected = lpips_by_hand(layers, ends[net], heads, noisy, portrait)
        assert values[net] == pytest.approx(expected, rel=1e-4)
        assert metrics.lpips(portrait, portrait, net) == 0
    assert values["alex"] != values["vgg"]
    assert metrics.lpips(noisy, portrait) == values["alex"]


# FID


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
    assert lines_of(refused) == f"FID needs Inception's weights; {ways}"
    folder.mkdir(parents=True)
    (folder / entry.file).write_bytes(b"others")
    with pytest.raises(RestoreError) as refused:
        metrics.fid(*sets, "key")
    assert lines_of(refused) == (
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


# The columns

VISUAL = ["ssim", "ssimulacra2", "flip", "haarpsi", "swd"]
LPIPS_FID = ["lpips_alex", "lpips_vgg", "fid"]


def test_columns_of_the_tasks(without_weights):
    assert list(measures("inpaint")) == ["psnr", "psnr_y", "psnr_hole", *VISUAL, *LPIPS_FID]
    for task in ("jpeg", "super-resolve", "another"):
        assert list(measures(task)) == ["psnr", "psnr_y", *VISUAL, *LPIPS_FID]
    assert list(measures("interpolate")) == ["path_length", "psnr_ends"]
    lower = [
        name
        for name, measure in {**measures("inpaint"), **measures("interpolate")}.items()
        if measure.better == "lower"
    ]
    assert lower == ["flip", "swd", *LPIPS_FID, "path_length"]


def test_missing_weights_are_reported_at_the_start(without_weights):
    columns = measures("jpeg")
    assert columns["psnr"].missing is columns["psnr_y"].missing is columns["ssim"].missing is None
    for name, weights in zip(LPIPS_FID, ("lpips-alex", "lpips-vgg", "inception-fid"), strict=True):
        assert f"bcm-restore weights download {weights}" in columns[name].missing


def test_nothing_is_missing_if_all_networks_load(monkeypatch):
    loaded = []
    monkeypatch.setattr(perceptual, "load", loaded.append)
    monkeypatch.setattr(frechet, "load", lambda: loaded.append("inception"))
    assert [measure.missing for measure in measures("inpaint").values()] == [None] * 11
    assert loaded == ["alex", "vgg", "inception"]


def test_values_of_pictures(without_weights, portrait, noisy, monkeypatch):
    hole = np.zeros(portrait.shape[:2], bool)
    hole[10:40, 20:50] = True
    result = np.where(hole[..., None], noisy, portrait)
    example = Example(np.zeros_like(portrait), portrait, {"mask": hole}, hole)
    monkeypatch.setattr(
        metrics, "lpips", lambda picture, reference, net: (picture is result, reference is portrait, net)
    )
    columns = measures("inpaint")
    values = {name: measure.function(result, example) for name, measure in columns.items() if measure.function}
    assert values["psnr"] == pytest.approx(skimage.metrics.peak_signal_noise_ratio(portrait, result))
    inside = skimage.metrics.peak_signal_noise_ratio(portrait[10:40, 20:50], noisy[10:40, 20:50])
    assert values["psnr_hole"] == pytest.approx(inside)
    assert values["psnr_y"] == metrics.psnr_y(result, portrait)
    assert values["ssim"] == pytest.approx(
        skimage.metrics.structural_similarity(portrait, result, channel_axis=-1, data_range=255)
    )
    assert values["lpips_alex"] == (True, True, "alex")
    assert values["lpips_vgg"] == (True, True, "vgg")
    assert values["ssimulacra2"] == metrics.ssimulacra2(result, portrait)
    assert (values["flip"], values["haarpsi"]) == (metrics.flip(result, portrait), metrics.haarpsi(result, portrait))
    assert columns["fid"].function is columns["swd"].function is None


def test_equal_pictures_have_finite_values(without_weights, portrait):
    nothing = np.zeros(portrait.shape[:2], bool)
    example = Example(portrait, portrait, {}, nothing)
    columns = measures("inpaint")
    values = {name: columns[name].function(portrait, example) for name in ("psnr", "psnr_y", "psnr_hole", "ssim")}
    assert values == {"psnr": 100, "psnr_y": 100, "psnr_hole": 100, "ssim": pytest.approx(1)}
    json.dumps(values, allow_nan=False)


def test_notes_about_few_pictures():
    assert fid_note(1) == "there is no FID of a single picture"
    assert fid_note(4) == "FID of 4 pictures means little: 2,000 or more are usual"
    assert fid_note(1999) == "FID of 1,999 pictures means little: 2,000 or more are usual"
    assert fid_note(2000) is None


# Interpolation


def walk(*frames):
    """A result of these frames, and the example with grey ends of values 0 and 200."""
    ends = np.stack([np.full((4, 6, 3), value, np.uint8) for value in (0, 200)])
    strip = np.concatenate([np.broadcast_to(np.uint8(frame), (4, 6, 3)) for frame in frames], axis=1)
    return strip, Example(ends, strip, {"frames": len(frames)})


def test_the_straight_line_has_length_one():
    assert path_length(*walk(0, 50, 100, 200)) == pytest.approx(1)
    assert path_length(*walk(0, 200)) == pytest.approx(1)


def test_detours_are_longer():
    assert path_length(*walk(0, 150, 50, 200)) == pytest.approx((150 + 100 + 150) / 200)
    sideways = [0, (100, 100, 200), 200]  # the steps are root mean squares over the channels
    step = [math.sqrt((100**2 + 100**2 + 200**2) / 3), math.sqrt((100**2 + 100**2 + 0) / 3)]
    assert path_length(*walk(*sideways)) == pytest.approx(sum(step) / 200)


def test_equal_pictures_have_no_path():
    strip, example = walk(0, 0)
    same = replace(example, damaged=example.damaged[[0, 0]])
    with pytest.raises(RestoreError, match="the two pictures are equal"):
        path_length(strip, same)


def test_ends():
    assert psnr_ends(*walk(0, 7, 200)) == 100
    strip, example = walk(3, 90, 196)
    error = (3**2 + 4**2) / 2
    assert psnr_ends(strip, example) == pytest.approx(10 * math.log10(255**2 / error))
