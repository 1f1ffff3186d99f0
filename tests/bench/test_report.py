"""The report of a bench: its numbers, figures and pictures, and the comparison of two."""

import base64
import copy
import html.parser
import io
import json
import re
import zlib

import matplotlib
import numpy as np
import pytest
from helpers import reports
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from bcm_restore.bench.report import answers, compare, figures, grids, read, table, tables, versus, write
from bcm_restore.bench.report.html import to_html
from bcm_restore.bench.report.markdown import escaped, to_markdown
from bcm_restore.errors import RestoreError

NUMBER = r"[+-]?\d+(?:\.\d+)?"
FEW = (("BCM, NFE 1", "BCM", 1), ("BCM, NFE 4", "BCM", 4), ("Telea", "Telea", 0))


@pytest.fixture(scope="module")
def results():
    """With LPIPS, and no FID."""
    return reports.make(missing=("fid",))


@pytest.fixture(scope="module")
def page(results):
    return Page(to_html(results, reports.picture))


class Page(html.parser.HTMLParser):
    """The contents of a page: text, tables as lists of rows of cells, and the attributes of its elements."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, source):
        super().__init__()
        self.source, self.text, self.tables, self.elements, self.open = source, "", [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data.replace("\u00a0", " ")

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def markdown_tables(text):
    """The tables of a Markdown document, as lists of rows of cells without their marks."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level == 4:
            found[-1][-1].append(plain(token))
    return found


def plain(token):
    return "".join(child.content for child in token.children)


def markdown_items(text):
    """The items of all lists."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [plain(token) for token in tokens if token.type == "inline" and token.level == 3]


def pairs(shown):
    """The two tables of each case."""
    return list(zip(shown[::2], shown[1::2], strict=True))


def check_numbers(shown, results, case):
    """Checks that every number of a table, read back, is that of the results."""
    header, *rows = shown
    nfes = {contestant["name"]: contestant["nfe"] for contestant in results["contestants"]}
    assert [row[0] for row in rows] == [row["contestant"] for row in case["rows"]]
    assert header[:2] == ["contestant", "NFE"]
    assert [re.sub(r"( \(dB\))? [↑↓]$", "", head) for head in header[2:-3]] == [
        metric["title"] for metric in results["metrics"].values()
    ]
    for cells, row in zip(rows, case["rows"], strict=True):
        nfe = nfes[row["contestant"]]
        assert cells[1] == ("n/a" if nfe is None else str(nfe))
        for cell, key in zip(cells[2:-3], results["metrics"], strict=True):
            mean, error = row["mean"][key], row["error"][key]
            digits = 2 if key in ("psnr", "psnr_hole", "fid") else 4
            numbers = [number for number in (mean, error) if number is not None]
            assert re.findall(NUMBER, cell) == [f"{number:.{digits}f}" for number in numbers]
            assert ("±" in cell) == (error is not None)
            assert (cell == "n/a") == (mean is None)
        seconds, speed, memory = cells[-3:]
        for cell, value in ((seconds, row["seconds"]), (speed, row["megapixels_per_second"])):
            assert cell == "n/a" if value is None else float(cell) == pytest.approx(value, rel=0.005)
        assert memory == ("n/a" if row["peak_memory"] is None else "812")


def check_paired(shown, case):
    """Checks differences, intervals and shares against the results; only PSNR and LPIPS are compared."""
    rows = [row for row in case["rows"] if row["versus"]]
    assert [cells[:2] for cells in shown[1:]] == [[row["contestant"], row["versus"]["against"]] for row in rows]
    assert [head[:5] for head in shown[0][2::2]] == ["PSNR ", "LPIPS"]
    for cells, row in zip(shown[1:], rows, strict=True):
        for key, digits, text, share in (("psnr", 2, *cells[2:4]), ("lpips_alex", 4, *cells[4:6])):
            paired = row["versus"][key]
            values = [paired[name] for name in ("difference", "low", "high")]
            assert re.findall(NUMBER, text) == [f"{value:+.{digits}f}" for value in values]
            assert share == f"{100 * paired['win_rate']:.0f} %"


# Tables


def test_markdown_has_the_numbers_of_the_results(results):
    text = to_markdown(results)
    shown = markdown_tables(text)
    assert len(shown) == 4
    for case, (numbers, compared) in zip(results["cases"], pairs(shown), strict=True):
        check_numbers(numbers, results, case)
        check_paired(compared, case)
    assert markdown_items(text) == [
        *(f"{case}: {sentence}" for case, sentence in answers(results)),
        "Data: scikit-image, size 256, 4 pictures",
        "Seed: 0",
        "Date: 2026-11-21T08:00:00+00:00",
        "Hardware: device cpu, processor Some <CPU> @ 2 GHz, threads 2",
        "Versions: bcm-restore 0.1.0, python 3.11.2, torch 2.15.0",
        *[*results["cases"][0]["notes"]] * 2,
        f"FID: {reports.FID}",
    ]


def test_page_has_the_numbers_of_the_results(results, page):
    *shown, pictures = page.tables
    for case, (numbers, compared) in zip(results["cases"], pairs(shown), strict=True):
        check_numbers(numbers, results, case)
        check_paired(compared, case)
    assert pictures[1:] == [[p["name"], "256×256", p["sha256"]] for p in results["data"]["pictures"]]
    for text in (results["command"], reports.FID, *results["cases"][0]["notes"], "2026-11-21T08:00:00+00:00"):
        assert text in page.text
    for contestant in results["contestants"]:
        assert json.dumps(contestant["identity"], indent=2, ensure_ascii=False) in page.text


def test_the_best_are_marked(results):
    case = results["cases"][0]
    nfes = [contestant["nfe"] for contestant in results["contestants"]]
    rows = table(results, case["name"]).rows
    for column, (key, metric) in enumerate(results["metrics"].items(), start=2):
        cells = [row[column] for row in rows]
        values = np.array([np.nan if row["mean"][key] is None else row["mean"][key] for row in case["rows"]])
        if key == "fid":
            assert not any(cell.best or cell.best_of_nfe for cell in cells)
            continue
        signed = values if metric["better"] == "higher" else -values
        assert [cell.best for cell in cells] == [n == signed.argmax() for n in range(len(cells))]
        for nfe in (4, 8):
            same = [n for n, other in enumerate(nfes) if other == nfe]
            assert [cells[n].best_of_nfe for n in same] == [signed[n] == signed[same].max() for n in same]
        assert not any(cell.best_of_nfe for cell, nfe in zip(cells, nfes, strict=True) if nfe not in (4, 8))


def test_marks_in_markdown_and_page(results, page):
    name = results["cases"][0]["name"]
    text = to_markdown(results)
    for cell in (cell for row in table(results, name).rows for cell in row):
        if cell.best and not cell.best_of_nfe:
            assert re.search(rf"\| *\*\*{re.escape(cell)}\*\* *\|", text)
            assert f"<td><b>{cell}</b></td>" in page.source
        if cell.best_of_nfe and not cell.best:
            assert re.search(rf"\| *\*{re.escape(cell)}\* *\|", text)
            assert f"<td><u>{cell}</u></td>" in page.source
    sure = [cell for row in versus(results, name).rows for cell in row if cell.best]
    assert sure
    for cell in sure:
        assert f"<td><b>{cell}</b></td>" in page.source


def test_values_that_are_equal_as_text_tie():
    results = reports.make(contestants=FEW[:2])
    for row, psnr in zip(results["cases"][0]["rows"], (25.001, 25.004), strict=True):
        row["mean"]["psnr"] = psnr
    assert [row[2].best for row in table(results, "box").rows] == [True, True]
    results["cases"][0]["rows"][1]["mean"]["psnr"] = None
    assert [row[2].best for row in table(results, "box").rows] == [False, False]


@pytest.mark.parametrize(
    ("low", "high", "sure"), [(0.1, 0.5, True), (-0.5, -0.1, True), (-0.1, 0.5, False), (0.0, 0.5, False)]
)
def test_a_difference_is_marked_if_its_interval_excludes_zero(low, high, sure):
    results = reports.make(contestants=FEW)
    paired = {"difference": 0.25, "low": low, "high": high, "win_rate": 0.625}
    results["cases"][0]["rows"][2]["versus"]["psnr"] = paired
    (row,) = versus(results, "box").rows
    assert row == ["Telea", "BCM, NFE 4", f"+0.25 ({low:+.2f} to {high:+.2f})", "62 %"]
    assert row[2].best == sure


def test_one_picture_has_no_errors_and_no_interval():
    results = json.loads(json.dumps(reports.make(names=("coffee",), cases=("box",), contestants=FEW)))
    numbers, compared = markdown_tables(to_markdown(results))
    check_numbers(numbers, results, results["cases"][0])
    assert re.fullmatch(r"[+-]\d+\.\d\d", compared[1][2])
    source = to_html(results, reports.picture)
    assert "±" not in "".join(cell for row in Page(source).tables[0] for cell in row)
    assert not re.search(r"\b(nan|None)\b", to_markdown(results) + Page(source).text)


def test_tables_are_aligned_as_plain_text():
    text = to_markdown(reports.make(contestants=FEW))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        assert len({tuple(n for n, letter in enumerate(line) if letter == "|") for line in block}) == 1
    assert blocks[0][2].startswith("| BCM, NFE 1 |   1 | ")
    assert blocks[1][1].startswith("| :--------- | :--------- | ")


def test_a_case_without_comparison_has_no_comparison_table():
    results = reports.make(cases=("box",), contestants=FEW[:2])
    assert versus(results, "box") is None
    assert len(markdown_tables(to_markdown(results))) == 1
    assert "Against BCM" not in to_html(results, reports.picture)


def test_a_case_without_contestants_is_still_shown():
    results = reports.make(cases=("box",), contestants=FEW)
    results["cases"][0]["rows"] = []
    assert table(results, "box").rows == []
    assert "FID of 4 pictures" in to_markdown(results)
    assert "FID of 4 pictures" in to_html(results, reports.picture)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "n/a"), (0.0, "0"), (0.00123456, "0.00123"), (0.5, "0.500"), (12.345, "12.3"), (1234.5, "1234")],
)
def test_seconds_have_three_digits_and_no_exponent(value, text):
    results = reports.make(contestants=FEW)
    results["cases"][0]["rows"][0]["seconds"] = value
    assert table(results, "box").rows[0][-3] == text


def test_a_difference_that_rounds_to_zero_has_no_minus():
    results = reports.make(contestants=FEW)
    results["cases"][0]["rows"][2]["versus"]["psnr"] |= {"difference": -0.001, "low": -0.004, "high": 0.004}
    assert versus(results, "box").rows[0][2] == "+0.00 (+0.00 to +0.00)"


def test_decimals_are_the_same_in_all_cases():
    results = reports.make(contestants=FEW, missing=())
    for case, fid in zip(results["cases"], (9.5, 11.25), strict=True):
        case["rows"][0]["mean"]["fid"] = fid
    assert [table(results, case["name"]).rows[0][6] for case in results["cases"]] == ["9.50", "11.25"]


# Names and texts


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_escaped_text_is_shown_unchanged(text):
    cells = markdown_tables(f"| a | b |\n| --- | --- |\n| x{escaped(text)}x | y |\n")[0][1]
    assert cells == [f"x{' '.join(text.split())}x", "y"]


def test_names_are_escaped(results, page):
    assert page.all("b") and not [b for b in page.all("b") if b]
    assert "script" not in dict(page.elements)
    assert page.text.count(reports.ODD) >= 2 * 4
    assert {attributes["alt"] for attributes in page.all("img")} >= {
        f"astronaut, {reports.ODD}",
        f'a<b>&"ñ|_*, {reports.ODD}',
    }
    assert f"{reports.ODD}" in [row[0] for row in markdown_tables(to_markdown(results))[0]]


def test_page_is_self_contained(page):
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            assert re.match(r"data:|#|$", attributes.get(name, "")), attributes
    assert not re.search(r"url\((?!#)|@import", page.source)
    assert not {tag for tag, _ in page.elements} & {"script", "iframe", "object", "embed"}


def test_ids_are_unique_and_links_refer_to_them(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in page.all("a")} == {"#case-1", "#case-2"}
    used = {attributes["xlink:href"] for attributes in page.all("use")} | {a["href"] for a in page.all("a")}
    used |= {f"#{name}" for name in re.findall(r"url\(#(\w+)\)", page.source)}
    assert used <= {f"#{name}" for name in ids}


def test_images_and_figures_have_text_alternatives(page):
    assert all(attributes["alt"] for attributes in page.all("img"))
    labels = [svg["aria-label"] for svg in page.all("svg") if "aria-label" in svg]
    assert "LPIPS (AlexNet) ↓ against PSNR (dB) ↑, case box; numbers are NFE" in labels
    assert "SSIM ↑ against NFE, case half of <it> & more" in labels
    assert all(svg.get("aria-hidden") or svg.get("role") == "img" for svg in page.all("svg"))


# Files


def test_write_is_reproducible(tmp_path):
    results = reports.make(cases=("box",), contestants=FEW)
    settings = dict(matplotlib.rcParams)
    write(results, tmp_path / "new" / "one", reports.picture)
    assert dict(matplotlib.rcParams) == settings
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 7, "text.usetex": True}):
        write(copy.deepcopy(results), tmp_path / "two", reports.picture)
    assert sorted(path.name for path in (tmp_path / "new" / "one").iterdir()) == ["report.html", "report.md"]
    for name in ("report.html", "report.md"):
        assert (tmp_path / "new" / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "two" / "report.md").read_text(encoding="utf-8") == to_markdown(results)


def test_a_failure_keeps_the_old_report(tmp_path):
    results = reports.make(cases=("box",), contestants=FEW)

    def fails(case, source, name):
        raise RestoreError("coffee.png: no such file")

    (tmp_path / "report.md").write_text("old")
    with pytest.raises(RestoreError, match="no such file"):
        write(results, tmp_path, fails)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.md", "old")]
    (tmp_path / "report.html").mkdir()
    with pytest.raises(RestoreError, match=r"report\.html: cannot be written: it is a folder"):
        write(results, tmp_path, reports.picture)


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    name = b"caf\xe9".decode(errors="surrogateescape")
    results = reports.make(
        cases=(name,), names=(name, "coffee"), contestants=((name, name, 4), ("BCM, NFE 4", "BCM", 4))
    )
    write(results, tmp_path, flat)
    for file in ("report.html", "report.md"):
        assert b"caf\\udce9" in (tmp_path / file).read_bytes()


# Figures


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


# Pictures


def decoded(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def flat(case, source, name):
    """Grey 200x160 pictures; contestants differ only at (30..50, 100..120)."""
    shown = np.full((200, 160, 3), 90, np.uint8)
    if source == "clean":
        shown[170:190, 130:150] = 255  # all contestants are equally wrong here
    if source.startswith("BCM"):
        shown[100:120, 30:50] = 100 + 20 * int(source[-1])
    return shown


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


# Two reports


def test_compare_has_every_metric_of_both_and_the_difference():
    a, b = reports.make(missing=("fid",)), reports.make(missing=("fid", "lpips_alex"))
    for case in b["cases"]:
        for row in case["rows"]:
            row["mean"]["psnr"] += 0.5
    text = compare(a, b)
    assert "Warning" not in text and "only" not in text
    shown = markdown_tables(text)
    assert len(shown) == 2
    for (header, *lines), case, other in zip(shown, a["cases"], b["cases"], strict=True):
        assert header == ["contestant", "metric", "a", "b", "b - a"]
        expected = []
        for row, its in zip(case["rows"], other["rows"], strict=True):
            for key, title, digits in (
                ("psnr", "PSNR (dB) ↑", 2), ("psnr_hole", "PSNR in the hole (dB) ↑", 2), ("ssim", "SSIM ↑", 4),
            ):  # fmt: skip
                x, y = row["mean"][key], its["mean"][key]
                numbers = [f"{x:.{digits}f}", f"{y:.{digits}f}", f"{y - x:+.{digits}f}"]
                expected.append([row["contestant"], title, *numbers])
            numbers = [f"{row['mean']['lpips_alex']:.4f}", "n/a", "n/a"]
            expected.append([row["contestant"], "LPIPS (AlexNet) ↓", *numbers])
        assert lines == expected


def test_compare_lists_cases_and_contestants_of_only_one():
    a = reports.make(cases=("box", "text"), contestants=FEW)
    b = reports.make(cases=("box", "half", "thick"), contestants=(*FEW[1:], ("DPS", "DPS", 100)))
    lines = compare(a, b).splitlines()
    for line in (
        "only a has the case text",
        "only b has the cases half; thick",
        "only a has the contestant BCM, NFE 1",
        "only b has the contestant DPS",
    ):
        assert line in lines
    assert [row[0] for row in markdown_tables(compare(a, b))[0][1::3]] == ["BCM, NFE 4", "Telea"]


def test_compare_lists_contestants_with_different_identities():
    a, b = reports.make(contestants=FEW), reports.make(contestants=FEW)
    b["contestants"][1]["identity"] |= {"scheme": "to 0", "model": "other"}
    lines = compare(a, b).splitlines()
    assert lines.count("BCM, NFE 4 differs in: scheme, model") == 2
    assert sum("differs in" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda x: x.update(task="jpeg"), "the task differs: inpaint, jpeg"),
        (lambda x: x.update(seed=3), "the seed differs: 0, 3"),
        (lambda x: x["data"].update(name="kodak"), "the data's name differs: scikit-image, kodak"),
        (lambda x: x["data"].update(size="full"), "the data's size differs: 256, full"),
        (lambda x: x["versions"].update({"bcm-restore": "9"}), "the version of bcm-restore differs: 0.1.0, 9"),
        (lambda x: x["data"]["pictures"][1].update(sha256="0"), "pictures of the same name differ: chelsea"),
        (lambda x: x["data"]["pictures"].pop(1), "pictures: only a has the picture chelsea"),
    ],
)
def test_compare_warns_of_other_data(change, warning):
    a, b = reports.make(contestants=FEW), reports.make(contestants=FEW)
    change(b)
    assert [line for line in compare(a, b).splitlines() if "Warning" in line] == [f"Warning: {warning}"]


def test_read_accepts_the_file_or_its_folder(tmp_path, results):
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    assert read(tmp_path) == read(tmp_path / "results.json") == results


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or directory; give a results.json of the bench or its folder"),
        (b"\xff\xfe", "not readable JSON; give a results.json of the bench or its folder"),
        (b'{"version": 1', "not readable JSON; give a results.json of the bench or its folder"),
        (b"[" * 100_000, "not readable JSON; give a results.json of the bench or its folder"),
        (b"[1]", "not results of the bench; give a results.json of the bench or its folder"),
        (b'{"name": "x"}', "not results of the bench; give a results.json of the bench or its folder"),
        (b'{"version": 2}', "results of version 2, but this bcm-restore reads version 1; run the bench again"),
        (
            b'{"version": "a\\nb"}',
            r"results of version 'a\nb', but this bcm-restore reads version 1; run the bench again",
        ),
        (b'{"version": 1, "cases": []}', "parts of the results are missing; run the bench again"),
    ],
)
def test_read_rejects_other_files(tmp_path, content, message):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RestoreError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["version", "task", "cases", "metrics"]), x),
    )
)
def test_read_raises_a_restore_error_for_any_json(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RestoreError):
        read(path)


def test_known_is_neither_null_nor_nan():
    assert [tables.known(value) for value in (None, float("nan"), 0.0, float("inf"))] == [False, False, True, True]
