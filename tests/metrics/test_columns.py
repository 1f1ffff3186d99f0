"""The columns of the bench: which a task has, and their values."""

import json

import numpy as np
import pytest
import skimage.color
import skimage.metrics

from bcm_restore import metrics
from bcm_restore.bench.measures import fid_note, measures
from bcm_restore.metrics import frechet, perceptual
from bcm_restore.simulation.degradations import Example

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
