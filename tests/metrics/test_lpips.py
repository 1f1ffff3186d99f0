"""LPIPS, its weights and its packages."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.runs import line_of

from bcm_restore import metrics
from bcm_restore.bench.measures import measures
from bcm_restore.errors import RestoreError
from bcm_restore.metrics import perceptual
from bcm_restore.weights import catalogue


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
    assert line_of(refused) == f"LPIPS needs {network}'s weights; {ways}"
    assert perceptual.backbone(net) == folder / entry.file
    folder.mkdir(parents=True)
    perceptual.backbone(net).write_bytes(b"others")
    with pytest.raises(RestoreError) as refused:
        metrics.lpips(portrait, portrait, net)
    assert line_of(refused).startswith(f"{folder / entry.file}: is damaged, or does not hold {network}'s weights")


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
        assert line_of(refused) == f"{what} needs the package {package}, which cannot be imported ({BROKEN}); {way}"


def test_the_other_columns_do_not_need_torchvision(broken):
    missing = {name: measure.missing for name, measure in measures("jpeg").items()}
    assert [name for name, why in missing.items() if why] == ["lpips_alex", "lpips_vgg", "fid"]
    assert all(BROKEN in why for why in missing.values() if why)


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
