"""The documentation: it builds without warnings and is complete offline, its links lead somewhere, its examples run."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.links import Page, faults
from PIL import Image
from skimage import data

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs").rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "benchmarks").glob("*.md")), *sorted((ROOT / "weights").glob("*.md"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    return folder


@pytest.mark.slow
def test_the_site_is_complete_without_a_network(site):
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) >= len(GUIDES)
    assert faults(pages) == []
    sources = [*(site / "assets").rglob("*.css"), *(site / "assets").glob("*.js")]
    assert not [path for path in sources if re.search(r"(url\(|import)\W*(https?:)?//", path.read_text("utf-8"))]


@pytest.mark.slow
def test_the_site_has_all_public_names(site):
    import bcm_restore.batch
    import bcm_restore.metrics
    import bcm_restore.operators
    import bcm_restore.tasks

    for module in (bcm_restore.batch, bcm_restore.metrics, bcm_restore.operators, bcm_restore.tasks):
        page = (site / "reference" / f"{module.__name__.split('.')[1]}.html").read_text("utf-8")
        documented = [name for name in module.__all__ if callable(getattr(module, name))]
        ids = Page(page).anchors
        found = [name for name in documented if {f"{module.__name__}.{name}", f"{module.__name__}.{name}.{name}"} & ids]
        assert found == documented  # a function may be in a module of its name


def test_links_in_markdown_lead_somewhere():
    markdown = pytest.importorskip("markdown")
    slugs = pytest.importorskip("pymdownx.slugs")
    extensions = {"toc": {"slugify": slugs.slugify(case="lower")}, "tables": {}, "fenced_code": {}}  # as on GitHub

    def html(path):
        return markdown.markdown(path.read_text("utf-8"), extensions=list(extensions), extension_configs=extensions)

    pictures = [fault for fault in faults({path: html(path) for path in PAGES}) if "another host" not in fault]
    assert pictures == []


def test_dead_links_are_found(tmp_path):
    (tmp_path / "file.txt").touch()
    first = '<h2 id="here">x</h2><a href="#here"></a><a href="#there"></a><a href="file.txt"></a><a href="no.txt"></a>'
    second = (
        '<a href="first.html#here"></a><a href="first.html#there"></a><a href="https://example.org/#x"></a>'
        '<img src="https://example.org/a.png"><img src="data:image/png;base64,"><script src="//example.org/a.js">'
    )
    assert faults({tmp_path / "first.html": first, tmp_path / "second.html": second}) == [
        "first.html: <a> #there: no such anchor",
        "first.html: <a> no.txt: no such file",
        "second.html: <a> first.html#there: no such anchor",
        "second.html: <img> https://example.org/a.png: another host",
        "second.html: <script> //example.org/a.js: another host",
    ]


def code_of(guide):
    return re.findall(r"^```python\n(.*?)^```", guide.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("guide", [guide for guide in GUIDES if code_of(guide)], ids=lambda guide: guide.stem)
def test_the_code_of_a_guide_runs(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = Image.fromarray(data.astronaut()[64:128, 160:224])
    mask = np.zeros((64, 64), np.uint8)
    mask[20:24, 8:56] = 255
    Path("photos").mkdir()
    for name in ("photo.png", "photos/photo.png"):
        picture.save(name)
    for name in ("mask.png", "logo.png"):
        Image.fromarray(mask).save(name)
    picture.save("old.jpg", quality=20)
    names = {"photo": picture, "__name__": guide.stem}
    exec("from bcm_restore import tasks", names)
    for block in code_of(guide):
        exec(block, names)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_stored_with_small_outputs(path):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import nbformat

    stored = nbformat.read(path, 4)
    assert path.stat().st_size < 200_000
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    executed = runpy.run_path(str(ROOT / "examples" / "run_notebooks.py"))["executed"](path)
    assert [len(cell.get("outputs", [])) for cell in stored.cells] == [
        len(cell.get("outputs", [])) for cell in executed.cells
    ]
    assert executed.metadata == stored.metadata
