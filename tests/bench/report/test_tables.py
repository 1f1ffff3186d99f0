"""The tables of a report: numbers, marks, differences."""

import json
import re

import numpy as np
import pytest
from helpers import reports
from helpers.pages import Page, markdown_items, markdown_tables
from helpers.reports import FEW

from bcm_restore.bench.report import answers, table, versus
from bcm_restore.bench.report.html import to_html
from bcm_restore.bench.report.markdown import to_markdown

NUMBER = r"[+-]?\d+(?:\.\d+)?"


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
