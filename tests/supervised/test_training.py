"""Training for one kind of damage, from the configuration to the model file."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from bcm_restore import load_model, supervised, tasks, weights
from bcm_restore.bench import assembly as bench
from bcm_restore.bench.assembly import BenchSettings
from bcm_restore.bench.cases import cases
from bcm_restore.bench.pictures import adm_crop
from bcm_restore.errors import RestoreError
from bcm_restore.model import Noise
from bcm_restore.simulation.degradations import compressed, degradations
from bcm_restore.supervised import I2SB, Damaged
from bcm_restore.supervised.model import evaluate
from bcm_restore.train import start
from bcm_restore.train.config import make_config
from bcm_restore.train.damage import Pairs, damage, first_estimate
from bcm_restore.train.data import Crops, Picture

SMALL = {"channels": [8, 8], "blocks": [1, 1], "embedding": 16}


@pytest.fixture
def folder(tmp_path):
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(data, name)()[:128, :160]).save(tmp_path / f"{name}.png")
    return tmp_path


def config(folder, objective, task, *cases, **run):
    return make_config(
        {
            "network": dict(SMALL),
            "objective": {"name": objective},
            "damage": {"task": task, "cases": list(cases), "pairs": 40},
            "data": {"sources": [str(folder)], "crop": 32, "held_out": 1},
            "optimizer": {"muon": 0.0, "adamw": 0.003, "warmup": 1},
            "run": {"steps": 2, "batch": 8, "compile": False, **run},
        }
    )


def clean_crops(count=6, side=48):
    photo = torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1) / 127.5 - 1
    return torch.stack([photo[:, 40 * n : 40 * n + side, 60 : 60 + side] for n in range(count)])


def test_damaged_crops_are_what_the_bench_damages():
    clean = clean_crops()
    made = damage(clean, tasks.get("jpeg"), [compressed(10)], seed=3)
    pixels = ((clean[2] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    expected = compressed(10)(pixels, np.random.default_rng(0)).damaged
    assert torch.equal(((made.image[2] + 1) * 127.5).round().byte().permute(1, 2, 0), torch.from_numpy(expected))
    assert made.hole is None


def test_damaged_small_pictures_are_their_first_estimates():
    clean = clean_crops(2)
    [degrade] = degradations("super-resolve", ["x4"]).values()
    made = damage(clean, tasks.get("super-resolve"), [degrade], seed=0)
    example = degrade(((clean[1] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), np.random.default_rng(0))
    small = torch.from_numpy(example.damaged.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    torch.testing.assert_close(made.image[1:], tasks.get("super-resolve").problem(small, scale=4, kernel="bicubic").x)


def test_jpegs_of_training_are_those_of_the_bench_without_jpeglib(monkeypatch):
    monkeypatch.setattr("bcm_restore.images.jpeg._coefficients", None)
    photo = data.astronaut()[100:148, 60:108]
    for name, quality in (("quality-10", 10), ("quality-5-40", int(np.random.default_rng(1).integers(5, 41)))):
        [degrade] = degradations("jpeg", [name]).values()
        monkeypatch.undo()
        expected = compressed(quality)(photo, np.random.default_rng(1))
        monkeypatch.setattr("bcm_restore.images.jpeg._coefficients", None)
        made = degrade(photo, np.random.default_rng(1))
        assert np.array_equal(made.damaged, expected.damaged) and made.data == expected.data


def test_small_pictures_with_flaws_are_received_as_if_they_had_none():
    [case] = cases("super-resolve", ["x4-jpeg-60"])
    example = case.degrade(data.astronaut()[:64, :96], np.random.default_rng(0))
    small = torch.from_numpy(example.damaged.copy()).permute(2, 0, 1)[None] / 127.5 - 1
    task = tasks.get("super-resolve")
    received = first_estimate(task, small, example)
    torch.testing.assert_close(received, task.problem(small, scale=4, kernel="bicubic", noise=0).x)
    assert (received - task.problem(small, **example.inputs).x).abs().max() > 0.02


def test_holes_are_those_of_the_masks():
    made = damage(clean_crops(), tasks.get("inpaint"), list(degradations("inpaint", ["box"]).values()), seed=0)
    assert made.hole.shape == (6, 1, 48, 48)
    assert made.hole.float().mean() == pytest.approx(0.25, abs=0.01)
    known = ~made.hole.expand_as(made.image)
    torch.testing.assert_close(made.image[known], clean_crops()[known])


def test_qualities_are_drawn_from_their_range():
    photo = data.astronaut()[:64, :64]
    sizes = {len(compressed(5, 40)(photo, np.random.default_rng(seed)).data) for seed in range(20)}
    ends = [len(compressed(quality)(photo, np.random.default_rng(0)).data) for quality in (5, 40)]
    assert len(sizes) > 5 and min(sizes) >= ends[0] and max(sizes) <= ends[1]


def test_pairs_belong_together_and_depend_on_the_seed():
    crops = Crops([Picture("a", "", data.astronaut())], 32, half=0.3, device=torch.device("cpu"))
    one, again, other = (Pairs(crops, "jpeg", ["quality-40"], 30, torch.device("cpu"), seed) for seed in (0, 0, 1))
    assert torch.equal(one.damaged, again.damaged) and not torch.equal(one.damaged, other.damaged)
    clean, damaged = one(16, torch.Generator().manual_seed(0))
    assert clean.shape == damaged.image.shape == (16, 3, 32, 32)
    own = (clean - damaged.image).square().mean()
    assert own < 0.1 * (clean.roll(1, 0) - damaged.image).square().mean()


@pytest.mark.parametrize("objective", ["i2sb", "palette"])
@pytest.mark.parametrize(("task", "case"), [("jpeg", "quality-5-40"), ("inpaint", "box"), ("super-resolve", "x4")])
def test_a_trained_model_is_saved_with_what_it_was_trained_for(folder, tmp_path, objective, task, case):
    prepared = start.prepare(config(folder, objective, task, case), tmp_path / "run", "cpu")
    (tmp_path / "run").mkdir()
    statuses = []
    prepared.trainer.run(statuses.append)
    assert set(statuses[-1].losses) == {objective}
    assert set(statuses[-1].scores) == {"restored_1", "restored_4"}
    model = supervised.load(tmp_path / "run" / "model.safetensors", device="cpu")
    assert model.process.name == objective
    assert model.damage == {"task": task, "cases": [case]}
    damaged = Damaged(torch.zeros(1, 3, 37, 50), torch.ones(1, 1, 37, 50, dtype=torch.bool))
    assert model.restore(damaged, 3, Noise([0])).shape == (1, 3, 37, 50)
    assert model.nfe == 3
    mine = prepared.trainer.model().restore(damaged, 3, Noise([0]))
    torch.testing.assert_close(model.restore(damaged, 3, Noise([0])), mine)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["i2sb", "palette"])
def test_training_lowers_the_loss(folder, tmp_path, objective):
    made = config(folder, objective, "jpeg", "quality-10", steps=80, batch=24)
    trainer = start.prepare(made, tmp_path / "run", "cpu").trainer
    loss = [trainer.step()[objective] for _ in range(80)]
    assert sum(loss[-20:]) < 0.95 * sum(loss[:20])


def test_a_large_picture_is_evaluated_in_tiles_with_its_condition(folder, tmp_path):
    """In tiles as whole."""
    trainer = start.prepare(config(folder, "palette", "jpeg", "quality-10"), tmp_path / "run", "cpu").trainer
    for parameter in trainer.averages[0].parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model = trainer.model()
    damaged = Damaged(torch.rand(1, 3, 300, 280) * 2 - 1)
    whole = model.restore(damaged, 2, Noise([0]))
    model.network.tile = 128
    torch.testing.assert_close(model.restore(damaged, 2, Noise([0])), whole, rtol=0, atol=2e-5)


def test_the_output_is_noise_by_the_preconditioning_of_the_posterior_mean():
    """A BCM's network, given a noisy image, returns (x - E[x_0 | x]) / t."""
    model = load_model("bcm-photo-small", device="cpu")
    x, t = (
        clean_crops(2) + 0.3 * torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)),
        torch.tensor(0.3),
    )
    got = evaluate(model.network, I2SB(), x, x, t.expand(2))
    torch.testing.assert_close(got, (x - model.mean(x, 0.3)) / t, rtol=1e-4, atol=1e-4)


def test_other_commands_refuse_the_model_in_one_line(folder, tmp_path):
    trainer = start.prepare(config(folder, "i2sb", "jpeg", "quality-10"), tmp_path, "cpu").trainer
    trainer.save()
    with pytest.raises(RestoreError, match=r"model.safetensors: is a model of the objective i2sb, "):
        load_model(tmp_path / "model.safetensors")
    with pytest.raises(RestoreError, match=r"bcm-photo-small.safetensors: is a bidirectional consistency model"):
        supervised.load("bcm-photo-small")
    earlier = {"objective": "i2sb", "constants": {}, "damage": {}}
    weights.save_model(tmp_path / "earlier.safetensors", trainer.network, trainer.network_config, **earlier)
    with pytest.raises(
        RestoreError, match=r"earlier.safetensors: was trained by a version without preconditioning; tr"
    ):
        supervised.load(tmp_path / "earlier.safetensors")


def test_unknown_damage_is_refused_with_the_choices(folder, tmp_path):
    with pytest.raises(RestoreError, match=r"^'damage.cases' has 'quality-7'; jpeg has quality-10, .*quality-5-40$"):
        start.prepare(config(folder, "i2sb", "jpeg", "quality-7"), tmp_path, "cpu")
    with pytest.raises(RestoreError, match=r"^'damage.task' is 'melt'; choose one of inpaint, jpeg"):
        start.prepare(config(folder, "i2sb", "melt", "x"), tmp_path, "cpu")


def test_the_bench_compares_trained_models_with_ours_at_equal_nfe(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    trainer = start.prepare(config(folder, "i2sb", "jpeg", "quality-10"), run, "cpu").trainer
    trainer.save()
    model = str(run / "model.safetensors")
    made = BenchSettings(
        task="jpeg",
        data=folder,
        case=["quality-20"],
        size=64,
        limit=1,
        nfe=[1, 2],
        model=["bcm-photo-small", model],
        output=tmp_path / "bench",
        device="cpu",
    )
    results = bench.run(made)
    [case] = results["cases"]
    psnr = {row["contestant"]: row["mean"]["psnr"] for row in case["rows"]}
    assert {"BCM, NFE 1", "BCM, NFE 2", "I2SB model, NFE 1", "I2SB model, NFE 2"} < set(psnr)
    # A network that is not trained returns zero, so that X_0 is X_1 shrunk as if it had noise of the last level.
    clean = adm_crop(np.asarray(Image.open(folder / "astronaut.png")), 64)
    damaged = compressed(20)(clean, np.random.default_rng(0)).damaged
    shrunk = 127.5 + (damaged - 127.5) * 0.25 / (0.25 + float(I2SB().variances[0][-1]))
    expected = peak_signal_noise_ratio(clean, shrunk.round().astype(np.uint8))
    assert psnr["I2SB model, NFE 1"] == pytest.approx(expected, abs=0.01)
    with pytest.raises(RestoreError, match=r"^I2SB model, NFE 1 can do nothing about inpaint; leave it out$"):
        bench.run(dataclasses.replace(made, task="inpaint", case=["box"], model=[model]))
    with pytest.raises(RestoreError, match=r"^--solvers: none of the models is a prior for them; add --model bcm-phot"):
        bench.run(dataclasses.replace(made, model=[model], solvers=["ddnm"]))
