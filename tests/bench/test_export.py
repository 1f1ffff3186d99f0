"""Damaged pictures exported for other programs."""

import json

import numpy as np
import pytest
from helpers.data import noise, of
from helpers.runs import contents
from PIL import Image

from bcm_restore import images
from bcm_restore.bench.cases import CASES, cases
from bcm_restore.bench.export import export
from bcm_restore.bench.pictures import Suite
from bcm_restore.errors import RestoreError
from bcm_restore.masks import read as read_mask


def exported(folder, task, chosen=(), overwrite=False, progress=None):
    suite = Suite(of(a=noise(64, 80, 1), b=noise(70, 66, 2)), cases(task, chosen), 7)
    export(suite, folder, overwrite, progress)
    return suite, json.loads((folder / "manifest.json").read_text())


def pixels_of(path):
    return np.asarray(Image.open(path))


def test_export_of_holes(tmp_path):
    folder, seen = tmp_path / "out" / "deep", []
    suite, manifest = exported(folder, "inpaint", ["box", "text"], progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    kinds = ("clean", "damaged", "mask")
    paths = {f"{case}/{kind}/{name}.png" for case in ("box", "text") for kind in kinds for name in "ab"}
    assert set(contents(folder)) == {*paths, "manifest.json"}
    assert (manifest["version"], manifest["task"], manifest["seed"]) == (1, "inpaint", 7)
    assert manifest["data"] == suite.data()
    for case in suite.cases:
        for sample, entry in zip(suite.samples(case), manifest["cases"][case.name], strict=True):
            assert (entry["name"], entry["inputs"]) == (sample.name, {})
            for kind, expected in zip(
                kinds, (sample.example.clean, sample.example.damaged, sample.example.where * 255), strict=True
            ):
                file = entry["files"][kind]
                assert file["path"] == f"{case.name}/{kind}/{sample.name}.png"
                assert (file["height"], file["width"]) == expected.shape[:2]
                assert file["sha256"] == contents(folder)[file["path"]]
                assert np.array_equal(pixels_of(folder / file["path"]), expected)
            assert np.array_equal(read_mask(folder / entry["files"]["mask"]["path"]).hole, sample.example.where)


def test_export_of_jpeg_contains_the_jpeg_files(tmp_path):
    suite, manifest = exported(tmp_path, "jpeg", ["quality-10"])
    assert {path for path in contents(tmp_path) if path.endswith("jpg")} == {
        f"quality-10/damaged/{name}.jpg" for name in "ab"
    }
    for sample, entry in zip(suite.samples(suite.cases[0]), manifest["cases"]["quality-10"], strict=True):
        assert sorted(entry["files"]) == ["clean", "damaged"]
        path = tmp_path / entry["files"]["damaged"]["path"]
        assert path.read_bytes() == sample.example.data
        assert np.array_equal(pixels_of(path), sample.example.damaged)
        coefficients, own = images.jpeg_coefficients(path), sample.example.inputs["coefficients"]
        for ours, its in zip((*own.planes, *own.tables), (*coefficients.planes, *coefficients.tables), strict=True):
            assert np.array_equal(ours, its)


def test_export_of_small_pictures_has_scale_and_kernel(tmp_path):
    suite, manifest = exported(tmp_path, "super-resolve", ["x4", "x8-pool"])
    inputs = {name: entries[0]["inputs"] for name, entries in manifest["cases"].items()}
    assert inputs == {"x4": {"scale": 4, "kernel": "bicubic"}, "x8-pool": {"scale": 8, "kernel": "box"}}
    files = manifest["cases"]["x8-pool"][1]["files"]
    assert {kind: (file["height"], file["width"]) for kind, file in files.items()} == {
        "clean": (64, 64),
        "damaged": (8, 8),
    }
    sample = suite.sample(suite.cases[1], "b")
    assert np.array_equal(pixels_of(tmp_path / files["damaged"]["path"]), sample.example.damaged)


def test_export_of_pairs(tmp_path):
    suite, manifest = exported(tmp_path, "interpolate")
    entry, made = manifest["cases"]["pairs"][0], suite.sample(suite.cases[0], "a_to_b").example
    assert (entry["name"], entry["inputs"]) == ("a_to_b", {"frames": 9})
    read = {kind: pixels_of(tmp_path / file["path"]) for kind, file in entry["files"].items()}
    assert sorted(read) == ["clean", "first", "second"]
    assert np.array_equal(read["first"], made.damaged[0])
    assert np.array_equal(read["second"], made.damaged[1])
    assert np.array_equal(read["clean"], made.clean)


@pytest.mark.parametrize("task", list(CASES))
def test_export_is_reproducible(tmp_path, task):
    for folder in ("one", "two"):
        exported(tmp_path / folder, task)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_folder_with_files_is_kept_unless_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(RestoreError) as error:
        exported(tmp_path, "jpeg")
    assert str(error.value) == f"{tmp_path}: is not empty; give another folder, or --overwrite to write into it"
    assert contents(tmp_path) == before
    exported(tmp_path, "jpeg", overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(RestoreError, match="a part of its path is a file, not a folder"):
        exported(tmp_path / "notes.txt", "jpeg", overwrite=True)


def test_an_interrupted_export_has_no_manifest(tmp_path):
    exported(tmp_path, "jpeg")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exported(tmp_path, "jpeg", overwrite=True, progress=interrupt)
    assert not (tmp_path / "manifest.json").exists()
    assert (tmp_path / "quality-5/clean/a.png").exists()
