"""The search on toy models, each with another kind of optimal scheme."""

from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from bcm_restore import schemes, tasks
from bcm_restore.model import BCM
from bcm_restore.networks import Network
from bcm_restore.simulation.degradations import VARIANTS
from bcm_restore.tasks.arrays import to_tensor
from bcm_restore.tuning.evaluation import Evaluator, prepare
from bcm_restore.tuning.scores import Metric
from bcm_restore.tuning.search import Search
from bcm_restore.tuning.search_space import SearchSpace

PSNR = Metric((("psnr", 1.0),))
CPU = torch.device("cpu")


class Toy(Network):
    """A network for which `mean` and `to 0` return `evaluate(x, is_mean, known is given)`."""

    def __init__(self, evaluate: Callable[[Tensor, bool, bool], Tensor]) -> None:
        super().__init__()
        self._evaluate = evaluate

    def forward(self, x: Tensor, t: Tensor, u: Tensor, maps: Tensor | None = None) -> Tensor:
        """(wanted - c_skip x) / c_out; the input is c_in x."""
        is_mean, sd = bool(t == u), 0.5
        variance = t**2 + sd**2
        x = x * variance.sqrt()
        c_skip = (sd**2 if is_mean else t * u + sd**2) / variance
        c_out = sd * (t if is_mean else t - u) / variance.sqrt()
        return (self._evaluate(x, is_mean, maps is not None) - c_skip * x) / c_out


@pytest.fixture
def photo():
    return np.ascontiguousarray(skimage.data.astronaut()[60:132, 180:252])


@pytest.fixture
def best(photo):
    """Searches from a start, optionally with flat pictures; returns the best trial."""

    def search(evaluate, start, flat=False, space=SearchSpace()):
        task, degrade = tasks.get("inpaint"), VARIANTS["inpaint"]["text"]
        pictures, flats = (
            [prepare(task, degrade(picture, np.random.default_rng(0)), 0, CPU) for picture in each]
            for each in ([photo], [grey()] if flat else [])
        )
        model = BCM(Toy(evaluate), device="cpu", level_maps=space.holes)
        found = Search(Evaluator(task, model, pictures, flats, PSNR).trial, space)
        found.run([schemes.parse(start)])
        return found.best

    return search


@pytest.fixture
def truth(photo):
    return to_tensor(photo)[0]


def grey():
    """Flat except for black and white edges, so that `fit` does not clip to a narrower range."""
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[0], picture[-1] = 0, 255
    return picture


def checkers(x: Tensor, steps: float) -> Tensor:
    """A checkerboard of +-steps on a scale of 0 to 255."""
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in x.shape[2:]), indexing="ij")
    return (1 - 2.0 * ((rows + columns) % 2)) * steps * 2 / 255


def test_finds_the_mean(best, truth):
    trial = best(lambda x, is_mean, _: truth if is_mean else x, "level 0.2, to 0, fit")
    assert str(trial.scheme).endswith("mean, fit")
    assert trial.values["psnr"] > 48


def test_finds_to_0(best, truth):
    trial = best(lambda x, is_mean, _: x if is_mean else truth, "level 0.2, mean, fit")
    assert str(trial.scheme).endswith("to 0, fit")


def test_finds_noise_in_the_hole(best, truth):
    trial = best(lambda x, _, known: truth if known else x, "level 0.2, to 0, fit", space=SearchSpace(holes=True))
    assert "hole" in str(trial.scheme)
    assert trial.values["psnr"] > 48


def test_finds_renoise(best, truth):
    """Every evaluation goes half the way, so moving further in its direction is better."""
    trial = best(lambda x, *_: (x + truth) / 2, "level 0.2, to 0, fit, level 0.1, to 0, fit")
    assert "renoise" in str(trial.scheme)


@pytest.mark.parametrize(("steps", "word"), [(0.6, "mean"), (2, "to 0")])
def test_a_grid_in_flat_areas_loses(best, truth, steps, word):
    """`mean` is the better move on the photograph, but adds a grid to the flat picture, which is smaller."""

    def evaluate(x, is_mean, _):
        if not is_mean:
            return x
        return truth if x.shape == truth.shape else x + checkers(x, steps)

    trial = best(evaluate, "level 0.2, mean, fit", flat=True)
    assert f"{word}, fit" in str(trial.scheme)
    assert not trial.penalised
    assert trial.score == trial.values["psnr"]


def test_the_fainter_grid_wins_if_all_schemes_have_one(best, truth):
    def evaluate(x, is_mean, _):
        if x.shape == truth.shape:
            return truth if is_mean else x
        return x + checkers(x, 8 if is_mean else 4)

    trial = best(evaluate, "level 0.2, mean, fit", flat=True)
    assert "to 0" in str(trial.scheme)
    assert trial.flat_error == pytest.approx(4, abs=0.1)
    assert trial.score == trial.values["psnr"] - 1000 * trial.flat_error
