"""The text of a report, its page, and how both are written."""

import copy
import re

import matplotlib
import pytest
from helpers import reports
from helpers.pages import markdown_tables
from helpers.reports import FEW, flat
from hypothesis import given
from hypothesis import strategies as st

from bcm_restore.bench.report import write
from bcm_restore.bench.report.markdown import escaped, to_markdown
from bcm_restore.errors import RestoreError

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
