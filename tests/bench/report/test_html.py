"""The HTML report in a real browser: nothing is missing, hidden, too wide or hard to read."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from helpers import reports

from bcm_restore.bench.report.html import to_html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000", "--window-size=1800,900", "--dump-dom",
)  # fmt: skip
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, chromium-browser or google-chrome")

# A browser window has a minimum width; a frame has none.
FRAMES = """<!DOCTYPE html><meta charset="utf-8"><pre></pre>
<script>
addEventListener("message", event => document.querySelector("pre").textContent += JSON.stringify(event.data) + "\\n")
</script>
"""
MEASURE = """<script>
const errors = []
addEventListener("error", event => errors.push(String(event.message)), true)
addEventListener("load", () => {
  const all = selector => [...document.querySelectorAll(selector)]
  const box = element => { const of = element.getBoundingClientRect(); return [of.x, of.y, of.width, of.height] }
  const colours = element => { const style = getComputedStyle(element); return [style.color, style.fill] }
  parent.postMessage({
    name: NAME,
    errors,
    window: innerWidth,
    page: document.documentElement.scrollWidth,
    ends: all("body *").filter(element => !element.closest(".scroll > *, svg *, details:not([open]) > *:not(summary)"))
      .map(element => box(element)[0] + box(element)[2]),
    tables: all("table").map(table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent))),
    scrolled: all(".scroll").map(element => [element.clientWidth, element.scrollWidth]),
    images: all("img").map(image => [image.complete, image.naturalWidth, ...box(image).slice(2)]),
    figures: all("figure svg").map(svg => [box(svg), [...svg.querySelectorAll("text")].map(box)]),
    swatches: all(".legend svg").map(svg => box(svg).slice(2)),
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    paper: getComputedStyle(document.body).backgroundColor,
    ink: [all("body, h2, td, th, figcaption, .soft, dt, a, pre, summary").map(element => colours(element)[0]),
      all("svg text").map(element => colours(element)[1])].flat(),
  }, "*")
})
</script>
"""


def run(page, *flags):
    """The document after its scripts have run, and the browser's log."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={page.parent / 'profile'}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def measure(folder, pages, *flags):
    """The browser's measurements of each page in a frame of its width, by name."""
    frames = FRAMES
    for name, (source, width) in pages.items():
        script = MEASURE.replace("NAME", json.dumps(name))
        (folder / f"{name}.html").write_text(source.replace("<head>", f"<head>{script}"), encoding="utf-8")
        frames += f'<iframe src="{name}.html" style="border: 0; width: {width}px; height: 800px"></iframe>\n'
    (folder / "frames.html").write_text(frames, encoding="utf-8")
    document, log = run(folder / "frames.html", *flags)
    lines = html.unescape(re.search(r"<pre>(.*?)</pre>", document, re.DOTALL)[1]).splitlines()
    found = {measured["name"]: measured for measured in map(json.loads, lines)}
    assert found.keys() == pages.keys()
    return found, log


def frames(case, source, name):
    assert source != "clean"
    return np.tile(reports.picture(case, "clean", name), (1, 2 if source == "damaged" else 9, 1))


@pytest.fixture(scope="module")
def results():
    return reports.make(missing=("fid",))


@pytest.fixture(scope="module")
def sources(results):
    interpolated = reports.make("interpolate", cases=("pairs",), missing=())
    return {"report": to_html(results, reports.picture), "strips": to_html(interpolated, frames)}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, sources):
    pages = {f"{name}-{width}": (source, width) for name, source in sources.items() for width in (400, 1280)}
    return measure(tmp_path_factory.mktemp("light"), pages)


@pytest.mark.slow
def test_nothing_is_logged_or_fetched(measured):
    pages, log = measured
    assert log == []
    for page in pages.values():
        assert page["errors"] == []
        assert [name for name in page["requests"] if not name.startswith("data:")] == []


def test_the_measurements_detect_a_bad_page(tmp_path):
    bad = (
        '<html><head></head><body><img src="https://example.org/a.png"><div style="width: 900px">a</div>'
        '<script>console.error("oh no")</script></body></html>'
    )
    pages, log = measure(tmp_path, {"bad": (bad, 400)})
    assert len(log) == 1 and "oh no" in log[0]
    assert len(pages["bad"]["errors"]) == 1
    assert pages["bad"]["requests"] == ["https://example.org/a.png"]
    assert pages["bad"]["page"] > 400
    assert max(pages["bad"]["ends"]) > 900
    assert pages["bad"]["images"][0][1] == 0


@pytest.mark.slow
def test_all_tables_are_complete(measured, results):
    pages, _ = measured
    for width in (400, 1280):
        tables = pages[f"report-{width}"]["tables"]
        rows = len(results["contestants"]) + 1
        assert [len(table) for table in tables] == [rows, rows - 3, rows, rows - 3, 5]  # no BCM against itself
        assert all(len(row) == len(table[0]) for table in tables for row in table)
        assert tables[0][-1][0] == reports.ODD
        assert tables[-1][-1][0] == results["data"]["pictures"][-1]["name"]
        assert len(pages[f"strips-{width}"]["tables"]) == 3


def test_all_pictures_and_figures_have_a_size(measured):
    pages, _ = measured
    for name, page in pages.items():
        images, curves = (2 * 3 * 10, 2 * (4 + 1)) if "report" in name else (3 * 9, 2)
        assert len(page["images"]) == images
        for complete, natural, width, height in page["images"]:
            assert complete and natural > 0 and width >= 90 and height >= 90
        assert len(page["figures"]) == curves
        for (_, _, width, height), texts in page["figures"]:
            assert width > 250 and height > 180
            assert len(texts) > 5
        assert len(page["swatches"]) == 5 * (2 if "report" in name else 1)
        assert all(min(size) > 8 for size in page["swatches"])


def test_crops_are_enlarged_twice(measured):
    assert {tuple(image[1:]) for image in measured[0]["report-1280"]["images"]} == {(96, 192, 192)}


def test_text_of_figures_stays_inside(measured):
    for page in measured[0].values():
        for (x, y, width, height), texts in page["figures"]:
            for left, top, wide, high in texts:
                assert x - 1 <= left and left + wide <= x + width + 1
                assert y - 1 <= top and top + high <= y + height + 1


def test_pages_are_not_wider_than_the_window(measured):
    for name, page in measured[0].items():
        assert page["window"] == int(name.partition("-")[2])
        assert page["page"] <= page["window"]
        assert max(page["ends"]) <= page["window"]
    narrow, wide = (measured[0][f"report-{width}"] for width in (400, 1280))
    assert narrow["scrolled"][0][1] > narrow["scrolled"][0][0]  # tables scroll within their own box
    assert wide["scrolled"][0][1] == wide["scrolled"][0][0]


def contrast(one, other):
    """The contrast ratio of two colours, WCAG 2.1."""

    def luminance(colour):
        red, green, blue = (int(value) / 255 for value in re.findall(r"\d+", colour)[:3])
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        return float(np.dot((0.2126, 0.7152, 0.0722), linear))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_is_readable_in_both_colour_schemes(measured, sources, tmp_path):
    light = measured[0]["strips-400"]
    dark = measure(tmp_path, {"strips": (sources["strips"], 400)}, "--blink-settings=preferredColorScheme=0")[0][
        "strips"
    ]
    assert (light["paper"], dark["paper"]) == ("rgb(255, 255, 255)", "rgb(18, 21, 24)")
    for page in (light, dark):
        assert len(page["ink"]) > 100
        assert min(contrast(ink, page["paper"]) for ink in page["ink"]) >= 4.5
