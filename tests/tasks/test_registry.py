"""The tasks by name, and their default schemes."""

from types import SimpleNamespace

import pytest
from helpers.damage import lines

from bcm_restore import schemes, tasks, weights
from bcm_restore.errors import RestoreError
from bcm_restore.model import BCM
from bcm_restore.networks import Network
from bcm_restore.tasks import registry


def test_names_and_close_matches():
    assert {"deblur", "denoise", "inpaint", "interpolate", "jpeg", "super-resolve"} <= set(tasks.names())
    assert tasks.get("inpaint").name == "inpaint"
    with pytest.raises(RestoreError, match="task 'inpant' is not known; did you mean 'inpaint'"):
        tasks.get("inpant")


def test_other_packages_add_tasks(monkeypatch):
    class Fade(tasks.Task):
        name = "fade"

    point = SimpleNamespace(name="fade", load=lambda: Fade)
    Fade.__abstractmethods__ = frozenset()
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "bcm_restore.tasks" else [])
    assert "fade" in tasks.names()
    assert isinstance(tasks.get("fade"), Fade)
    tasks.get.cache_clear()


@pytest.mark.parametrize("name", ["colorize", "deblur", "denoise", "inpaint", "interpolate", "jpeg", "super-resolve"])
def test_every_task_has_a_default_scheme_for_every_nfe(name):
    tables = tasks.get(name).schemes()
    for case, table in [*tables[weights.DEFAULT].items(), *tables[weights.PUBLISHED].items()]:
        assert set(table) == {1, 2, 3, 4, 8}, case
        for nfe, scheme in table.items():
            assert scheme.nfe == nfe
            assert scheme.ends_clean


def test_default_schemes_of_denoising_suit_their_models():
    tables = tasks.get("denoise").schemes()
    assert set(tables) == {weights.DEFAULT, weights.SMALL, weights.PUBLISHED}
    for model, cases in tables.items():
        assert set(cases) == {"any"}
        for table in cases.values():
            for scheme in table.values():
                schemes.check(scheme, still(name=model, diagonal=model != weights.PUBLISHED), t0=0.2)


@pytest.mark.parametrize("name", ["deblur", "inpaint", "interpolate", "jpeg", "super-resolve"])
def test_models_without_the_diagonal_get_schemes_that_they_can_run(name):
    task = tasks.get(name)
    for model in (still(name="bcm-imagenet64"), still(name="bcm-imagenet64-deep"), still(name="my own")):
        for case in task.schemes()[weights.DEFAULT]:
            for nfe in tasks.NFES:
                schemes.check(task.default(nfe, model, case), model, t0=0.2 if name in ("deblur", "jpeg") else 0.0)
    new = still(name="new", diagonal=True, level_maps=True)
    assert task.cases(new) == task.schemes()[weights.DEFAULT]
    without = still(name="new", diagonal=True)
    assert task.cases(without) == task.schemes()[weights.SMALL]
    for case in task.schemes()[weights.SMALL]:
        for nfe in tasks.NFES:
            schemes.check(task.default(nfe, without, case), without, t0=0.2 if name in ("deblur", "jpeg") else 0.0)


def still(diagonal=False, **options):
    """A model that changes nothing."""
    network = Network()
    return BCM(network, device="cpu", diagonal=diagonal, **options)


def test_an_nfe_without_a_default_scheme_lists_those_that_exist(portrait):
    with pytest.raises(RestoreError, match=r"inpaint has no default scheme with NFE 5; choose 1, 2, 3, 4, 8"):
        tasks.get("inpaint").restore(portrait, mask=lines(portrait.shape[:2]), nfe=5)


def test_a_scheme_that_leaves_noise_is_refused(portrait):
    with pytest.raises(RestoreError, match="leaves noise in the picture"):
        tasks.get("inpaint").restore(portrait, mask=lines(portrait.shape[:2]), scheme="noise 0.5, to 0.1")
