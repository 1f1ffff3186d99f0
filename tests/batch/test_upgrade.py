"""Folders of earlier versions: what their manifests say of settings is what is said today, so nothing is recomputed."""

import pytest

from bcm_restore.batch import Settings
from bcm_restore.batch.manifest import settings_digest
from bcm_restore.batch.recipes.registry import recipe

COMMON = {
    "model": "SHA-256 of the model file",
    "scheme": "level 0.2, mean, fit",
    "label": None,
    "seed": 0,
    "precision": "auto",
    "overlap": None,
    "quality": None,
}


@pytest.mark.parametrize(
    ("task", "inputs", "own"),
    [
        (
            "inpaint",
            {"mask": "alpha"},
            {"mask": True, "invert": False, "grow": 0, "fit": False, "threshold": None},
        ),
        ("jpeg", {"input_quality": 20}, {"input_quality": 20}),
        ("super-resolve", {"scale": 2}, {"scale": 2, "noise": None}),
    ],
)
def test_the_settings_of_a_task(task, inputs, own):
    found = recipe(task, Settings(scheme="level 0.2, mean, fit", device="cpu"), inputs).fingerprint()
    assert {**found, "model": COMMON["model"]} == {"task": task, **COMMON, **own}


def test_the_digest_of_settings():
    """SHA-256 of their JSON with sorted keys, as of version 0.1."""
    assert settings_digest({"task": "jpeg", **COMMON, "input_quality": 20}) == (
        "14ee23a3cdb78abea01e31a05dd33f034d9cf8af78ebbf828fe5c6ccb27852eb"
    )
