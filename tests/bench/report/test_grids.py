"""The pictures of a report: which crops it shows, and how large it gets."""

import base64
import io
import re
import zlib

import numpy as np
import pytest
from helpers import reports
from helpers.pages import Page
from helpers.reports import FEW, flat
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bcm_restore.bench.report import grids
from bcm_restore.bench.report.html import to_html


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_crops_are_from_where_contestants_differ():
    results = reports.make(cases=("box",), contestants=FEW)
    (shown,) = [grids.grids(results, case, flat) for case in results["cases"]]
    for grid in shown:
        assert [tile.source for tile in grid.tiles] == ["clean", "damaged", "BCM, NFE 1", "BCM, NFE 4", "Telea"]
        x, y = map(int, re.fullmatch(r"96×96 pixels from \((\d+), (\d+)\)", grid.place).groups())
        assert x <= 30 <= 50 <= x + 96 and y <= 100 <= 120 <= y + 96
        for tile in grid.tiles:
            assert np.array_equal(tile.pixels, flat("box", tile.source, grid.name)[y : y + 96, x : x + 96])


def test_a_single_contestant_is_compared_with_the_clean_picture():
    results = reports.make(cases=("box",), contestants=(("BCM, NFE 1", "BCM", 1),))
    picture = lambda case, source, name: flat(case, source.replace("BCM", "X"), name)  # noqa: E731
    grid = grids.grids(results, results["cases"][0], picture)[0]
    x, y = map(int, re.findall(r"\d+", grid.place)[2:])
    assert x <= 130 <= 150 <= x + 96 and y <= 170 <= 190 <= y + 96


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_largest_difference_is_found(height, width, side, random):
    rng = np.random.default_rng(random.randrange(2**32))
    pictures = list(rng.integers(0, 256, (3, height, width, 3), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "SIDE", side)
        y, x = grids._largest_difference(pictures)
    variance = np.var(np.array(pictures, np.float64), axis=0).mean(axis=-1)
    tall, wide = min(side, height), min(side, width)
    sums = np.lib.stride_tricks.sliding_window_view(variance, (tall, wide)).sum(axis=(2, 3))
    assert sums[y, x] == pytest.approx(sums.max(), rel=1e-5)


def test_the_pictures_that_differ_most_come_first():
    names = [f"p{n}" for n in range(6)]
    results = reports.make(cases=("box",), names=names, contestants=FEW)
    spread = {"p0": 1, "p1": 5, "p2": 0, "p3": 9, "p4": 3, "p5": 2}
    for sign, row in enumerate(results["cases"][0]["rows"]):
        for name, values in row["pictures"].items():
            values["psnr"] = 25.0 + sign * spread[name]
    shown = grids.grids(results, results["cases"][0], flat)
    assert [grid.name for grid in shown] == ["p3", "p1", "p4"]
    assert [tile.value for tile in shown[0].tiles] == ["", "", "25.00", "34.00", "43.00"]
    del results["cases"][0]["rows"][1]["pictures"]["p3"]  # it failed there
    assert [grid.name for grid in grids.grids(results, results["cases"][0], flat)] == ["p1", "p4", "p5"]


def test_small_damaged_pictures_are_enlarged_by_nearest_neighbour():
    clean = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    results = reports.make("super-resolve", cases=("x4",), contestants=FEW)
    grid = grids.grids(
        results, results["cases"][0], lambda case, source, name: clean[::4, ::4] if source == "damaged" else clean
    )[0]
    assert grid.place == "48×64 pixels from (0, 0)"
    assert np.array_equal(grid.tiles[1].pixels, np.repeat(np.repeat(clean[::4, ::4], 4, axis=0), 4, axis=1))
    assert np.array_equal(grid.tiles[0].pixels, clean)


def strips(case, source, name):
    assert source != "clean"
    return np.full((120, 120 * (2 if source == "damaged" else 16), 3), 77, np.uint8)


def test_interpolations_are_not_cropped():
    results = reports.make("interpolate", cases=("pairs",), contestants=FEW, missing=())
    shown = grids.grids(results, results["cases"][0], strips)
    assert [tile.source for tile in shown[0].tiles] == ["ends", "BCM, NFE 1", "BCM, NFE 4", "Telea"]
    assert [tile.pixels.shape for tile in shown[0].tiles] == [(60, 120, 3), *[(60, 960, 3)] * 3]
    page = Page(to_html(results, strips))
    assert "Perception and distortion" not in page.text
    assert "Numbers: path length ↓ of the whole picture." in page.text
    assert [(image["width"], image["height"]) for image in page.all("img")][:2] == [("120", "60"), ("960", "60")]


def test_the_page_has_the_pictures_of_the_grids(results, page):
    tiles = [
        tile for case in results["cases"] for grid in grids.grids(results, case, reports.picture) for tile in grid.tiles
    ]
    images = page.all("img")
    assert len(images) == len(tiles) == 2 * 3 * 10
    for image, tile in zip(images, tiles, strict=True):
        assert image["src"].startswith("data:image/png;base64,")
        assert np.array_equal(decoded(image["src"]), tile.pixels)
        assert (image["width"], image["height"]) == ("192", "192")


def noise(case, source, name):
    return np.random.default_rng(zlib.crc32(f"{case}{source}{name}".encode())).integers(0, 256, (128, 128, 3), np.uint8)


def test_large_reports_have_jpegs_then_fewer_pictures(monkeypatch):
    results = reports.make(contestants=FEW)
    shown = [grids.grids(results, case, noise) for case in results["cases"]]
    budget, sizes = 10**9, []
    for kind, count in (("png", 3), ("jpeg", 3), ("jpeg", 2), ("jpeg", 1), ("jpeg", 1)):
        monkeypatch.setattr(grids, "BUDGET", budget)
        fewer, uris = grids.fitting(shown)
        assert fewer == [case[:count] for case in shown]
        assert list(uris) == [tile for case in fewer for grid in case for tile in grid.tiles]
        assert all(uri.startswith(f"data:image/{kind};") for uri in uris.values())
        sizes.append(sum(map(len, uris.values())))
        budget = sizes[-1] - 1
    assert sizes[:-1] == sorted(set(sizes), reverse=True)


@pytest.mark.slow
def test_a_page_stays_small():
    contestants = tuple((f"BCM, NFE {nfe}", "BCM", nfe) for nfe in range(1, 9))
    cases = tuple(f"case {n}" for n in range(4))
    page = to_html(reports.make(cases=cases, contestants=contestants, missing=()), noise)
    assert len(page.encode()) < 5_000_000
