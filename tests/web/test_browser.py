"""The page in a real browser: Debian's Chromium without a window, driven by playwright."""

import base64
import io
import re
import shutil
import time
import zipfile

import numpy as np
import pytest
import skimage.data
from PIL import Image

from bcm_restore.web import inpainting

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: the extra test")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LONG = 60_000  # ms, for the first restoration, which loads the model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser, server):
    """Opens the page, and checks at the end that it asked no other host, and reported no error."""
    contexts, elsewhere, errors = [], [], []

    def block(route):
        elsewhere.append(route.request.url)
        route.abort()

    def opened(**options):
        context = browser.new_context(accept_downloads=True, **options)
        contexts.append(context)
        context.route(lambda url: not url.startswith((server.address, "data:", "blob:")), block)
        page = context.new_page()
        page.set_default_timeout(LONG)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server.address)
        page.wait_for_selector("#opener")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert elsewhere == []
    assert errors == []


@pytest.fixture
def photo(save):
    return save("photo.png", np.ascontiguousarray(skimage.data.astronaut()[:160, 140:340]))


def status(page, task, text):
    """Waits for the status line to contain a text; returns it."""
    line = page.locator(f"#{task}-status [role=status]")
    sync_api.expect(line).to_contain_text(text, timeout=LONG)
    return line.inner_text()


def open_picture(page, path):
    page.locator("#opener input[type=file]").first.set_input_files(path)
    wait_for_picture(page, path)


def wait_for_picture(page, path):
    """Waits until a picture is open and drawn, at the size shown."""
    status(page, "inpaint", f"{path.name}, ")
    width, height = inpainting._size_shown(Image.open(path).size)
    drawn = "([width, height]) => window.editor?.width === width && window.editor?.height === height"
    page.wait_for_function(drawn, arg=[width, height])
    page.wait_for_timeout(1000)


def load_mask(page, path):
    with page.expect_file_chooser() as chooser:
        page.click("#load-mask")
    chooser.value.set_files(path)


def paint(page, *points):
    """Paints a stroke through points, relative to the middle of the canvas."""
    canvas = page.locator("#editor canvas").first
    canvas.scroll_into_view_if_needed()
    page.evaluate("window.scrollTo(0, 0)")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    first, *rest = points
    page.mouse.move(x + first[0], y + first[1])
    page.mouse.down()
    for point in rest:
        page.mouse.move(x + point[0], y + point[1], steps=2)
    page.mouse.up()
    page.wait_for_timeout(500)


def download(page, name):
    with page.expect_download() as caught:
        page.click(f"#{name}")
    path = caught.value.path()
    return caught.value.suggested_filename, path.read_bytes()


def test_a_stroke_is_filled_and_all_other_pixels_stay(visit, photo):
    page = visit()
    open_picture(page, photo)
    page.get_by_label("Fast").first.check()
    paint(page, (-60, 0), (0, 20), (60, 0))
    page.click("#restore")
    assert "photo.png: restored, 200x160, NFE 1" in status(page, "inpaint", "restored, ")
    name, data = download(page, "download")
    before, after = np.asarray(Image.open(photo)), np.asarray(Image.open(io.BytesIO(data)))
    assert name == "photo_inpainted.png"
    changed = (before != after).any(2)
    rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
    # the stroke is a band across the middle, 120 pixels wide on the screen plus the brush
    assert 20 < np.ptp(columns) < 120 and 8 < np.ptp(rows) < 80
    assert abs(columns.mean() - 100) < 10 and abs(rows.mean() - 80) < 12
    assert changed[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].mean() > 0.4
    assert changed.mean() < 0.3
    # painting goes on with the result
    paint(page, (-80, -90), (-60, -90))
    page.click("#restore")
    page.wait_for_function("document.querySelector('#inpaint-status').innerText.includes('photo_inpainted.png')")
    _, data = download(page, "download")
    second = np.asarray(Image.open(io.BytesIO(data)))
    again = (second != after).any(2)
    assert again.any() and again.mean() < 0.1
    assert not (again & changed).any()


def test_a_mask_is_loaded_and_partly_erased(visit, save, portrait):
    # larger than what is shown: the mask still marks its own pixels
    photo = save("wide.png", np.tile(portrait, (3, 14, 1))[:375, :1700])
    mask = np.zeros((375, 1700), np.uint8)
    mask[183:192, 750:950] = 255
    page = visit()
    open_picture(page, photo)
    load_mask(page, save("other.png", np.zeros((10, 10), np.uint8)))
    assert "other.png: the mask is 10x10 and wide.png is 1700x375; --fit-mask" in status(page, "inpaint", "10x10")
    load_mask(page, save("mask.png", mask))
    status(page, "inpaint", "mask.png: loaded.")
    page.wait_for_function("window.editor.layer_manager.layers.some((one) => one.user_created)")
    page.wait_for_timeout(2000)
    page.locator("#editor").get_by_role("button", name="Erase").click()
    paint(page, (0, -30), (0, 30))
    page.get_by_label("Fast").first.check()
    page.click("#restore")
    status(page, "inpaint", "restored, ")
    _, data = download(page, "download")
    changed = (np.asarray(Image.open(photo)) != np.asarray(Image.open(io.BytesIO(data)))).any(2)
    assert not changed[mask == 0].any()
    assert not changed[:, 848:852].any()
    assert changed[183:192, 750:820].mean() > 0.9 and changed[183:192, 880:950].mean() > 0.9


def test_undo_and_another_picture(visit, photo, save, face):
    page = visit()
    open_picture(page, photo)
    paint(page, (-40, 0), (40, 0))
    page.locator("#editor").get_by_role("button", name="Undo").click()
    page.wait_for_timeout(1000)
    page.get_by_label("Fast").first.check()
    page.click("#restore")
    status(page, "inpaint", "nothing is painted")
    undo = page.get_by_role("button", name="Undo the last step")
    sync_api.expect(undo).to_be_disabled()
    paint(page, (-40, 0), (40, 0))
    page.click("#restore")
    status(page, "inpaint", "restored, ")
    undo.click()
    status(page, "inpaint", "Paint over")
    sync_api.expect(undo).to_be_disabled()
    page.get_by_role("button", name="Another picture").click()
    page.wait_for_selector("#opener")
    page.wait_for_timeout(2000)  # it is emptied
    open_picture(page, save("other.png", face))


@pytest.mark.parametrize("way", ["keys", "button"])
def test_a_pasted_picture_is_opened(visit, photo, way):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    data = base64.b64encode(photo.read_bytes()).decode()
    page.evaluate(
        """async (data) => {
            const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
            const blob = new Blob([bytes], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        data,
    )
    if way == "keys":
        for _ in range(20):  # the page listens a moment after it is shown
            page.keyboard.press("Control+V")
            page.wait_for_timeout(1000)
            if not page.locator("#opener").is_visible():
                break
    else:
        page.locator("#opener").get_by_role("button", name="Paste").click()
    assert ", 200x160. Paint over" in status(page, "inpaint", "200x160")


def test_cancelling_and_starting_again(visit, save, portrait, server):
    page = visit()
    page.get_by_role("tab", name="JPEG").click()
    page.locator("#jpeg-files input[type=file]").set_input_files(
        save("large.jpg", np.tile(portrait, (4, 4, 1)), quality=10)
    )
    page.wait_for_timeout(1500)
    page.get_by_label("Best").locator("visible=true").check()
    page.click("#jpeg-restore")
    sync_api.expect(page.locator("#jpeg-status")).to_contain_text("megapixels", timeout=LONG)
    page.locator("#jpeg-cancel").click()
    status(page, "jpeg", "Cancelled.")
    page.locator("#jpeg-files").get_by_label("Clear").click()
    page.locator("#jpeg-files input[type=file]").set_input_files(save("small.jpg", portrait[:64, :64], quality=10))
    page.wait_for_timeout(1500)
    page.get_by_label("Fast").locator("visible=true").check()
    page.click("#jpeg-restore")
    status(page, "jpeg", "small.jpg: restored")
    left = {path.name for path in server.files()}
    assert "small_restored.png" in left and not {name for name in left if name.startswith("large_")}


def test_two_users_take_turns(visit, save, portrait):
    pages = [visit(), visit()]
    for number, (page, side) in enumerate(zip(pages, (384, 64), strict=True)):
        page.get_by_role("tab", name="JPEG").click()
        photo = save(f"user{number}.jpg", np.tile(portrait, (6, 6, 1))[:side, :side], quality=10)
        page.locator("#jpeg-files input[type=file]").set_input_files(photo)
        page.wait_for_timeout(1500)
    pages[0].get_by_label("Best").locator("visible=true").check()
    pages[0].click("#jpeg-restore")
    sync_api.expect(pages[0].locator("#jpeg-status")).to_contain_text(re.compile("processing|megapixels"), timeout=LONG)
    pages[1].click("#jpeg-restore")
    sync_api.expect(pages[1].locator("#jpeg-status")).to_contain_text("queue: 1/1", timeout=LONG)
    for number, (page, side) in enumerate(zip(pages, (384, 64), strict=True)):
        assert f"user{number}.jpg: restored, {side}x{side}" in status(page, "jpeg", "restored")
        name, data = download(page, "jpeg-download")
        assert name == f"user{number}_restored.png"
        assert Image.open(io.BytesIO(data)).size == (side, side)


def test_messages(visit, save, tmp_path):
    page = visit()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    page.locator("#opener input[type=file]").first.set_input_files(tmp_path / "broken.png")
    assert "broken.png: " in status(page, "inpaint", "not a readable picture")
    assert page.locator("#inpaint-status .failed").count() == 1


def test_nothing_painted(visit, photo):
    page = visit()
    open_picture(page, photo)
    page.click("#restore")
    status(page, "inpaint", "nothing is painted")


def test_the_other_tabs(visit, save, portrait):
    page = visit()
    photos = [save(f"photo{n}.jpg", portrait[:96, : 96 + n], quality=10) for n in range(2)]
    small = save("small.png", portrait[:24, :24])
    cases = (("JPEG", "jpeg", photos, "photo1.jpg: restored"), ("Super resolve", "super-resolve", [small], "96x96"))
    for title, task, files, expected in cases:
        page.get_by_role("tab", name=title).click()
        page.locator(f"#{task}-files input[type=file]").set_input_files(files)
        page.wait_for_timeout(1500)
        page.get_by_label("Fast").locator("visible=true").check()
        page.click(f"#{task}-restore")
        status(page, task, expected)
        page.wait_for_selector(f"#{task}-slider img")
        name, data = download(page, f"{task}-download")
        if len(files) > 1:
            assert name == "jpeg.zip"
            assert sorted(zipfile.ZipFile(io.BytesIO(data)).namelist()) == [
                "photo0_restored.png",
                "photo1_restored.png",
            ]
        else:
            assert Image.open(io.BytesIO(data)).size == (96, 96)
    page.get_by_role("tab", name="Interpolate").click()
    for which, file in zip(("first", "last"), (small, save("last.png", portrait[60:84, 60:84])), strict=True):
        page.locator(f"#interpolate-{which} input[type=file]").set_input_files(file)
    page.wait_for_timeout(1500)
    page.get_by_label("Fast").locator("visible=true").check()
    page.click("#interpolate-restore")
    status(page, "interpolate", "restored")
    name, data = download(page, "interpolate-download")
    assert (name, Image.open(io.BytesIO(data)).n_frames) == ("small_to_last.gif", 9)


def test_a_phone(visit, photo):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    tabs = ["Inpaint", "JPEG"]
    for title in tabs:
        page.get_by_role("tab", name=title).first.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, title
    page.get_by_role("tab", name="Inpaint").first.click()
    open_picture(page, photo)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#editor").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_closing_the_page_deletes_its_files(visit, photo, server):
    page = visit()
    open_picture(page, photo)
    assert any(path.name == "photo.png" for path in server.files())
    page.close()
    for _ in range(100):
        if not any(path.name == "photo.png" for path in server.files()):
            return
        time.sleep(0.3)
    raise AssertionError(server.files())


def test_an_open_page_has_a_session_before_its_first_upload(visit, server):
    """Else the end of the only session deletes what this page is uploading."""
    before = sessions(server)
    page = visit()
    for _ in range(100):
        if sessions(server) - before:
            return
        page.wait_for_timeout(300)
    raise AssertionError(before)


def sessions(server):
    return set(server.temporary.glob("bcm-restore-web-*/sessions/*"))
