import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.toys import tiny_trainer

import bcm_restore
from bcm_restore.errors import RestoreError
from bcm_restore.train import checkpoints, trainer
from bcm_restore.train.config import Run
from bcm_restore.train.trainer import Diverged
from bcm_restore.train.validation import psnr, validate

OBJECTIVES = ["diffusion", "flow-map", "bct"]


def weights_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def all_weights(trainer):
    """All weights of a trainer."""
    networks = {"network": trainer.network, "target": trainer.target} | {
        f"average {n}": average for n, average in enumerate(trainer.averages)
    }
    return {f"{kind}.{name}": tensor for kind, n in networks.items() for name, tensor in weights_of(n).items()}


def names(folder):
    return {path.name for path in folder.iterdir()}


def interrupt_at(step, kept=None):
    def report(status):
        if kept is not None:
            kept.append(status.losses)
        if status.step == step:
            raise KeyboardInterrupt

    return report


class Poisoned:
    """Crops that are NaN in one step."""

    def __init__(self, crops, step) -> None:
        self.crops, self.device, self.remaining = crops, crops.device, step

    def __call__(self, count, generator):
        clean, labels = self.crops(count, generator)
        self.remaining -= 1
        return (clean * float("nan") if self.remaining == 0 else clean), labels


@pytest.fixture
def clock(monkeypatch):
    """Advances time by seven seconds at each reading."""
    ticks = itertools.count(100, 7)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_interrupted_run_resumes_bit_for_bit(tmp_path, objective):
    tables = {"objective": {"name": objective}, "optimizer": {"warmup": 2, "ema": [0.9, 0.2]}}
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, losses = tiny_trainer(tmp_path / "whole", **tables), []
    whole.run(lambda status: losses.append(status.losses))
    parts = []
    with pytest.raises(KeyboardInterrupt):
        tiny_trainer(tmp_path / "parts", **tables).run(interrupt_at(3, parts))
    resumed = tiny_trainer(tmp_path / "parts", seed=1, **tables)
    resumed.resume()
    assert resumed.steps == 3
    resumed.run(lambda status: parts.append(status.losses))
    assert parts == losses and len(losses) == 6
    assert_same_weights(all_weights(resumed), all_weights(whole))
    for name in ("model.safetensors", "model-0.2.safetensors"):
        one, other = (bcm_restore.load_model(tmp_path / run / name, device="cpu") for run in ("whole", "parts"))
        assert_same_weights(weights_of(one.network), weights_of(other.network))


def test_a_run_that_is_stopped_within_a_step_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    run = tiny_trainer(tmp_path, run={"steps": 3})
    with pytest.raises(KeyboardInterrupt):
        run.run(interrupt_at(1))
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(self):
        self.crops(1, self.generator)
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer.Trainer, "_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        run.run(lambda status: None)
    assert run.stepping and {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_runs_depend_on_the_seed(tmp_path):
    runs = [tiny_trainer(tmp_path, run={"steps": 2, "seed": seed}) for seed in (0, 0, 1)]
    for run in runs:
        run.run(lambda status: None)
    first, again, other = map(all_weights, runs)
    assert_same_weights(first, again)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_lowers_the_loss(tmp_path, objective):
    run = tiny_trainer(tmp_path, objective={"name": objective}, optimizer={"warmup": 1}, run={"steps": 80, "batch": 24})
    terms = [run.step() for _ in range(80)]
    name = {"diffusion": "diagonal", "flow-map": "diagonal", "bct": "consistency"}[objective]
    loss = [term[name] for term in terms]
    assert sum(loss[-25:]) < 0.95 * sum(loss[:25])


def test_a_budget_of_steps_and_its_reports(tmp_path, clock):
    run, seen = tiny_trainer(tmp_path, run={"steps": 5}), []
    run.run(seen.append)
    assert [status.step for status in seen] == [1, 2, 3, 4, 5]
    assert [status.progress for status in seen] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert [status.seconds for status in seen] == [7, 14, 21, 28, 35]
    assert [status.speed for status in seen] == pytest.approx([4 / 7] * 5)  # four crops every seven seconds
    assert [bool(status.scores) for status in seen] == [False] * 4 + [True]
    assert seen[-1].scores.keys() == {"psnr_15", "psnr_25", "psnr_50", "round_trip", "hole"}
    assert names(tmp_path) == {"checkpoint.pt", "model.safetensors"}


def test_reported_losses_are_running_means(tmp_path):
    run = tiny_trainer(tmp_path)
    shown = None
    for _ in range(4):
        terms = run.step()
        shown = terms if shown is None else {name: 0.99 * shown[name] + 0.01 * terms[name] for name in terms}
        assert run.losses == pytest.approx(shown)


def test_a_time_budget_ends_the_run_and_sets_the_times_of_checkpoints_and_validations(tmp_path, clock, monkeypatch):
    run, seen, saved = tiny_trainer(tmp_path, run={"minutes": 1, "validate": 0.5, "checkpoint": 0.3}), [], []
    monkeypatch.setattr(run, "save", lambda: saved.append(run.steps))
    run.run(seen.append)
    assert seen[-1].step == run.steps == 9 and seen[-1].progress == 1  # the first multiple of 7 past 60
    assert [status.progress for status in seen[:-1]] == pytest.approx([7 * n / 60 for n in range(1, 9)])
    assert [status.step for status in seen if status.scores] == [5, 9]
    assert saved == [3, 6, 9]


def test_a_resumed_run_has_the_remaining_time(tmp_path, clock):
    with pytest.raises(KeyboardInterrupt):
        tiny_trainer(tmp_path, run={"minutes": 1}).run(interrupt_at(5))
    resumed, seen = tiny_trainer(tmp_path, run={"minutes": 1}), []
    resumed.resume()
    assert resumed.progress == pytest.approx(35 / 60)
    resumed.run(seen.append)
    assert [status.seconds for status in seen] == [42, 49, 56, 63]
    assert resumed.steps == 9


def test_a_finished_run_does_no_more_steps(tmp_path):
    run = tiny_trainer(tmp_path)
    run.run(lambda status: None)
    resumed = tiny_trainer(tmp_path)
    resumed.resume()
    resumed.run(lambda status: pytest.fail("another step"))


@pytest.mark.parametrize("by", ["report", "signal"])
def test_an_interrupted_run_saves_and_raises(tmp_path, by):
    run = tiny_trainer(tmp_path)

    def stop(status):
        if status.step == 2:
            run.stop = True

    with pytest.raises(KeyboardInterrupt):
        run.run(interrupt_at(2) if by == "report" else stop)
    assert checkpoints.load(tmp_path)["steps"] == run.steps == (2 if by == "report" else 3)
    assert names(tmp_path) == {"checkpoint.pt", "model.safetensors"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_that_diverges_names_the_step_and_keeps_the_last_good_weights(tmp_path, objective):
    run, good = tiny_trainer(tmp_path, objective={"name": objective}), []
    run.crops = Poisoned(run.crops, 4)
    with pytest.raises(Diverged, match=r"^step 4: the loss is not finite; lower the learning rates and --resume$"):
        run.run(lambda status: good.append(all_weights(run)))
    assert len(good) == 3
    assert_same_weights(all_weights(run), good[-1])
    resumed = tiny_trainer(tmp_path, seed=1, objective={"name": objective})
    resumed.resume()
    assert resumed.steps == 3
    assert_same_weights(all_weights(resumed), good[-1])
    assert all(tensor.isfinite().all() for tensor in all_weights(resumed).values())
    resumed.run(lambda status: None)
    assert resumed.steps == 6


def test_an_infinite_gradient_raises_diverged(tmp_path):
    run = tiny_trainer(tmp_path)
    run.network.exit.bias.register_hook(lambda gradient: gradient + float("inf"))
    before = all_weights(run)
    with pytest.raises(Diverged, match="step 1"):
        run.step()
    assert_same_weights(all_weights(run), before)


def test_a_checkpoint_that_cannot_be_written_leaves_only_the_old_one(tmp_path, monkeypatch):
    run = tiny_trainer(tmp_path)
    run.step()
    run.save()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    run.step()

    def fail(state, file):
        with open(file, "wb") as half:  # noqa: PTH123
            half.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RestoreError, match="the disk is full"):
        run.save()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    run.save()
    assert checkpoints.load(tmp_path)["steps"] == 2


def test_learning_rates_warm_up_hold_and_decay_to_zero(tmp_path):
    run = tiny_trainer(
        tmp_path, optimizer={"muon": 0.03, "adamw": 0.002, "warmup": 4, "hold": 0.5}, run={"steps": 10}, held_out=0
    )
    rates = []
    run.run(lambda status: rates.append([o.param_groups[0]["lr"] for o in run.optimizers]))
    shape = [0.25, 0.5, 0.75, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert [muon for muon, _ in rates] == pytest.approx([0.03 * share for share in shape])
    assert [adamw for _, adamw in rates] == pytest.approx([0.002 * share for share in shape])


def test_the_gradient_is_clipped(tmp_path):
    run = tiny_trainer(tmp_path, optimizer={"clip": 1e-3})
    run.step()
    norm = sum(p.grad.double().square().sum() for p in run.network.parameters()).sqrt()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_averages_of_the_weights_have_their_decays_and_forget_the_start(tmp_path):
    rates = {"ema": [0.999, 0.2], "target": 0.3}
    run = tiny_trainer(tmp_path, optimizer={**rates, "warmup": 1, "adamw": 0.01})
    expected = [{k: v.double() for k, v in weights_of(run.network).items()} for _ in range(3)]
    for step in range(1, 7):
        run.step()
        now = weights_of(run.network)
        for n, rate in enumerate((0.999, 0.2, 0.3)):
            kept = min(rate, 1 - 1 / (step / 10 + 1))
            expected[n] = {k: kept * expected[n][k] + (1 - kept) * now[k] for k in now}
    for network, tensors in zip([*run.averages, run.target], expected, strict=True):
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor.double(), tensors[name], atol=1e-6, rtol=1e-5)
    assert not torch.equal(run.averages[0].exit.bias, run.averages[1].exit.bias)


@pytest.mark.parametrize(("objective", "follows"), [("diffusion", True), ("bct", True), ("flow-map", False)])
def test_target_networks_have_the_decay_of_their_objective(tmp_path, objective, follows):
    run = tiny_trainer(tmp_path, objective={"name": objective})
    run.step()
    run.step()
    own, held = weights_of(run.network), weights_of(run.target)
    assert all(torch.equal(own[name], held[name]) for name in own) == follows


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_decay_has_a_model_file_with_the_averaged_network(tmp_path, objective):
    run = tiny_trainer(
        tmp_path,
        objective={"name": objective, "maps": 0.0 if objective == "diffusion" else 0.4},
        optimizer={"ema": [0.9, 0.2, 0.05], "warmup": 1},
    )
    run.run(lambda status: None)
    files = ["model.safetensors", "model-0.2.safetensors", "model-0.05.safetensors"]
    assert names(tmp_path) == {"checkpoint.pt", *files}
    x, t, u = torch.randn(2, 3, 8, 8), torch.tensor([0.5, 80.0]), torch.tensor([0.002, 0.3])
    outputs = []
    for name, average in zip(files, run.averages, strict=True):
        model = bcm_restore.load_model(tmp_path / name, device="cpu")
        assert (model.sigma_min, model.sigma_max, model.sigma_data) == (0.002, 80.0, 0.5)
        assert model.diagonal == (objective != "bct") and model.level_maps == (objective != "diffusion")
        with torch.no_grad():
            outputs.append(average(x, t, u))
        torch.testing.assert_close(model.network(x, t, u), outputs[-1], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(outputs[0], outputs[1]) and not torch.allclose(outputs[1], outputs[2])


def test_a_checkpoint_of_another_configuration_raises_an_error(tmp_path):
    with pytest.raises(RestoreError, match=r"checkpoint\.pt: no such file; omit --resume"):
        tiny_trainer(tmp_path).resume()
    tiny_trainer(tmp_path).save()
    for optimizer in ({"ema": [0.9, 0.99]}, {"muon": 0}):
        with pytest.raises(RestoreError, match=r"checkpoint\.pt: belongs to another configuration"):
            tiny_trainer(tmp_path, optimizer=optimizer).resume()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RestoreError, match=r"checkpoint\.pt: not a readable checkpoint"):
        tiny_trainer(tmp_path).resume()


class Stub:
    """A model with known errors, which records its calls."""

    sigma_min, sigma_max, device, diagonal, level_maps = 0.002, 80.0, torch.device("cpu"), True, True

    def __init__(self, clean) -> None:
        self.clean, self.calls = clean, []

    def mean(self, x, t, known=None):
        self.calls.append(("mean", t, (x - self.clean)[~self.hidden(x, known)].std().item() / t))
        if known is None:
            return self.clean + 0.2
        assert torch.equal(x[known.expand_as(x)], self.clean[known.expand_as(x)])
        self.share = known.float().mean().item()
        return torch.where(known, 5.0, self.clean - 0.02)

    @staticmethod
    def hidden(x, known):
        return torch.zeros_like(x, dtype=torch.bool) if known is None else known.expand_as(x)

    def traverse(self, x, t, u, known):
        assert (t, u) == (80.0, 0.002)
        return torch.where(known, 5.0, self.clean - 0.2)

    def invert(self, x, t):
        self.calls.append(("invert", t, (x - self.clean).std().item() / t))
        return x + 1

    def denoise(self, x, t):
        self.calls.append(("denoise", t, (x - self.clean - 1).std().item()))
        return self.clean + 0.1


def test_validation_scores_and_calls():
    stub = Stub(torch.zeros(8, 3, 32, 32))
    scores = validate(stub, stub.clean)
    assert scores == pytest.approx(
        {"psnr_15": 20.0, "psnr_25": 20.0, "psnr_50": 20.0, "round_trip": 0.0025, "hole": 40.0}, rel=1e-4
    )
    assert [(kind, t) for kind, t, _ in stub.calls] == [
        ("mean", 15 / 127.5),
        ("mean", 25 / 127.5),
        ("mean", 50 / 127.5),
        ("invert", 0.07),
        ("denoise", 80.0),
        ("mean", 80.0),
    ]
    assert [spread for *_, spread in stub.calls] == pytest.approx([1, 1, 1, 1, 0.07, 1], rel=0.03)
    assert stub.share == pytest.approx(0.2, abs=0.02)
    again = Stub(stub.clean)
    validate(again, again.clean)
    assert again.calls == stub.calls  # the same noise
    stub.diagonal = False
    assert validate(stub, stub.clean) == pytest.approx({"round_trip": 0.0025, "hole": 20.0}, rel=1e-4)
    stub.level_maps = False
    assert validate(stub, stub.clean).keys() == {"round_trip"}


def test_validation_averages_over_all_pictures():
    class Mean(Stub):
        level_maps = False

        def mean(self, x, t, known=None):
            return torch.zeros_like(x) + 0.2 * (len(x) == 8) + 0.02 * (len(x) == 2)

        def denoise(self, x, t):
            return torch.zeros_like(x)

        def invert(self, x, t):
            return x

    scores = validate(Mean(None), torch.zeros(10, 3, 8, 8))
    assert scores["psnr_25"] == pytest.approx((8 * 20 + 2 * 40) / 10, rel=1e-4)


def test_psnr():
    clean = torch.zeros(2, 3, 4, 4)
    image = clean.clone()
    image[0] += 0.2
    image[1, :, :2] += 5.0  # clamped to 1: an error of 0.5 in half of the picture
    torch.testing.assert_close(psnr(image, clean), torch.tensor([20.0, 9.0309]))
    where = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    where[:, :, 0] = True
    torch.testing.assert_close(psnr(image, clean, where), torch.tensor([20.0, 6.0206]))


def test_resuming_needs_the_same_number_of_processes(tmp_path):
    trainer = tiny_trainer(tmp_path)
    trainer.save()
    state = checkpoints.load(tmp_path)
    checkpoints.save(tmp_path, {**state, "generators": state["generators"] * 2})
    with pytest.raises(RestoreError, match="comes from a run with 2 processes; resume with as many"):
        tiny_trainer(tmp_path).resume()


@pytest.mark.parametrize(
    ("run", "compiler", "expected"),
    [
        ({"minutes": 2.0}, True, False),
        ({"minutes": 10.0}, True, True),
        ({"minutes": 10.0}, False, False),
        ({"steps": 3}, True, True),
        ({"minutes": 2.0, "compile": True}, False, True),
        ({"minutes": 60.0, "compile": False}, True, False),
    ],
)
def test_short_runs_on_a_cpu_are_not_compiled(tmp_path, monkeypatch, run, compiler, expected):
    made = tiny_trainer(tmp_path)
    made.config = replace(made.config, run=Run(**run))
    monkeypatch.setattr("shutil.which", lambda name: "g++" if compiler else None)
    assert made.compiles == expected


@pytest.mark.parametrize(
    ("precision", "fast", "expected"), [("auto", True, False), ("bf16", True, True), ("bf16", False, False)]
)
def test_bf16_on_a_cpu_only_if_it_is_fast(tmp_path, monkeypatch, precision, fast, expected):
    monkeypatch.setattr("bcm_restore.model.fast_on_cpu", lambda dtype: fast)
    assert tiny_trainer(tmp_path, run={"precision": precision}).bf16 == expected
