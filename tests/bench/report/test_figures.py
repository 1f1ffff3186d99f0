"""The figures of a report: values, labels, colours."""

import copy
import re

import numpy as np
import pytest
from helpers import reports
from helpers.pages import Page
from helpers.reports import FEW

from bcm_restore.bench.report import figures
from bcm_restore.bench.report.html import to_html


def marks(svg, colour):
    """The positions of markers of a colour, (x, y) in points."""
    return [
        (float(x), float(y))
        for x, y in re.findall(rf'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: {colour}', svg)
    ]


def affine(values, pixels):
    """The slope of the line through all points."""
    slope, offset = np.polyfit(values, pixels, 1)
    assert np.abs(slope * np.array(values) + offset - pixels).max() < 0.01
    return slope


def drawn(results, case, svg, key):
    """Contestants, values of the metric and their positions, with the ends of error bars if NFE is known."""
    found = []
    for family in ("DDRM", "DPS", "Telea", reports.ODD):
        named = [c["name"] for c in results["contestants"] if c["family"] == family]
        values = []
        for row in (row for row in case["rows"] if row["contestant"] in named):
            mean, error = row["mean"][key], row["error"][key]
            values += [(mean + end, row) for end in ((-error, 0, error) if bars(svg) or "NFE" in named[0] else (0,))]
        points = marks(svg, figures.styles(results)[family]["color"])
        assert len(points) == len(values)
        values.sort(key=lambda pair: -pair[0])  # larger is higher, where y is smaller
        points.sort(key=lambda point: point[1])
        found += [(row, value, *point) for (value, row), point in zip(values, points, strict=True)]
    return zip(*found, strict=True)


def bars(svg):
    """Whether all contestants have error bars, as in planes."""
    return "numbers are NFE" in svg


def test_curves_are_at_their_values(results):
    case = results["cases"][0]
    svg = figures.curves(results, case, "psnr")
    rows, values, x, y = drawn(results, case, svg, "psnr")
    assert affine(values, y) < 0
    nfes = {contestant["name"]: contestant["nfe"] for contestant in results["contestants"]}
    evaluations = np.array([nfes[row["contestant"]] or 0 for row in rows])
    x = np.array(x)
    assert affine(np.log2(evaluations[evaluations > 0]), x[evaluations > 0]) > 0
    assert x[evaluations == 0].max() < x[evaluations > 0].min()
    assert svg.count("stroke-dasharray") == 2


def test_planes_are_at_their_values(results):
    case = results["cases"][0]
    rows, values, x, y = drawn(results, case, figures.plane(results, case, "lpips_alex"), "lpips_alex")
    assert affine(values, y) < 0
    assert affine([row["mean"]["psnr"] for row in rows], x) > 0


@pytest.mark.parametrize("gone", [None, float("nan"), float("inf")])
def test_missing_values_are_not_drawn(gone):
    whole = reports.make(missing=("fid",))
    case = whole["cases"][0]
    row = next(row for row in case["rows"] if row["contestant"] == "DDRM, NFE 8")
    row["mean"]["lpips_alex"] = gone
    without = copy.deepcopy(whole)
    without["cases"][0]["rows"] = [row for row in case["rows"] if row["contestant"] != "DDRM, NFE 8"]
    for figure in (figures.curves, figures.plane):
        assert figure(whole, case, "lpips_alex") == figure(without, without["cases"][0], "lpips_alex")
    row["mean"].update(lpips_alex=0.2, psnr=gone)
    assert figures.plane(whole, case, "lpips_alex") == figures.plane(without, without["cases"][0], "lpips_alex")
    assert figures.curves(whole, case, "fid") is None
    assert figures.plane(whole, case, "fid") is None


def test_there_is_no_curve_without_nfe():
    results = reports.make(contestants=(("BCM, NFE 1", "BCM", 1), ("Telea", "Telea", 0)))
    case = results["cases"][0]
    assert figures.curves(results, case, "psnr").count("stroke-dasharray") == 1
    case["rows"] = case["rows"][1:]
    assert figures.curves(results, case, "psnr") is None


def test_a_missing_plane_is_explained():
    none = Page(to_html(reports.make(cases=("box",), contestants=FEW), reports.picture))
    assert "Not shown: no perceptual metric was measured." in none.text
    assert none.text.count(reports.LPIPS) == none.text.count(reports.FID) == 2  # in the case, and at the end
    some = Page(to_html(reports.make(cases=("box",), contestants=FEW, missing=("lpips_alex",)), reports.picture))
    assert "Not shown" not in some.text
    assert [svg["aria-label"] for svg in some.all("svg") if "numbers are NFE" in svg.get("aria-label", "")] == [
        "FID ↓ against PSNR (dB) ↑, case box; numbers are NFE"
    ]


def test_labels_of_nfes_do_not_overlap():
    contestants = tuple((f"BCM, NFE {nfe}", "BCM", nfe) for nfe in (1, 2, 3, 4, 95, 97, 98, 99, 100, 1000))
    results = reports.make(contestants=contestants)
    svg = figures.curves(results, results["cases"][0], "psnr")
    places = re.findall(r'text-anchor: middle[^>]* x="([\d.]+)"[^>]*>(\d+)<', svg)
    assert [name for _, name in places] == ["1", "2", "4", "95", "1000"]
    assert min(np.diff([float(x) for x, _ in places])) > 15  # points; letters are 9 high


def test_families_have_distinct_styles():
    contestants = tuple((f"family {n}", f"family {n}", 4) for n in range(60))
    looks = figures.styles({"contestants": [{"name": a, "family": b, "nfe": c} for a, b, c in contestants]})
    assert len({(look["color"], look["marker"]) for look in looks.values()}) == 60


@pytest.mark.slow
def test_figures_have_the_colour_of_the_page(page):
    assert figures.INK not in page.source
    for svg in re.findall(r"<svg.*?</svg>", page.source, re.DOTALL):
        colours = set(re.findall(r"#[0-9a-f]{6}(?=[;\"])", svg))
        assert colours <= set(figures.COLOURS[1:])
        assert all("fill: currentColor" in text for text in re.findall(r"<text [^>]*>", svg))
